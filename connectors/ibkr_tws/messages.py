"""The messages of TWS, verbatim: their fields are kept before a library reads them.

ib_async and ib_insync turn prices, shares and commissions into floats. They take a missing
commission for 0.0, write 0.0 where TWS writes "unset", and only log a row that they cannot read.
Both decode a message by a table of number → handler. `TwsTape.listen` wraps that table: it stores
the text on the tape, and then passes it unchanged to the library.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, MutableMapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from recon.core.calendars import to_utc
from recon.outside_text import excerpt

Fields = dict[str, str]
"""One message, by the names of its fields; every value verbatim."""
Handler = Callable[[Sequence[str]], object]

MOST_NOTICES: Final = 1_000
"""The most notices that are kept: the newest ones."""
MAX_SAID: Final = 300
"""The most characters of a TWS notice that a message repeats."""
SUFFIX_DIGITS: Final = 9
CONTRACT: Final = (
    "conId",
    "symbol",
    "secType",
    "lastTradeDateOrContractMonth",
    "strike",
    "right",
    "multiplier",
    "exchange",
    "currency",
    "localSymbol",
    "tradingClass",
)
EXECUTION: Final = (
    "orderId", *CONTRACT, "execId", "time", "acctNumber", "executedOn", "side", "shares", "price",
    "permId", "clientId", "liquidation", "cumQty", "avgPrice", "orderRef", "evRule", "evMultiplier",
    "modelCode", "lastLiquidity", "pendingPriceRevision",
)  # fmt: skip
"""`exchange` is the contract's, `executedOn` the execution's. The last field is new in 178."""
COMMISSION: Final = (
    "execId",
    "commission",
    "currency",
    "realizedPNL",
    "yield",
    "yieldRedemptionDate",
)
POSITION: Final = ("account", *CONTRACT, "position", "avgCost")
ACCOUNT_VALUE: Final = ("account", "modelCode", "key", "value", "currency")
NOTICE: Final = ("id", "code", "message")
OUTAGE_BEGINS: Final = frozenset({"1100", "2110"})
"""Notices that TWS has lost its connection to IBKR: its answers are old from then on."""
OUTAGE_ENDS: Final = frozenset({"1101", "1102"})
CHATTER: Final = frozenset({"2103", "2104", "2105", "2106", "2107", "2108", "2119", "2157", "2158"})
"""Notices about market data farms, which recon does not use."""


class TwsTape:
    """The messages of one connection so far, each once, by its own id."""

    def __init__(self) -> None:
        self.executions: dict[str, Fields] = {}
        self.commissions: dict[str, Fields] = {}
        self.positions: dict[tuple[str, str], Fields] = {}
        self.values: dict[tuple[str, str, str], Fields] = {}
        self.notices: deque[Fields] = deque(maxlen=MOST_NOTICES)
        self.outage = ""
        self.flaw = ""
        """Why a message could not be split into fields: the whole connection is then invalid."""
        self.commission_came = asyncio.Event()

    def listen(self, handlers: MutableMapping[int, Handler]) -> None:
        """Wrap a decoder's handlers: store each message, then pass it on."""
        for number, note in {
            4: self._note_notice,
            11: self._note_execution,
            59: self._note_commission,
            61: self._note_position,
            73: self._note_value,
        }.items():
            handlers[number] = _both(note, handlers[number])

    def said(self) -> str:
        """Return the last complaint of TWS, as a suffix of a sentence; "" without one."""
        complaints = [one for one in self.notices if one["code"] not in CHATTER]
        if not complaints:
            return ""
        return (
            f" (TWS reports {excerpt(complaints[-1]['code'], 20)}: "
            f"{excerpt(complaints[-1]['message'], MAX_SAID)})"
        )

    def has_said(self, code: str) -> bool:
        """Return whether TWS has sent a notice with this code."""
        return any(one["code"] == code for one in self.notices)

    def _note_notice(self, fields: Sequence[str]) -> None:
        notice = self._read("notice", NOTICE, fields[2:5])
        self.notices.append(notice)
        if notice["code"] in OUTAGE_BEGINS:
            self.outage = f"{notice['code']}: {notice['message'][:MAX_SAID]}"
        elif notice["code"] in OUTAGE_ENDS:
            self.outage = ""

    def _note_execution(self, fields: Sequence[str]) -> None:
        execution = self._read("execution", EXECUTION, fields[2:], optional=1)
        self.executions[execution["execId"]] = execution

    def _note_commission(self, fields: Sequence[str]) -> None:
        commission = self._read("commission report", COMMISSION, fields[2:])
        self.commissions[commission["execId"]] = commission
        self.commission_came.set()

    def _note_position(self, fields: Sequence[str]) -> None:
        position = self._read("position", POSITION, fields[2:])
        self.positions[position["account"], position["conId"]] = position

    def _note_value(self, fields: Sequence[str]) -> None:
        value = self._read("account value", ACCOUNT_VALUE, fields[3:])
        self.values[value["account"], value["key"], value["currency"]] = value

    def _read(
        self, noun: str, names: Sequence[str], fields: Sequence[str], *, optional: int = 0
    ) -> Fields:
        """Return the fields by name. Too few fields are a flaw of the whole tape.

        A newer TWS may send additional fields: the known ones come first.
        """
        lacking = len(names) - len(fields)
        if lacking > optional:
            self.flaw = self.flaw or f"TWS sent a {noun} of {len(fields)} fields"
            fields = [*fields, *[""] * lacking]
        return dict(zip(names, fields, strict=False))


def happened_at(text: str, zone: ZoneInfo) -> datetime | None:
    """Return the instant (UTC) of a time as TWS writes it; None if it names none, or two.

    The form is `yyyymmdd hh:mm:ss Zone`. Without a zone it is in `zone`; with a hyphen it is UTC.
    """
    day, clock, named = [*text.replace("-", " ", 1).split(maxsplit=2), "", "", ""][:3]
    try:
        local = datetime.strptime(f"{day} {clock}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007 - its zone follows
        if text[8:9] == "-":
            return None if named else local.replace(tzinfo=UTC)
        return to_utc(local, ZoneInfo(named) if named else zone)
    except (ValueError, OverflowError, OSError, ZoneInfoNotFoundError):
        return None  # a zone's name becomes a path, which may be a folder or too long


def midnight(at: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant (UTC) at which the day of `at` began in `zone`.

    Where the clock changes at midnight, it is the first full hour that exists once.
    """
    day = at.astimezone(zone).date()
    for hours in range(3):
        try:
            return to_utc(datetime.combine(day, time()) + timedelta(hours=hours), zone)
        except ValueError:
            continue
    raise ValueError(f"{day} has no beginning in {zone.key}")


def uncorrected(exec_ids: Sequence[str]) -> set[str]:
    """Return the execution ids without a later correction among them.

    A correction differs only after the last period: the highest number there replaces the others.
    """
    latest: dict[str, tuple[int, str]] = {}
    for exec_id in exec_ids:
        family, _, suffix = exec_id.rpartition(".")
        is_number = suffix.isascii() and suffix.isdecimal() and len(suffix) <= SUFFIX_DIGITS
        number = int(suffix) if family and is_number else -1
        key = family if number >= 0 else exec_id
        latest[key] = max(latest.get(key, (-1, "")), (number, exec_id))
    return {exec_id for _, exec_id in latest.values()}


def _both(note: Handler, handler: Handler) -> Handler:
    def noted(fields: Sequence[str]) -> None:
        note(fields)
        handler(fields)

    return noted
