"""What TWS says, word for word: the fields of its messages, kept before a library reads them.

ib_async and ib_insync make floats of prices, shares and commissions, take a commission that never
came for 0.0, write 0.0 where TWS writes "unset", and log a row that they cannot read instead of
handing it on. Both decode a message by a table, number → handler. `TwsTape.listen` stands in
front of that table: the text goes on the tape, and then to the library as if nothing had been.
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
"""One message, by the names of its fields; every value as it reached the wire."""
Handler = Callable[[Sequence[str]], object]

MOST_NOTICES: Final = 1_000
"""How many notices are kept, the newest ones."""
MAX_SAID: Final = 300
"""Characters of what TWS says that are handed on in a message."""
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
"""`exchange` is the contract's, `executedOn` the execution's own. The last one is new in 178."""
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
"""TWS has lost IBKR: what it answers now is what it knew before."""
OUTAGE_ENDS: Final = frozenset({"1101", "1102"})
CHATTER: Final = frozenset({"2103", "2104", "2105", "2106", "2107", "2108", "2119", "2157", "2158"})
"""Market data farms coming and going: nothing to do with what is read here."""


class TwsTape:
    """What one connection has said so far, each thing once, by its own id."""

    def __init__(self) -> None:
        self.executions: dict[str, Fields] = {}
        self.commissions: dict[str, Fields] = {}
        self.positions: dict[tuple[str, str], Fields] = {}
        self.values: dict[tuple[str, str, str], Fields] = {}
        self.notices: deque[Fields] = deque(maxlen=MOST_NOTICES)
        self.outage = ""
        self.flaw = ""
        """What cannot be told apart into fields: then nothing of this connection is believed."""
        self.commission_came = asyncio.Event()

    def listen(self, handlers: MutableMapping[int, Handler]) -> None:
        """Stand in front of a decoder's handlers, and hand on to them what has been noted."""
        for number, note in {
            4: self._note_notice,
            11: self._note_execution,
            59: self._note_commission,
            61: self._note_position,
            73: self._note_value,
        }.items():
            handlers[number] = _both(note, handlers[number])

    def said(self) -> str:
        """Return what TWS last complained of, ready to follow a sentence; "" where it did not."""
        told = [one for one in self.notices if one["code"] not in CHATTER]
        if not told:
            return ""
        return (
            f" (TWS says {excerpt(told[-1]['code'], 20)}: {excerpt(told[-1]['message'], MAX_SAID)})"
        )

    def has_said(self, code: str) -> bool:
        """Return whether TWS gave notice of this code."""
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
        """Return the fields by name; one too few is a flaw of the whole tape.

        More than are known is what a newer TWS does: the known ones come first, and stay.
        """
        lacking = len(names) - len(fields)
        if lacking > optional:
            self.flaw = self.flaw or f"TWS sent a {noun} of {len(fields)} fields"
            fields = [*fields, *[""] * lacking]
        return dict(zip(names, fields, strict=False))


def happened_at(text: str, zone: ZoneInfo) -> datetime | None:
    """Return the instant (UTC) of a time as TWS writes it; None where it names none, or two.

    `yyyymmdd hh:mm:ss Zone`, or without a zone, which is then `zone`; with a hyphen it is UTC.
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

    Where the clock is set at midnight itself, the first full hour that is told once.
    """
    day = at.astimezone(zone).date()
    for hours in range(3):
        try:
            return to_utc(datetime.combine(day, time()) + timedelta(hours=hours), zone)
        except ValueError:
            continue
    raise ValueError(f"{day} has no beginning in {zone.key}")


def uncorrected(exec_ids: Sequence[str]) -> set[str]:
    """Return those execution ids of which no later correction is among them.

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
