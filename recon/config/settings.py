"""`recon.toml`: what a user configures, read once, checked whole, and never changed after.

An unknown key, a wrong type, a name that points nowhere or a missing secret raises ConfigError
that names the file, the key and the remedy.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from recon.config.ccxt_ids import close_matches, exchange_ids
from recon.config.currencies import ISO, meant
from recon.config.order_tags import INJECTED, alike, library_of
from recon.config.ping_address import read_ping, split_ping
from recon.config.secrets import keys_of_secrets, named, read_secret, remember_proxies
from recon.config.toml_file import MOST_MISTAKES, assert_plain, is_plain, name_of, number_of, parse
from recon.core.calendars import FIRST, assert_calendar
from recon.core.limits import Limits
from recon.core.numbers import PLACES
from recon.core.records import Method, Severity
from recon.errors import ConfigError, ReconError
from recon.outside_text import one_line, quoted_value
from recon.system.web_address import HIGHEST_PORT, assert_private, read_address

LOG = logging.getLogger(__name__)
LAST = date(2999, 12, 31)
"""The last day that a configuration may name: a day after it may be beyond what a date holds."""
LONGEST_NAME = 100
LARGEST = 10**15
URL_SCHEMES = {"url": ("http", "https"), "redis": ("redis", "rediss")}
TWS_PORTS = {"live": 7496, "paper": 7497}
OKX_VENUES = ("okx", "myokx", "okxus")
OkxInstrumentType = Literal["SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION"]


def _decimal(value: object) -> object:
    """Accept a number as TOML writes it, or its text; never a float (tomllib gives Decimal)."""
    found: object = value
    if isinstance(value, str | int) and not isinstance(value, bool):
        with suppress(ValueError):
            found = number_of(str(value))
    if not isinstance(found, Decimal) or not found.is_finite():
        raise ValueError(f"{quoted_value(value)} is not a number: write it as 1.5, or as text")
    return found


def _within(value: Decimal) -> Decimal:
    """Refuse what the warehouse's decimal(38, 18) would not hold."""
    if value.copy_abs() >= LARGEST or value != round(value, PLACES):
        raise ValueError("use a number below 10^15, with at most 18 places")
    return value


def _fits(value: Decimal) -> Decimal:
    """Refuse what the warehouse's decimal(38, 18) would not hold, and a quantity of nothing."""
    if not value:
        raise ValueError("use a number other than 0, below 10^15, with at most 18 places")
    return _within(value)


def _secret(value: object, info: ValidationInfo) -> object:
    if isinstance(value, SecretStr):
        return value
    named(value)
    if not _is_wanted(info):
        return SecretStr(UNREAD)
    kind, name = named(value)
    key = (info.context or {}).get("keys", {}).get((kind, name), "")
    return SecretStr(read_secret(value, _folder(info), key))


UNREAD = "unread"
"""What stands for a secret that the command does not need."""


def _folder(info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return folder


def _is_wanted(info: ValidationInfo) -> bool:
    """Return whether this key's secret is to be read: all are, none, or those that are named."""
    wanted = (info.context or {}).get("with_secrets", True)
    return wanted if isinstance(wanted, bool) else info.field_name in wanted


def _ping(value: object, info: ValidationInfo) -> object:
    if isinstance(value, SecretStr):
        return value
    named(split_ping(value)[0])
    return SecretStr(read_ping(value, _folder(info)) if _is_wanted(info) else UNREAD)


def _day(value: object) -> date:
    """Accept a date, or its text; never a time, which TOML writes alike."""
    try:
        day = value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError:
        day = None
    if day is None or isinstance(value, datetime) or not isinstance(value, date | str):
        raise ValueError(f"{quoted_value(value)} is no date: write it as 2026-03-01")
    if not FIRST <= day <= LAST:
        raise ValueError(f"{day} is out of range: write a date from {FIRST} to {LAST}")
    return day


def _time(value: object) -> time:
    try:
        read = value if isinstance(value, time) else time.fromisoformat(str(value))
    except ValueError:
        raise ValueError(
            f'{quoted_value(value)} is no time of day: write it as "13:00", in UTC'
        ) from None
    if read.tzinfo is not None:
        raise ValueError(f'{read} has a zone: write it without one, as "13:00", in UTC')
    return read


def _path(value: Path) -> Path:
    """Refuse a path that no file system takes: `{value}` names a file that cannot be there."""
    text = str(value)
    longest = max((len(os.fsencode(part)) for part in value.parts), default=0)
    if not is_plain(text) or longest > LONGEST_PART or len(os.fsencode(text)) > LONGEST_PATH:
        raise ValueError(f"{quoted_value(text)} is no path of a file: write a shorter, plain one")
    return value


LONGEST_PART = 255
LONGEST_PATH = 4095
"""Bytes of one name, and of a path, on Linux."""


def _pattern(value: str) -> str:
    _path(Path(value))
    return value


def _host(value: str) -> str:
    try:
        found = read_address(f"tws://{f'[{value}]' if ':' in value else value}", ("tws",))
    except ValueError:
        found = None
    if found is None or found.host != value:
        raise ValueError(f"{quoted_value(value)} is no name or address of a host: correct it")
    return value


def _place(value: object, info: ValidationInfo) -> object:
    """Accept a URL as it is, where it holds no password; else as a secret."""
    schemes = URL_SCHEMES[str(info.field_name)]
    if not isinstance(value, str):
        secret = _secret(value, info)
        if _is_wanted(info) and isinstance(secret, SecretStr):
            _assert_secret_place(secret.get_secret_value(), schemes, info)
        return secret
    try:
        address = read_address(value, schemes)
    except ValueError as error:  # a password may stand in it: it is not shown
        raise ValueError(f"it is no URL: {error}") from None
    if address.has_password:
        raise ValueError(
            'a password is never written here: name the whole URL as { env = "NAME" } '
            'or { file = "path" }'
        )
    return SecretStr(value)


def _assert_secret_place(url: str, schemes: tuple[str, str], info: ValidationInfo) -> None:
    """Hold the URL that a secret keeps to TLS. Of a Redis, only one with a password needs it."""
    if info.field_name == "redis" and url.startswith("unix://"):
        return
    try:
        address = read_address(url, schemes)
    except ValueError as error:
        raise ValueError(f"the secret is no URL: {error}") from None
    if info.field_name == "url" or address.has_password:
        what = "the URL, which is a secret," if info.field_name == "url" else "its password"
        assert_private(address, what, is_allowed=_is_allowed(info), secure=schemes[1])


def _is_allowed(info: ValidationInfo) -> bool:
    """Return whether the item says `allow_plain_http`, a key that stands before the addresses."""
    return bool(info.data.get("allow_plain_http"))


def _base_url(value: str, info: ValidationInfo) -> str:
    try:
        address = read_address(value, URL_SCHEMES["url"])
    except ValueError as error:  # a password may stand in it: it is not shown
        raise ValueError(f"it is no web address: {error}") from None
    if address.user is not None:
        raise ValueError("a password is never written here: take what stands before the @ out")
    if "?" in address.rest:
        raise ValueError("it has a query: end it before the ?")
    assert_private(address, "the key", is_allowed=_is_allowed(info))
    return value


def _name(value: str) -> str:
    if not value[:1].isalnum() or not all(c.isalnum() or c in "-_." for c in value):
        raise ValueError(
            "use letters, digits, '-', '_' and '.' only, and begin with a letter or a digit"
        )
    if len(value.encode()) > LONGEST_NAME:
        raise ValueError(f"{quoted_value(value)} is too long: use at most {LONGEST_NAME} bytes")
    return value


def _coin(value: str) -> str:
    """Refuse a currency in small letters: no crypto exchange settles in one."""
    if not value or value != value.upper():
        near = one_line(value, 20)
        raise ValueError(f'the venue has no currency "{near}": write "{near.upper() or "USDT"}"')
    return value


def _iso(value: str) -> str:
    if value not in ISO:
        near = " or ".join(f'"{one}"' for one in meant(value, ISO)) or 'a code such as "USD"'
        raise ValueError(
            f'"{one_line(value, 20)}" is no currency of Interactive Brokers: write {near}'
        )
    return value


def _zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError(
            f'{quoted_value(value)} is no time zone: use a name such as "America/New_York"'
        ) from None


def _database(url: str) -> str:
    """Refuse a password in the URL of a database, and a URL that cannot be taken apart.

    No error shows the URL: a password may stand in it, and most of all in one that is mistyped.
    """
    scheme, _, path = url.partition("://")
    if not is_plain(unquote(url)):
        raise ValueError("it has a control character: write it without")
    if scheme == "postgresql" or "@" in url:
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError(f"it is no URL: {_POSTGRES_URL}") from None
        query = parse_qs(parts.query, keep_blank_values=True)
        if parts.password is not None or "password" in query:
            raise ValueError(
                "a password is never written here: take it out, and name it as "
                'database_password = { env = "NAME" }'
            )
        if scheme == "postgresql":
            _assert_hosts(parts.netloc.rpartition("@")[2], query.get("port", []))
    if scheme != "postgresql":
        _path(Path(path.removeprefix("/")))
    return url


_POSTGRES_URL = (
    "write it as postgresql://user@host:port/database, with a port from 1 to 65535, and a "
    "character such as / [ ] in a name as %2F %5B %5D"
)
_POSTGRES_HOST = re.compile(r"(?:\[[^\]]*\]|[^:\s]*)(?::([0-9]*))?")
"""A host, or a folder of sockets, and its port: libpq takes its own where none is written."""


def _assert_hosts(hosts: str, ports: Iterable[str]) -> None:
    """Refuse a host or a port that libpq would refuse. Of several, a comma is between two."""
    found = [_POSTGRES_HOST.fullmatch(host) for host in hosts.split(",")]
    written = [each for one in ports for each in one.split(",")]
    written += ["" if one is None else one[1] or "" for one in found]
    if not all(found) or not all(port == "" or _is_port(port) for port in written):
        raise ValueError(f"its host or its port cannot be read: {_POSTGRES_URL}")


def _is_port(text: str) -> bool:
    return (
        text.isascii()
        and text.isdigit()
        and len(text) <= len(str(HIGHEST_PORT))
        and 0 < int(text) <= HIGHEST_PORT
    )


def _calendar(name: str) -> str:
    try:
        assert_calendar(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return name


Money = Annotated[Decimal, BeforeValidator(_decimal), Field(ge=0), AfterValidator(_within)]
SignedQty = Annotated[Decimal, BeforeValidator(_decimal), AfterValidator(_fits)]
Price = Annotated[Decimal, BeforeValidator(_decimal), Field(gt=0), AfterValidator(_fits)]
Secret = Annotated[SecretStr, BeforeValidator(_secret)]
PingUrl = Annotated[SecretStr, BeforeValidator(_ping)]
Day = Annotated[date, BeforeValidator(_day)]
UtcTime = Annotated[time, BeforeValidator(_time)]
Place = Annotated[SecretStr, BeforeValidator(_place)]
Name = Annotated[str, AfterValidator(_name)]
Coin = Annotated[str, AfterValidator(_coin)]
IsoCurrency = Annotated[str, AfterValidator(_iso)]
Zone = Annotated[str, AfterValidator(_zone)]
CalendarName = Annotated[str, AfterValidator(_calendar)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
FilePath = Annotated[Path, AfterValidator(_path)]
Text = Annotated[str, Field(min_length=1)]
Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]
Host = Annotated[str, AfterValidator(_host)]
Whole = Annotated[int, Field(strict=True)]
Yes = Annotated[bool, Field(strict=True)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


RENAMED = {
    "bots.books": "database",
    "bots.books_password": "database_password",
    "bots.recognises": 'costs_booked = "at_close" or "when_paid"',
    "bots.heartbeat.bar_s": "bar_s in the bot's own entry, beside heartbeat",
}
"""Keys of version 1, and what version 2 has in their place."""


class Recon(_Section):
    """The state folder, the tolerances, sign-offs, and the dead-man's switch."""

    state: FilePath = Path("state")
    """The folder of the warehouse, the control database, the reports and the backups. recon gives
    it mode 0700."""
    tolerance_pct: Money = Decimal("0.5")
    """The divergence that is allowed, in percent of the broker net."""
    tolerance_abs: Money = Decimal("1.00")
    """The divergence that is allowed, in the account's currency. The larger of the two tolerances
    applies."""
    sign_off_by: Whole = Field(default=1, ge=1, le=2)
    """How many people must sign the same amount before a sign-off counts."""
    crypto_opens: UtcTime = time(13)
    """The open of accounts without a calendar, in UTC. The result is needed one hour before it: see
    `recon schedule` and the deadline of `recon watch`."""
    ping: PingUrl | None = None
    """The web address of a dead-man's switch, as a secret. `allow_plain_http = true` may stand
    beside the secret's name."""
    limits: Limits = Field(default_factory=Limits)
    """The limits on each bot database and on each mapping."""


class OpeningLot(_Section):
    """One lot that an account held when its window began: its signed quantity and its price."""

    instrument: Text
    """The instrument that the account held when its window began, by the venue's name. Write one
    entry for each lot, the oldest first."""
    qty: SignedQty
    """The quantity in contracts or shares. It is negative for a short position."""
    price: Price | None = None
    """The price that was paid. Without it the cost is unknown, and quantity that is closed stays
    unproven until the position has been flat once."""
    side: Literal["net", "long", "short"] = "net"
    """OKX in long/short mode: `long` or `short`."""

    @model_validator(mode="after")
    def _is_on_its_side(self) -> Self:
        if (self.side == "long" and self.qty < 0) or (self.side == "short" and self.qty > 0):
            raise ValueError("a long side's qty is above 0, a short one's below")
        return self


class _Account(_Section):
    """The keys of every account, whatever its venue."""

    id: Name
    """The account's name: letters, digits, `-`, `_` and `.`, beginning with a letter or a digit."""
    currency: Coin
    """The currency of every figure of the account, such as `USDT`. An IBKR account takes an ISO
    code, such as `USD`."""
    since: Day
    """The first session of the window. The account was flat then, or `opening` lists its lots. The
    date is not in the future and not before the calendar begins. `recon check` names the first date
    that the venue still serves."""
    allow_plain_http: Yes = False  # above base_url, which is held to it
    """`true` lets the key go to `base_url` without TLS."""
    base_url: BaseUrl | None = None
    """Another address of the venue, such as OKX's other regions (`https://eea.okx.com`,
    `https://us.okx.com`) or a proxy. It replaces every host of an exchange that has several. The
    keys are sent to it."""
    opening: tuple[OpeningLot, ...] = ()
    """The lots that the account held when its window began."""
    max_fetch_mb: int = Field(default=128, gt=0, le=4096)
    """How many MB one fetch of the account reads at most, decompressed. At 128 a fetch uses up to
    800 MB of memory."""


class OkxAccount(_Account):
    """One OKX account, read through OKX's API with a key that can only read."""

    venue: Literal["okx"]
    """OKX, through its API."""
    mode: Literal["live", "demo"] = "live"
    """`demo` is OKX's demo trading. Its keys are made in demo mode."""
    lots: Method = "average"
    """The method that matches closed quantity with lots."""
    calendar: None = None
    """An OKX account has no calendar: its sessions are UTC days."""
    instrument_types: tuple[OkxInstrumentType, ...] = Field(default=("SWAP",), min_length=1)
    """The instrument types that the account may hold."""
    api_key: Secret
    """The API key. It may read and nothing else: recon refuses a key that can trade or withdraw."""
    api_secret: Secret
    """The secret of the API key."""
    passphrase: Secret
    """The passphrase of the API key."""


class FlexAccount(_Account):
    """One Interactive Brokers account, read from its Flex statements."""

    venue: Literal["ibkr-flex"]
    """Interactive Brokers, through Flex statements."""
    currency: IsoCurrency
    """The base currency of the account: an ISO code, such as `USD`."""
    mode: Literal["live", "paper"] = "live"
    """A note for the reader: the token decides whether the account is live or paper."""
    lots: Method = "fifo"
    """The method that matches closed quantity with lots."""
    calendar: CalendarName = "XNYS"
    """The exchange whose trade dates are the sessions."""
    broker_account: Text | None = None
    """The account number (`U…`). It is needed where the statements hold several accounts."""
    query_id: str | None = None
    """The number of the Activity Flex query, for the web service."""
    token: Secret | None = None
    """The token of the Flex Web Service."""
    files: Pattern | None = None
    """A pattern of downloaded statements, in place of `query_id` and `token`."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if self.files is not None and (self.query_id or self.token or self.base_url):
            raise ValueError("give either files, or query_id and token, not both")
        if self.files is None and not (self.query_id and self.token):
            raise ValueError(
                'needs query_id and token (the web service), or files = "statements/*.xml"'
            )
        return self


class TwsAccount(_Account):
    """One Interactive Brokers account, read from a running TWS or IB Gateway."""

    venue: Literal["ibkr-tws"]
    """Interactive Brokers, through a running TWS or IB Gateway. Its figures are provisional."""
    currency: IsoCurrency
    """The base currency of the account: an ISO code, such as `USD`."""
    mode: Literal["live", "paper"] = "live"
    """A note for the reader, and the default of `port`: the login of TWS decides whether the
    account is live or paper."""
    lots: Method = "fifo"
    """The method that matches closed quantity with lots."""
    calendar: CalendarName = "XNYS"
    """The exchange whose trade dates are the sessions."""
    base_url: None = None
    """A TWS account has no web address."""
    allow_plain_http: Literal[False] = False
    """A TWS account has no web address."""
    host: Host = "127.0.0.1"
    """The host on which TWS listens."""
    port: Whole | None = Field(default=None, gt=0, le=HIGHEST_PORT)
    """The port of TWS: 7496 for live and 7497 for paper, unless set. IB Gateway listens on 4001
    (live) or 4002 (paper)."""
    client_id: Whole = Field(default=900, ge=0, lt=2**31)
    """The API client that recon is. Make it the Master API client ID of TWS, and use it for no bot.
    """
    timezone: Zone = "America/New_York"
    """The time zone of TWS: its day begins at midnight there, and times without a zone are in it.
    """
    broker_account: Text | None = None
    """The account number (`U…`). It is needed where the login of TWS has several accounts."""
    confirmed_by: str | None = None
    """The `ibkr-flex` account whose statements confirm this account."""

    @property
    def address(self) -> tuple[str, int, int]:
        """Host, port and client id. The port is TWS's own for the mode, where none is given."""
        port = self.port or TWS_PORTS[self.mode]
        return self.host, port, self.client_id


class CcxtAccount(_Account):
    """One account at an exchange that ccxt can read, with a key that should only read.

    ccxt knows which secrets an exchange needs, and whether it serves trades by symbol only. A
    missing key is an error before the run begins.
    """

    venue: str
    """The id of an exchange of ccxt, such as `bybit`."""
    mode: Literal["live", "demo"] = "live"
    """`demo` is the test environment of the exchange."""
    lots: Method = "average"
    """The method that matches closed quantity with lots."""
    calendar: None = None
    """A ccxt account has no calendar: its sessions are UTC days."""
    type: Literal["spot", "swap", "future"] | None = None
    """The market type. Without it, the exchange's usual one."""
    sub_type: Literal["linear", "inverse"] | None = None
    """The contract type. Without it, the exchange's usual one."""
    symbols: tuple[Text, ...] = ()
    """The symbols whose trades are read. They are needed where an exchange serves trades by symbol
    only."""
    api_key: Secret | None = None
    """The API key. It should only be able to read: recon cannot check that at a ccxt exchange."""
    api_secret: Secret | None = None
    """The secret of the API key."""
    passphrase: Secret | None = None
    """The passphrase of the API key, where the exchange wants one."""
    wallet_address: Text | None = None
    """The wallet address, in place of a key: for hyperliquid."""


def _reader(value: Any) -> str | None:
    """Return which kind of account reads a venue; None for a venue that nobody knows."""
    venue = value.get("venue") if isinstance(value, dict) else getattr(value, "venue", None)
    if not isinstance(venue, str):
        return None
    if venue in READERS:
        return venue
    return "ccxt" if venue in exchange_ids() else None


READERS = ("okx", "ibkr-flex", "ibkr-tws", "ccxt")
Account = Annotated[
    Annotated[OkxAccount, Tag("okx")]
    | Annotated[FlexAccount, Tag("ibkr-flex")]
    | Annotated[TwsAccount, Tag("ibkr-tws")]
    | Annotated[CcxtAccount, Tag("ccxt")],
    Discriminator(_reader),
]


class Heartbeat(_Section):
    """Where a bot writes its heartbeat, and how often it beats."""

    allow_plain_http: Yes = False  # above the places, which are held to it
    """`true` lets a password in the address go without TLS."""
    file: FilePath | None = None
    """The file that holds the heartbeat. Give one of `file`, `url` or `redis`. A bot that is alive
    and has no fill at all is unproven."""
    url: Place | None = None
    """The page that serves the heartbeat (HTTP GET). A URL with a password is named as a secret."""
    redis: Place | None = None
    """The Redis that holds the heartbeat (`redis://…`, `rediss://…`). A URL with a password is
    named as a secret."""
    key: str | None = Field(default=None, min_length=1)
    """The key of the heartbeat in that Redis."""
    period_s: Whole = Field(default=60, gt=0, le=86400)
    """How often the bot beats at least, in seconds."""

    @model_validator(mode="after")
    def _is_in_one_place(self) -> Self:
        if sum(place is not None for place in (self.file, self.url, self.redis)) != 1:
            raise ValueError("give one of file, url, or redis and key")
        if (self.redis is None) != (self.key is None):
            raise ValueError("redis and key belong together: give both, or neither")
        return self


class Bot(_Section):
    """One bot: the instruments and orders that it owns, and its bot database."""

    id: Name
    """The bot's name."""
    account: str
    """The account that the bot trades."""
    instruments: tuple[Text, ...] = ()
    """The instruments that only this bot owns, by the venue's names."""
    order_tag: str | None = Field(default=None, min_length=1)
    """The prefix of the bot's order ids. Each bot of an account needs a tag of its own, and not one
    that a library writes for every bot."""
    database: Annotated[str, AfterValidator(_database)]
    """The bot database: `sqlite:///relative` or `sqlite:////absolute`; `csv`, `parquet` or `json`
    in place of `sqlite`; `postgresql://user@host/database`. Several bots may name one database."""
    database_password: Secret | None = None
    """The password of the PostgreSQL user."""
    mapping: Pattern = "auto"
    """The mapping of the bot database: a shipped one such as `freqtrade`, a folder of your own, or
    `auto`, which picks a shipped one by the columns."""
    costs_booked: Literal["at_close", "when_paid"] = "at_close"
    """When the bot books costs: `at_close` with the trade to which they belong, or `when_paid` when
    they are paid."""
    bar_s: Whole | None = Field(default=None, gt=0, lt=2**31)
    """The length of the bot's bars in seconds: `3600` for an hour. Without it, a bot that reports
    `last_bar_at` is held to one bar a day."""
    heartbeat: Heartbeat | None = None
    """The bot's heartbeat, for `recon watch`."""


class SharedDatabase(NamedTuple):
    """One bot whose database another bot names, too; `has_own_mapping`: no other reads it so."""

    database: str
    bot: Bot
    has_own_mapping: bool


class Channel(_Section):
    """One channel for pages: its URL, and the severity from which on it receives them."""

    id: Name | None = None
    """The name of the channel in messages, unique. Without it, its service and number:
    `telegram 1`."""
    url: Secret
    """Where pages go: an apprise URL or an `https://` address, as a secret."""
    severity: Severity = "minor"
    """The lowest severity that the channel receives."""
    allow_plain_http: Yes = False  # above base_url, which is held to it
    """`true` lets pages and the channel's secret go without TLS."""
    base_url: BaseUrl | None = None
    """Another address of Telegram or PagerDuty, such as a Bot API server of your own. Without it,
    the service's own."""
    api_token: Secret | None = None
    """PagerDuty: a read-only REST API key. With it, an acknowledgement in PagerDuty counts in
    recon."""

    @property
    def revealed(self) -> tuple[str, str | None, str | None]:
        """URL, base URL and API token, with their secrets."""
        token = None if self.api_token is None else self.api_token.get_secret_value()
        return self.url.get_secret_value(), self.base_url, token


class Paging(_Section):
    """The channels for pages, and the channels for pages that nobody acknowledges."""

    channels: tuple[Channel, ...] = ()
    """The channels that receive pages."""
    escalation: tuple[Channel, ...] = ()
    """The channels that also receive a page that nobody has acknowledged."""


class Config(_Section):
    """The whole of `recon.toml`."""

    path: Path
    """The configuration file itself: no key of it."""
    recon: Recon = Recon()
    """The state, the tolerances and the limits."""
    accounts: tuple[Account, ...]
    """The venue accounts."""
    bots: tuple[Bot, ...] = ()
    """The bots."""
    paging: Paging = Paging()
    """The pages."""

    @property
    def folder(self) -> Path:
        """What relative paths in the file are relative to."""
        return self.path.parent

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / self.recon.state

    @property
    def warnings(self) -> list[str]:
        """What may be right and looks wrong: order tags of one account that begin alike."""
        return [
            warning
            for account in self.accounts
            for warning in alike(
                {
                    bot.id: bot.order_tag
                    for bot in self.bots
                    if bot.account == account.id and bot.order_tag is not None
                }
            )
        ]

    @model_validator(mode="after")
    def _names_point_somewhere(self) -> Self:
        if not self.accounts:
            raise ValueError("accounts: there is none: add an [[accounts]] entry")
        accounts = _unique("account", (account.id for account in self.accounts))
        _unique("bot", (bot.id for bot in self.bots))
        channels = (*self.paging.channels, *self.paging.escalation)
        _unique("channel", (one.id for one in channels if one.id is not None))
        for bot in self.bots:
            if bot.account not in accounts:
                raise ValueError(
                    f"bots.{bot.id}.account: there is no account {quoted_value(bot.account)}: "
                    f"use one of {', '.join(sorted(accounts))}"
                )
        self._confirmed_by_flex()
        self._one_bot_a_pair()
        self._tags_tell_apart()
        return self

    def _confirmed_by_flex(self) -> None:
        flex = {account.id for account in self.accounts if isinstance(account, FlexAccount)}
        for account in self.accounts:
            if isinstance(account, TwsAccount) and account.confirmed_by not in {None, *flex}:
                raise ValueError(
                    f"accounts.{account.id}.confirmed_by: there is no ibkr-flex account "
                    f"{quoted_value(account.confirmed_by)}: use one of "
                    f"{', '.join(sorted(flex)) or 'none yet'}"
                )

    def _one_bot_a_pair(self) -> None:
        owners: dict[tuple[str, str], str] = {}
        tags: dict[tuple[str, str], str] = {}
        for bot in self.bots:
            if not bot.instruments and bot.order_tag is None:
                raise ValueError(
                    f"bots.{bot.id}: owns nothing: name its instruments, or its order_tag"
                )
            _unique(f"bots.{bot.id}.instrument", bot.instruments)
            for instrument in bot.instruments:
                other = owners.setdefault((bot.account, instrument), bot.id)
                if other != bot.id:
                    raise ValueError(
                        f"bots.{bot.id}.instruments: {one_line(instrument, 100)} is owned by "
                        f"{other} already: one bot a pair; tell shared pairs apart by order_tag"
                    )
            if bot.order_tag is not None:
                other = tags.setdefault((bot.account, bot.order_tag), bot.id)
                if other != bot.id:
                    raise ValueError(
                        f'bots.{bot.id}.order_tag: {other} has the same tag "{bot.order_tag}": '
                        "give each bot of an account a tag of its own"
                    )

    def _tags_tell_apart(self) -> None:
        at_okx = {one.id for one in self.accounts if one.venue in OKX_VENUES}
        for bot in self.bots:
            library = library_of(bot.order_tag) if bot.order_tag else None
            if library and bot.account in at_okx:
                raise ValueError(
                    f"bots.{bot.id}.order_tag: {library} begins every order of every bot with "
                    f'"{INJECTED[library]}", so "{bot.order_tag}" cannot tell bots apart: have the '
                    "bot write client order ids with a prefix of its own, or name its instruments "
                    "in place of the tag"
                )


def load(path: Path, *, with_secrets: bool | Collection[str] = True) -> Config:
    """Read and check the configuration at `path`, its secrets included.

    Where nobody is asked and nobody is paged, it is read without them; or with those alone whose
    key is named, as `url`. Raises ConfigError.
    """
    values = parse(path)
    assert_plain(path, values)
    if "path" in values:
        raise ConfigError(f"{one_line(str(path))}: path: an unknown key: remove it")
    where = path.absolute()
    remember_proxies()
    keys = keys_of_secrets(values)
    try:
        return TypeAdapter(Config).validate_python(
            {**values, "path": where},
            context={"folder": where.parent, "with_secrets": with_secrets, "keys": keys},
        )
    except ValidationError as error:
        raise ConfigError(_explain(path, values, error)) from error
    except ReconError:
        raise
    except Exception as error:
        # A defect of a check above: the file may be at fault all the same, and the user can act.
        LOG.info("checking %s failed", path, exc_info=True)
        raise ConfigError(
            f"{one_line(str(path))}: cannot be checked ({type(error).__name__}): undo the last "
            "change to it, and report this, with what -v says"
        ) from error


def salvage(path: Path) -> tuple[Path, Paging] | None:
    """Return the state folder and the channels of a configuration that is otherwise wrong.

    Of the channels, those that are well-formed and whose secret is there. None where it cannot be
    read at all.
    """
    if (values := _values(path)) is None:
        return None
    folder = path.absolute().parent
    paging = values.get("paging")
    paging = paging if isinstance(paging, dict) else {}
    keys = keys_of_secrets(values)
    lists = {
        name: tuple(_sound_channels(paging.get(name), folder, keys))
        for name in ("channels", "escalation")
    }
    return _state_of(values, folder), Paging(**lists)


def state_folder(path: Path) -> Path | None:
    """Return the state folder of a configuration, also of one that is otherwise wrong.

    None where it cannot be read at all.
    """
    values = _values(path)
    return None if values is None else _state_of(values, path.absolute().parent)


def _values(path: Path) -> dict[str, Any] | None:
    try:
        return parse(path)
    except ConfigError:
        return None


def _state_of(values: Mapping[str, Any], folder: Path) -> Path:
    recon = values.get("recon")
    state = recon.get("state") if isinstance(recon, dict) else None
    try:
        return folder / TypeAdapter(FilePath).validate_python(state)
    except ValidationError:  # it is missing, or `load` says what is wrong with it
        return folder / Recon().state


def _sound_channels(
    written: object, folder: Path, keys: Mapping[tuple[str, str], str]
) -> Iterator[Channel]:
    context = {"folder": folder, "with_secrets": True, "keys": keys}
    for one in written if isinstance(written, list) else []:
        # Nothing is sent with a token that only reads; a wrong name does not keep a page back.
        for left_out in ({"api_token"}, {"api_token", "id"}):
            bare = one
            if isinstance(one, dict):
                bare = {key: value for key, value in one.items() if key not in left_out}
            with suppress(ValidationError):
                yield TypeAdapter(Channel).validate_python(bare, context=context)
                break


def _unique(noun: str, names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"two {noun}s are called {quoted_value(name)}: name each once")
        seen.add(name)
    return seen


def _explain(path: Path, values: Mapping[str, Any], error: ValidationError) -> str:
    """Return one line a mistake: the file, the keys as a user would write them, and the remedy.

    One mistake in several places, such as a secret that several keys name, is one line.
    """
    keys: dict[str, list[str]] = {}
    for mistake in error.errors(include_url=False, include_context=False):
        key = name_of(values, mistake["loc"], omitted=READERS)
        keys.setdefault(_remedy(mistake, key), []).append(key)
    lines = [
        f"{one_line(str(path))}: {one_line(', '.join(wrong))}: {one_line(remedy)}".replace(
            ": :", ":"
        )
        for remedy, wrong in keys.items()
    ]
    return "\n".join(lines[:MOST_MISTAKES])


def _no_list(written: object, location: tuple[int | str, ...], name: str) -> str:
    """Say how a list is written, in place of what is there: a table, or a value alone."""
    table = _table_name(location)
    if isinstance(written, dict):
        return f"[{table}] is one table, and there may be several: write [[{table}]]"
    if table in {"accounts", "bots"}:
        return f"write each as an entry [[{table}]]"
    if isinstance(written, str):
        return f'a list: write {name} = ["{one_line(written, 100)}"]'
    return f"a list: write {name} = […]"


def _table_name(location: tuple[int | str, ...]) -> str:
    """Return a table's name as its header has it: without an entry's number or kind."""
    return ".".join(str(step) for step in location if isinstance(step, str) and step not in READERS)


def _remedy(mistake: Mapping[str, Any], key: str) -> str:
    kind, message, name = mistake["type"], mistake["msg"], key.rpartition(".")[2]
    if kind in {"extra_forbidden", "unexpected_keyword_argument"}:
        new = RENAMED.get(_table_name(mistake["loc"]))
        remedy = (
            f"version 2 has another key for it: write {new}"
            if new
            else "remove it, or correct its spelling"
        )
        return f"an unknown key: {remedy}"
    if kind == "missing":
        return "missing: add an [[accounts]] entry" if key == "accounts" else "missing: add it"
    if kind == "tuple_type":
        return _no_list(mistake["input"], mistake["loc"], name)
    if kind == "model_type" and isinstance(mistake["input"], list):
        table = _table_name(mistake["loc"])
        return f"there is one of it: write [{table}], with one bracket on each side"
    if kind in {"union_tag_invalid", "union_tag_not_found"}:
        written = mistake["input"].get("venue") if isinstance(mistake["input"], dict) else None
        near = [repr(name) for name in close_matches(str(written or "")[:LONGEST_NAME])]
        return (
            'venue must be "okx", "ibkr-flex", "ibkr-tws", or the id of an exchange that ccxt knows'
            + (f": is {quoted_value(written)} meant to be {' or '.join(near)}?" if near else "")
        )
    return str(message).removeprefix("Value error, ")
