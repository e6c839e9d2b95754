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
    """`[recon]`: the state, tolerances, the limits of mappings, who signs off, who is pinged."""

    state: FilePath = Path("state")
    tolerance_pct: Money = Decimal("0.5")
    tolerance_abs: Money = Decimal("1.00")
    sign_off_by: Whole = Field(default=1, ge=1, le=2)
    crypto_opens: UtcTime = time(13)
    ping: PingUrl | None = None
    limits: Limits = Field(default_factory=Limits)


class OpeningLot(_Section):
    """What an account held when its window began: signed, and at what cost, where that is known."""

    instrument: Text
    qty: SignedQty
    price: Price | None = None
    side: Literal["net", "long", "short"] = "net"

    @model_validator(mode="after")
    def _is_on_its_side(self) -> Self:
        if (self.side == "long" and self.qty < 0) or (self.side == "short" and self.qty > 0):
            raise ValueError("a long side's qty is above 0, a short one's below")
        return self


class _Account(_Section):
    id: Name
    currency: Coin
    since: Day
    allow_plain_http: Yes = False  # above base_url, which is held to it
    base_url: BaseUrl | None = None
    opening: tuple[OpeningLot, ...] = ()
    max_fetch_mb: int = Field(default=128, gt=0, le=4096)


class OkxAccount(_Account):
    """One OKX account, read through its REST API with a key that can only read."""

    venue: Literal["okx"]
    mode: Literal["live", "demo"] = "live"
    lots: Method = "average"
    calendar: None = None
    instrument_types: tuple[OkxInstrumentType, ...] = Field(default=("SWAP",), min_length=1)
    api_key: Secret
    api_secret: Secret
    passphrase: Secret


class FlexAccount(_Account):
    """One Interactive Brokers account, read from its Flex statements."""

    venue: Literal["ibkr-flex"]
    currency: IsoCurrency
    mode: Literal["live", "paper"] = "live"
    lots: Method = "fifo"
    calendar: CalendarName = "XNYS"
    broker_account: Text | None = None
    query_id: str | None = None
    token: Secret | None = None
    files: Pattern | None = None

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
    """One Interactive Brokers account, read from a running TWS or IB Gateway: provisional."""

    venue: Literal["ibkr-tws"]
    currency: IsoCurrency
    mode: Literal["live", "paper"] = "live"
    lots: Method = "fifo"
    calendar: CalendarName = "XNYS"
    base_url: None = None
    allow_plain_http: Literal[False] = False
    host: Host = "127.0.0.1"
    port: Whole | None = Field(default=None, gt=0, le=HIGHEST_PORT)
    client_id: Whole = Field(default=900, ge=0, lt=2**31)
    timezone: Zone = "America/New_York"
    broker_account: Text | None = None
    confirmed_by: str | None = None

    @property
    def address(self) -> tuple[str, int, int]:
        """Host, port and client id. The port is TWS's own for the mode, where none is given."""
        port = self.port or TWS_PORTS[self.mode]
        return self.host, port, self.client_id


class CcxtAccount(_Account):
    """One account at any exchange that ccxt knows, read with a key that should only read.

    Which of the secrets an exchange wants, and whether it shows trades of named symbols alone, is
    known to ccxt: what is missing is said before the night begins.
    """

    venue: str
    mode: Literal["live", "demo"] = "live"
    lots: Method = "average"
    calendar: None = None
    type: Literal["spot", "swap", "future"] | None = None
    sub_type: Literal["linear", "inverse"] | None = None
    symbols: tuple[Text, ...] = ()
    api_key: Secret | None = None
    api_secret: Secret | None = None
    passphrase: Secret | None = None
    wallet_address: Text | None = None


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
    """Where a bot's beat is found, and how often it beats."""

    allow_plain_http: Yes = False  # above the places, which are held to it
    file: FilePath | None = None
    url: Place | None = None
    redis: Place | None = None
    key: str | None = Field(default=None, min_length=1)
    period_s: Whole = Field(default=60, gt=0, le=86400)

    @model_validator(mode="after")
    def _is_in_one_place(self) -> Self:
        if sum(place is not None for place in (self.file, self.url, self.redis)) != 1:
            raise ValueError("give one of file, url, or redis and key")
        if (self.redis is None) != (self.key is None):
            raise ValueError("redis and key belong together: give both, or neither")
        return self


class Bot(_Section):
    """One bot: what it owns, how its orders are known, and where its own books lie."""

    id: Name
    account: str
    instruments: tuple[Text, ...] = ()
    order_tag: str | None = Field(default=None, min_length=1)
    database: Annotated[str, AfterValidator(_database)]
    database_password: Secret | None = None
    mapping: Pattern = "auto"
    costs_booked: Literal["at_close", "when_paid"] = "at_close"
    bar_s: Whole | None = Field(default=None, gt=0, lt=2**31)
    heartbeat: Heartbeat | None = None


class SharedDatabase(NamedTuple):
    """One bot whose database another bot names, too; `has_own_mapping`: no other reads it so."""

    database: str
    bot: Bot
    has_own_mapping: bool


class Channel(_Section):
    """One place where pages go: a URL, which is a secret, and from which severity on.

    `base_url` stands in for Telegram's or PagerDuty's own address; `api_token`, of PagerDuty's REST
    API, reads whether somebody there has acknowledged.
    """

    url: Secret
    severity: Severity = "minor"
    allow_plain_http: Yes = False  # above base_url, which is held to it
    base_url: BaseUrl | None = None
    api_token: Secret | None = None

    @property
    def revealed(self) -> tuple[str, str | None, str | None]:
        """URL, base URL and API token, with their secrets."""
        token = None if self.api_token is None else self.api_token.get_secret_value()
        return self.url.get_secret_value(), self.base_url, token


class Paging(_Section):
    """`[paging]`: who must know, and who if nobody answers."""

    channels: tuple[Channel, ...] = ()
    escalation: tuple[Channel, ...] = ()


class Config(_Section):
    """The whole of `recon.toml`."""

    path: Path
    recon: Recon = Recon()
    accounts: tuple[Account, ...]
    bots: tuple[Bot, ...] = ()
    paging: Paging = Paging()

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
    for one in written if isinstance(written, list) else []:
        bare = one
        if isinstance(one, dict):  # nothing is sent with a token that only reads
            bare = {key: value for key, value in one.items() if key != "api_token"}
        with suppress(ValidationError):
            context = {"folder": folder, "with_secrets": True, "keys": keys}
            yield TypeAdapter(Channel).validate_python(bare, context=context)


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
