"""Each field of each OKX record, taken away or spoilt: the same numbers, or unproven by name.

A variation is one field of one record that is absent, empty, null or of a wrong type. One night
holds many variations, each an account on a server of its own, and one account that is left alone.
The nights that always run spoil each field in one way. The nights of all other ways are slow.
Fields that recon does not read are varied together: they must cost nothing. A new kind of record is
covered by its line in `RECORDS`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
from aiohttp import web

from connectors.okx.candles import FIELDS as CANDLE_FIELDS
from connectors.retry import RetryPolicy
from recon.demo.venues.background import in_background
from recon.demo.venues.okx_endpoints import PREFIX, Endpoint, Query
from recon.demo.venues.okx_lifecycle import OkxLife
from recon.demo.venues.okx_server import OkxServer
from tests.conftest import TRIED, slow_after
from tests.support.fleet import (
    BTC,
    ETH,
    NOW,
    OPENING,
    SOL,
    Desk,
    Document,
    Trader,
    figures,
    run_desks,
)
from tests.support.random_histories import COIN, INVERSE, btc_price

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AT_ONCE = 40
STOP = "alpha1sl"
ALONE = "alone"
TYPES = ("SWAP", "SPOT")
PATIENT = RetryPolicy(
    request_timeout_s=20.0,
    attempts=2,
    first_wait_s=0.01,
    longest_wait_s=0.02,
    total_s=120.0,
    is_rate_limited=False,
)
"""Many accounts ask at once: none is cut off. What a row lacks, it lacks at each attempt."""


class Record(NamedTuple):
    """One record that OKX serves: where, which row it is, and which of its fields recon reads.

    `varied` are those that are varied; without any, all that it reads, and the others together.
    `inside` is the key of a list in the row, of which the record is one element.
    """

    name: str
    paths: tuple[str, ...]
    is_it: Callable[[Mapping[str, Any]], bool]
    reads: tuple[str, ...]
    varied: tuple[str, ...] = ()
    inside: str = ""


FILLS, BILLS = ("trade/fills", "trade/fills-history"), ("account/bills", "account/bills-archive")
FILL_READS = ("instId", "instType", "side", "posSide", "fillSz", "fillPx", "fee", "feeCcy", "ts",
              "ordId", "clOrdId", "tradeId", "fillPnl", "subType", "billId")  # fmt: skip
BILL_READS = ("ts", "type", "subType", "ccy", "instId", "instType", "tradeId", "balChg", "bal",
              "posBalChg", "pnl", "fee", "sz", "px", "billId")  # fmt: skip


def is_fill(instrument: str, side: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: (row.get("instId"), row.get("side")) == (instrument, side)


def is_bill(bill_type: str, **facts: str) -> Callable[[Mapping[str, Any]], bool]:
    wanted = {"type": bill_type, **facts}
    return lambda row: all(row.get(key) == value for key, value in wanted.items())


RECORDS = (
    Record("fill.closing", FILLS, is_fill(ETH, "sell"), FILL_READS),
    Record("fill.spot", FILLS, is_fill(COIN, "buy"), FILL_READS,
           ("instId", "instType", "side", "fillSz", "fillPx", "fee", "feeCcy")),
    Record("fill.in-coin", FILLS, is_fill(INVERSE, "sell"), FILL_READS, ("feeCcy", "ts")),
    Record("bill.trade", BILLS, is_bill("2", instId=ETH, subType="2"), BILL_READS),
    Record("bill.spot", BILLS, is_bill("2", instId=COIN, subType="1", ccy="LTC"), BILL_READS,
           ("ccy", "balChg", "tradeId")),
    Record("bill.funding", BILLS, is_bill("8"), BILL_READS,
           ("ts", "type", "subType", "ccy", "instId", "balChg", "posBalChg")),
    Record("bill.liquidation", BILLS, is_bill("5", pnl="-30"), BILL_READS,
           ("type", "instId", "tradeId", "balChg", "posBalChg", "pnl", "fee")),
    Record("bill.penalty", BILLS, is_bill("5", pnl="0"), BILL_READS,
           ("instId", "tradeId", "pnl", "fee")),
    Record("bill.interest", BILLS, is_bill("7"), BILL_READS, ("type", "subType", "ccy")),
    Record("bill.conversion", BILLS, is_bill("4", ccy="BTC"), BILL_READS, ("ccy", "balChg")),
    Record("bill.transfer", BILLS, is_bill("1", ccy="USDT"), BILL_READS, ("type", "balChg")),
    Record(
        "position", ("account/positions",), lambda row: row.get("instId") == BTC,
        ("instId", "instType", "posSide", "mgnMode", "posId", "pos", "avgPx", "markPx", "upl",
         "ccy", "nonSettleAvgPx"),
    ),
    Record(
        "position-history", ("account/positions-history",), lambda row: row.get("instId") == ETH,
        ("instId", "instType", "posSide", "posId", "uTime", "cTime", "closeTotalPos", "type",
         "realizedPnl", "pnl", "fee", "fundingFee", "liqPenalty", "settledPnl"),
    ),
    Record("balance", ("account/balance",), lambda _: True, ("details",)),
    Record(
        "balance.currency", ("account/balance",), lambda row: row.get("ccy") == "USDT",
        ("ccy", "cashBal", "eq", "upl", "interest"), inside="details",
    ),
    Record(
        "instrument", ("public/instruments",), lambda row: row.get("instId") == ETH,
        ("instId", "instType", "ctVal", "ctMult", "ctType", "settleCcy"),
    ),
    Record(
        "instrument.in-coin", ("public/instruments",), lambda row: row.get("instId") == INVERSE,
        ("instId", "instType", "ctVal", "ctMult", "ctType", "settleCcy"),
    ),
    Record(
        "instrument.spot", ("public/instruments",), lambda row: row.get("instId") == COIN,
        ("instId", "instType", "baseCcy", "quoteCcy"),
    ),
    Record("candle", ("market/history-candles",), lambda _: True, ("ts", "c", "confirm")),
    Record("config", ("account/config",), lambda _: True, ("perm", "uid", "acctLv", "posMode")),
)  # fmt: skip


def as_number(value: Any) -> Any:
    try:
        number = Decimal(value)
    except (ArithmeticError, TypeError, ValueError):
        return 7
    return int(number) if number == int(number) else float(number)


GONE = object()
MISSING: Mapping[str, Callable[[Any], Any]] = {
    "absent": lambda _: GONE,
    "empty": lambda _: "",
    "null": lambda _: None,
}
WRONG_TYPES: Mapping[str, Callable[[Any], Any]] = {
    "number": as_number,
    "list": lambda value: [value],
    "object": lambda value: {"value": value},
    "bool": lambda _: True,
}
VARIATIONS = {**MISSING, **WRONG_TYPES}


class Change(NamedTuple):
    """One field of a record, and what becomes of it; or, without one, of all that are not read."""

    record: Record
    fields: tuple[str, ...]
    variation: str

    @property
    def name(self) -> str:
        """The name of its account."""
        what = self.fields[0] if self.fields else "rest"
        return f"{self.record.name}.{what}.{self.variation}"

    @property
    def paths(self) -> tuple[str, ...]:
        """Where its record is served."""
        return self.record.paths

    def of_row(self, row: Any) -> Any:
        """Return a row as it is served: the record with its fields changed, any other as it is."""
        if isinstance(row, list):
            changed = self._changed(dict(zip(CANDLE_FIELDS, row, strict=True)))
            is_cut = self.variation == "absent"  # a list that lacks an element is shorter
            return row[: CANDLE_FIELDS.index(self.fields[0])] if is_cut else list(changed.values())
        if self.record.inside:
            inner = [self.of_element(one) for one in row[self.record.inside]]
            return row | {self.record.inside: inner}
        return self.of_element(row)

    def of_element(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._changed(row) if self.record.is_it(row) else row

    def _changed(self, row: Mapping[str, Any]) -> dict[str, Any]:
        changed = {
            key: VARIATIONS[self.variation](value) if self._is_meant(key) else value
            for key, value in row.items()
        }
        return {key: value for key, value in changed.items() if value is not GONE}

    def _is_meant(self, key: str) -> bool:
        return key in self.fields if self.fields else key not in self.record.reads


class Changes(Protocol):
    """What becomes of a row that is served at some paths."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths."""

    def of_row(self, row: Any) -> Any:
        """Return a row as it is served."""


@dataclass(slots=True)
class ChangingServer(OkxServer):
    """An OKX that serves one record otherwise."""

    change: Changes | None = None

    async def _answer(
        self, request: web.Request, endpoint: Endpoint, query: Query
    ) -> web.StreamResponse:
        change = self.change
        if change is None or request.path.removeprefix(PREFIX) not in change.paths:
            return await OkxServer._answer(self, request, endpoint, query)
        changed = replace(
            endpoint, answer=lambda asked: [change.of_row(one) for one in endpoint.answer(asked)]
        )
        return await OkxServer._answer(self, request, changed, query)


def lived() -> OkxLife:
    """An account of every kind of record, with a position left open."""
    book = OkxLife(now=lambda: NOW)
    book.deposit("BTC", 1, OPENING - DAY)
    book.deposit("USDT", 100_000, OPENING)
    book.closes["BTC-USDT"] = btc_price
    at = OPENING + 2 * DAY
    book.trade(ETH, "buy", 10, 3_000, at, fee="-1.5")
    book.funding(ETH, at + HOUR, amount="-0.75")
    book.trade(ETH, "sell", 10, 3_100, at + 2 * HOUR, fee="-1.55")
    book.trade(SOL, "buy", 3, 150, at + 3 * HOUR, fee="-0.2")
    book.liquidate(SOL, 140, at + 4 * HOUR, penalty="-2.5")
    book.trade(COIN, "buy", 2, 80, at + 5 * HOUR, fee="-0.002")
    book.trade(COIN, "sell", 1, 90, at + 6 * HOUR, fee="-0.09")
    book.trade(INVERSE, "buy", 6, 60_000, at + 7 * HOUR, fee="-0.000005")
    book.trade(INVERSE, "sell", 6, 61_000, at + 8 * HOUR, fee="-0.000005")
    book.entry("USDT", "-1.25", at + 9 * HOUR, "7", "9")
    book.convert("USDT", 600, "BTC", "0.01", at + 10 * HOUR)
    book.trade(BTC, "buy", 5, 60_000, at + 11 * HOUR, fee="-1.5")
    book.trade(BTC, "sell", 2, 60_500, at + 12 * HOUR, fee="-0.6")
    return book


CLAIM = ((OPENING + 3 * DAY, "91.44017401828062424"),)
OWNED = (BTC, ETH, SOL, COIN, INVERSE)


def variations() -> tuple[list[Change], list[Change]]:
    """Return each field that recon reads with one way to spoil it, and with the others.

    Of the wrong types a field gets one, in turn. The fields that recon does not read are spoilt
    together.
    """
    first: list[Change] = []
    others: list[Change] = []
    wrong = list(WRONG_TYPES)
    for number, record in enumerate(RECORDS):
        for turn, name in enumerate(record.varied or record.reads):
            chosen = [*MISSING, wrong[(number + turn) % len(wrong)]]
            home = chosen.pop((number + turn // len(wrong)) % len(chosen))
            first.append(Change(record, (name,), home))
            others += [Change(record, (name,), one) for one in chosen]
        if not record.varied:
            first.append(Change(record, (), "null"))
            others.append(Change(record, (), "empty"))
    return first, others


def night(folder: Path, changes: Sequence[Change]) -> Document:
    """Run one night of an account for each change, and of one that is left alone, the last."""
    book = lived()
    with ExitStack() as stack:
        desks = []
        for change in (*changes, None):
            server = ChangingServer(book, throttle=0, change=change)
            name = change.name if change else ALONE
            entered = stack.enter_context(in_background(server))
            desks.append((Desk(name, instrument_types=TYPES), entered))
        bots = [
            Trader(f"bot.{desk.id}", desk.id, instruments=OWNED, claims=CLAIM)
            for number, (desk, _) in enumerate(desks, 1)
            if number % 4 == 1 or number == len(desks)
        ]
        return run_desks(folder, desks, bots=bots, patience=PATIENT)


def verdicts(changes: Sequence[Change], document: Document) -> dict[str, str]:
    """Return how each variation came out: `same`, `named`, or what is wrong with it."""
    shown = {
        full["account"]: entry
        for full, entry in zip(document["accounts"], figures(document)["accounts"], strict=True)
    }
    bots = {one["bot"].removeprefix("bot."): one for one in figures(document)["bots"]}
    reasons = {one["account"]: one["reasons"] for one in document["accounts"]}
    assert (shown[ALONE]["status"], bots[ALONE]["status"]) == ("proven", "agreed"), bots[ALONE]
    found = {}
    for change in changes:
        name = change.name
        bot = bots.get(name, bots[ALONE])
        is_same_bot = {**bot, "bot": ""} == {**bots[ALONE], "bot": ""}
        if (
            _without_owners(shown[name], name in bots)
            == _without_owners(shown[ALONE], name in bots)
            and is_same_bot
        ):
            found[name] = "same"
        elif shown[name]["status"] == "proven" or not (bot["status"] == "unproven" or is_same_bot):
            found[name] = f"WRONG: {shown[name]['status']}, {bot}, {shown[name]['total']}"
        elif change.fields and not _names(change.fields[0], reasons[name]):
            found[name] = f"WRONG: not named: {reasons[name]}"
        else:
            found[name] = "named"
    return found


def _without_owners(entry: Mapping[str, Any], has_bot: bool) -> Mapping[str, Any]:
    """Return an account's figures; without a bot nobody owns what it traded."""
    return entry if has_bot else {**entry, "unowned": None, "netting": None}


def _names(name: str, reasons: Sequence[str]) -> bool:
    return any(re.search(rf"\b{name}\b", reason) for reason in reasons)


ORDER = Record(
    "order",
    ("trade/orders-history", "trade/orders-history-archive"),
    lambda row: row.get("algoClOrdId") == STOP,
    (
        "ordId",
        "cTime",
        "clOrdId",
        "algoClOrdId",
        "algoId",
        "tag",
        "source",
        "category",
        "state",
        "instId",
        "side",
    ),
)


def stopped() -> OkxLife:
    """Alpha's position was closed by its stop: only the record of the order says so."""
    book = OkxLife(now=lambda: NOW)
    book.deposit("USDT", 100_000, OPENING)
    at = OPENING + 2 * DAY
    book.trade(BTC, "buy", 10, 60_000, at, fee=0, cl_ord_id="alpha1")
    book.trade(BTC, "sell", 10, 59_000, at + 2 * HOUR, fee=0, algo_cl_ord_id=STOP)
    return book


def order_variations() -> list[list[Change]]:
    """Return each field of an order with one way to spoil it, and with the others."""
    # An empty algoClOrdId says that no bot's algo order placed the order. A JSON number is a name
    # like any other: ccxt reads it as text.
    wrong = ["bool", "list", "object"]
    first, others = [Change(ORDER, (), "null")], [Change(ORDER, (), "empty")]
    others.append(Change(ORDER, (), "absent"))
    for turn, name in enumerate(ORDER.reads):
        chosen = [*MISSING, wrong[turn % len(wrong)]]
        if name == "algoClOrdId":
            chosen.remove("empty")
        home = chosen.pop(turn % len(chosen))
        first.append(Change(ORDER, (name,), home))
        others += [Change(ORDER, (name,), one) for one in chosen]
    return [first, others]


@pytest.mark.parametrize(
    "changes", slow_after(1, order_variations()), ids=lambda changes: changes[0].name
)
def test_a_spoilt_field_of_an_order_never_gives_a_fill_to_another(
    changes: list[Change], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    claim = ((OPENING + 3 * DAY, "-100"),)
    with ExitStack() as stack:
        desks = [
            (
                Desk(one.name),
                stack.enter_context(
                    in_background(ChangingServer(stopped(), throttle=0, change=one))
                ),
            )
            for one in changes
        ]
        bots = [
            bot
            for desk, _ in desks
            for bot in (
                Trader(
                    f"alpha.{desk.id}", desk.id, instruments=(), order_tag="alpha", claims=claim
                ),
                Trader(f"owner.{desk.id}", desk.id, instruments=(BTC,)),
            )
        ]
        document = run_desks(tmp_path, desks, bots=bots, patience=PATIENT)
    told = {bot["bot"]: bot for bot in document["bots"]}
    count: Counter[str] = Counter()
    for change in changes:
        found = {tag: told[f"{tag}.{change.name}"] for tag in ("alpha", "owner")}
        assert all(one["status"] in {"agreed", "unproven"} for one in found.values()), change.name
        is_same = all(one["status"] == "agreed" for one in found.values())
        if not is_same:
            [name] = change.fields
            for one in found.values():
                assert one["status"] == "unproven", (change.name, one)
                assert any(re.search(rf"\b{name}\b", reason) for reason in one["reasons"]), (
                    change.name,
                    one["reasons"],
                )
        count["same" if is_same else "named"] += 1
    record_property(TRIED, f"{len(changes)} variations of an order: {dict(count)}")
    assert count["same"]
    assert count["named"]


ALWAYS, LATER = (
    [some[at : at + AT_ONCE] for at in range(0, len(some), AT_ONCE)] for some in variations()
)
NIGHTS = slow_after(len(ALWAYS), [*ALWAYS, *LATER])


@pytest.mark.parametrize("changes", NIGHTS, ids=lambda changes: changes[0].name)
def test_a_spoilt_field_gives_the_same_numbers_or_is_named(
    changes: list[Change], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    found = verdicts(changes, night(tmp_path, changes))
    count = Counter(verdict.partition(":")[0] for verdict in found.values())
    record_property(TRIED, f"{len(found)} variations: {dict(count)}")
    assert {name: verdict for name, verdict in found.items() if verdict.startswith("WRONG")} == {}
    rest = {one.name for one in changes if not one.fields}
    assert {found[name] for name in rest} <= {"same"}, found
