"""The minutes for which an account needs exchange rates, and OKX's candles of them.

An amount in another currency than the account's is valued at OKX's own one-minute candle of the
minute in which it was paid. Exactly those minutes are requested, a hundred per page, without those
that have landed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from connectors.okx.client import OkxClient, Row
from connectors.payload import payload_text
from recon.core.records import Record
from recon.errors import VenueBusy, VenueRefused
from recon.outside_text import excerpt

PATH = "market/history-candles"
MINUTE_MS = 60_000
PAGE = 100
LONGEST_TIME = 30
"""The most characters of a time."""
FIELDS = ("ts", "o", "h", "l", "c", "vol", "volCcy", "volCcyQuote", "confirm")
PAID = frozenset({"3", "5", "7", "8", "9", "10"})
"""The types of ledger entries that are PnL, and are valued when they were paid."""
SPOT = frozenset({"SPOT", "MARGIN"})


@dataclass(slots=True)
class MinutesWanted:
    """The minutes, in ms since 1970, in which amounts were paid, by currency.

    `currency` is the account's; None wants no minutes. The settlement currency of a contract is
    known after the instruments are fetched: until then its fills are kept by instrument.
    """

    currency: str | None
    _by_currency: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    _by_contract: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def note(self, kind: str, row: Row) -> None:
        """Add the minute and currency of a fill or bill. A row without a valid time is skipped."""
        minute = _minute(row)
        if self.currency is None or minute is None:
            return
        if kind == "bill":
            if str(row.get("type")) in PAID:
                self._by_currency[str(row.get("ccy"))].add(minute)
            return
        name = str(row.get("instId"))
        base, _, rest = name.partition("-")
        if str(row.get("instType")) in SPOT:
            self._by_currency[rest].add(minute)
        else:
            self._by_contract[name].add(minute)
            base = ""
        if row.get("feeCcy") != base:
            self._by_currency[str(row.get("feeCcy"))].add(minute)

    def of(self, settled_in: Mapping[str, str]) -> dict[str, set[int]]:
        """Return the wanted minutes by currency; `settled_in` is by contract."""
        wanted = {name: set(minutes) for name, minutes in self._by_currency.items()}
        for contract, minutes in self._by_contract.items():
            wanted.setdefault(settled_in.get(contract, ""), set()).update(minutes)
        return {name: wanted[name] for name in sorted(wanted) if name not in {self.currency, ""}}


async def candles(
    client: OkxClient,
    account_currency: str,
    currency: str,
    minutes: set[int],
    known: Collection[str],
) -> tuple[list[Record], int]:
    """Return the candles of the minutes that have not landed, and the number of pages.

    A pair may be listed in either direction. A pair that OKX does not list has no candles. Raises
    VenueBusy for an invalid answer.
    """
    pages = 0
    for pair in (f"{currency}-{account_currency}", f"{account_currency}-{currency}"):
        missing = {one for one in minutes if f"{pair}/{one}" not in known}
        if len(missing) < len(minutes) and not missing:
            return [], pages
        try:
            found, asked = await _pair(client, pair, missing)
        except VenueRefused:
            continue
        return found, pages + asked
    return [], pages


async def _pair(client: OkxClient, pair: str, minutes: set[int]) -> tuple[list[Record], int]:
    """Return a pair's candles of these minutes, the newest page first."""
    left = sorted(minutes)
    found: list[Record] = []
    pages = 0
    while left:
        newest = left[-1]
        query = {
            "instId": pair,
            "bar": "1m",
            "after": str(newest + MINUTE_MS),
            "before": str(newest - PAGE * MINUTE_MS),
            "limit": str(PAGE),
        }
        rows = await client.get_lists(PATH, query)
        pages += 1
        found += _wanted(pair, rows, minutes)
        left = [one for one in left if one <= newest - PAGE * MINUTE_MS]
    return found, pages


def _wanted(pair: str, rows: list[list[str]], minutes: set[int]) -> Iterator[Record]:
    """Yield the finished candles of the wanted minutes."""
    for row in rows:
        candle: dict[str, object] = dict(zip(FIELDS, row, strict=False))
        if len(candle) < len(FIELDS):
            said = f"{PATH}: a candle without {FIELDS[len(candle)]}: {row!r}"
            raise VenueBusy(excerpt(said, 200))
        start = candle["ts"] if isinstance(candle["ts"], str) else ""
        is_read = {
            "ts": start.isascii() and start.isdecimal() and len(start) <= LONGEST_TIME,
            "c": isinstance(candle["c"], str) and candle["c"] != "",
            "confirm": candle["confirm"] in ("0", "1"),
        }
        if wrong := [name for name, is_right in is_read.items() if not is_right]:
            said = f"{PATH}: a candle whose {wrong[0]} cannot be read: {row!r}"
            raise VenueBusy(excerpt(said, 200))
        if int(start) in minutes and candle["confirm"] == "1":
            payload = payload_text({"instId": pair, "bar": "1m", **candle})
            yield Record(
                "candle",
                f"{pair}/{start}",
                payload,
                datetime.fromtimestamp(int(start) // 1000, UTC),
            )


def _minute(row: Row) -> int | None:
    """Return the start of the minute of a row's time."""
    at = str(row.get("ts"))
    if not (at.isascii() and at.isdecimal() and len(at) == len("1700000000000")):
        return None
    return int(at) // MINUTE_MS * MINUTE_MS
