"""The account's figures against a slow reckoner, and each other."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.demo.venues.okx_account import OkxAccount, Profile
from recon.demo.venues.okx_instruments import Row, swap
from recon.demo.venues.okx_summary import balance_rows

START = datetime(2026, 5, 14, tzinfo=UTC)
HALF_DIGIT = Fraction(1, 2 * 10**16)


@dataclass(frozen=True)
class Event:
    inst_id: str
    side: Literal["buy", "sell"]
    qty: Decimal
    price: Decimal
    funding: Decimal | None


@dataclass
class Held:
    """One position as one would work it out on paper: every lot is kept until all is averaged."""

    lots: list[tuple[Fraction, Fraction]] = field(default_factory=list)
    sign: int = 0
    pnl: Fraction = Fraction(0)

    @property
    def qty(self) -> Fraction:
        return sum((qty for qty, _ in self.lots), Fraction(0))

    def average(self, *, inverse: bool) -> Fraction:
        if inverse:
            return self.qty / sum((qty / price for qty, price in self.lots), Fraction(0))
        return sum((qty * price for qty, price in self.lots), Fraction(0)) / self.qty


def reckon(events: list[Event]) -> dict[str, tuple[list[Held], Held]]:
    """Return by instrument the positions that were closed, and the one that is open."""
    books: dict[str, tuple[list[Held], Held]] = {}
    for event in events:
        closed, held = books.setdefault(event.inst_id, ([], Held()))
        inverse = event.inst_id == "BTC-USD-SWAP"
        face = Fraction(100) if inverse else Fraction(1, 100)
        sign = 1 if event.side == "buy" else -1
        left, price = Fraction(event.qty), Fraction(event.price)
        if held.sign not in {0, sign}:
            entry, before = held.average(inverse=inverse), held.qty
            out = min(left, before)
            gain = 1 / entry - 1 / price if inverse else price - entry
            held.pnl += held.sign * out * face * gain
            left -= out
            held.lots = [(before - out, entry)] if before > out else []
            if not held.lots:
                closed.append(held)
                held = Held()
        if left:
            held.sign = sign
            held.lots.append((left, price))
        books[event.inst_id] = (closed, held)
    return books


EVENTS = st.builds(
    Event,
    inst_id=st.sampled_from(["BTC-USDT-SWAP", "BTC-USD-SWAP"]),
    side=st.sampled_from(["buy", "sell"]),
    qty=st.decimals("0.01", "9", places=2),
    price=st.decimals("0.01", "99999.99", places=2),
    funding=st.none() | st.decimals("-9", "9", places=8),
)


def play(events: list[Event]) -> OkxAccount:
    account = OkxAccount(now=lambda: START + timedelta(days=1))
    account.deposit("USDT", 10_000, START)
    account.deposit("BTC", 5, START)
    for step, event in enumerate(events):
        at = START + timedelta(milliseconds=step // 3)
        account.trade(event.inst_id, event.side, event.qty, event.price, at)
        if event.funding is not None:
            account.funding(event.inst_id, at, amount=event.funding)
    return account


def number(row: Row, key: str) -> Decimal:
    value = row[key]
    assert isinstance(value, str)
    return Decimal(value or "0")


def check_identities(account: OkxAccount) -> None:
    balances: dict[object, Decimal] = defaultdict(Decimal)
    for row in account.bills.rows:
        balances[row["ccy"]] += number(row, "balChg")
        assert number(row, "bal") == balances[row["ccy"]]
        if row["instType"] == "SWAP" and row["type"] in {"2", "8"}:
            assert number(row, "balChg") == number(row, "pnl") + number(row, "fee")
    details = balance_rows(account)[0]["details"]
    assert isinstance(details, list)
    assert {row["ccy"]: number(row, "cashBal") for row in details} == balances
    positions = [*account.position_rows(), *account.closed_positions().rows]
    for row in positions:
        parts = ("pnl", "fee", "fundingFee", "liqPenalty", "settledPnl")
        assert number(row, "realizedPnl") == sum(number(row, part) for part in parts)
    # A position that is open and partly closed is in both lists.
    done = [row for row in account.closed_positions().rows if row["type"] not in {"1", "4", "5"}]
    for inst_id in [one for one in account.instruments if one.endswith("-SWAP")]:
        rows = [row for row in [*account.position_rows(), *done] if row["instId"] == inst_id]
        fills = [row for row in account.fills.rows if row["instId"] == inst_id]
        for of_position, of_fill in (("pnl", "fillPnl"), ("fee", "fee")):
            told = sum(number(row, of_position) for row in rows)
            assert told == sum(number(row, of_fill) for row in fills)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_positions_are_what_a_slow_reckoner_says(events: list[Event]) -> None:
    account = play(events)
    check_identities(account)
    history = account.closed_positions().rows
    for inst_id, (closed, held) in reckon(events).items():
        rows = [row for row in history if row["instId"] == inst_id and row["type"] == "2"]
        assert len(rows) == len(closed)
        for row, expected in zip(rows, closed, strict=True):
            assert abs(Fraction(number(row, "pnl")) - expected.pnl) <= HALF_DIGIT
            if inst_id == "BTC-USDT-SWAP":
                assert Fraction(number(row, "pnl")) == expected.pnl
        opened = [row for row in account.position_rows() if row["instId"] == inst_id]
        assert len(opened) == (1 if held.lots else 0)
        for row in opened:
            average = held.average(inverse=inst_id == "BTC-USD-SWAP")
            assert Fraction(number(row, "pos")) == held.sign * held.qty
            assert abs(Fraction(number(row, "avgPx")) - average) <= HALF_DIGIT
            assert abs(Fraction(number(row, "pnl")) - held.pnl) <= HALF_DIGIT


def test_a_fill_through_zero_closes_one_position_and_opens_another() -> None:
    account = OkxAccount()
    account.trade("BTC-USDT-SWAP", "buy", 2, 50_000, START, fee="-0.10")
    account.trade("BTC-USDT-SWAP", "sell", 3, 51_000, START, fee="-0.30")
    (closed,) = account.closed_positions().rows
    (opened,) = account.position_rows()
    assert (closed["pnl"], closed["fee"], closed["realizedPnl"]) == ("20", "-0.3", "19.7")
    assert (closed["direction"], closed["type"]) == ("long", "2")
    assert (opened["pos"], opened["avgPx"], opened["fee"]) == ("-1", "51000", "-0.1")
    # The venue gives the same posId again; a row is known by posId and uTime or cTime together.
    assert opened["posId"] == closed["posId"]
    assert account.fills.rows[-1]["fillPnl"] == "20"


def test_inverse_profit_is_in_coin_and_the_average_is_harmonic() -> None:
    account = OkxAccount()
    account.trade("BTC-USD-SWAP", "buy", 1, 40_000, START, fee=0)
    account.trade("BTC-USD-SWAP", "buy", 1, 60_000, START, fee=0)
    assert account.position_rows()[0]["avgPx"] == "48000"
    account.trade("BTC-USD-SWAP", "sell", 2, 64_000, START)
    fill, bill = account.fills.rows[-1], account.bills.rows[-1]
    # 2 * 100 * (1/48000 - 1/64000), to 16 decimals; the fee is 0.05% of 200/64000 BTC.
    assert fill["fillPnl"] == "0.0010416666666667"
    assert (fill["fee"], fill["feeCcy"], bill["ccy"]) == ("-0.0000015625", "BTC", "BTC")
    assert bill["balChg"] == "0.0010401041666667"


def test_funding_by_rate_is_paid_by_the_long_side_and_enters_the_position() -> None:
    account = OkxAccount()
    account.trade("ETH-USDT-SWAP", "buy", 5, 3_000, START, fee=0)
    account.mark("ETH-USDT-SWAP", 3_200)
    account.funding("ETH-USDT-SWAP", START, rate="0.0001")
    bill = account.bills.rows[-1]
    assert (bill["type"], bill["subType"], bill["balChg"]) == ("8", "173", "-0.16")
    (position,) = account.position_rows()
    assert (position["fundingFee"], position["upl"]) == ("-0.16", "100")
    account.funding("ETH-USDT-SWAP", START, rate="-0.0001")
    assert account.bills.rows[-1]["subType"] == "174"


def test_ct_mult_counts() -> None:
    account = OkxAccount()
    account.add_instrument(swap("ABC-USDT-SWAP", "10", ct_mult="0.1"))
    account.trade("ABC-USDT-SWAP", "sell", 3, 10, START, fee=0)
    account.trade("ABC-USDT-SWAP", "buy", 3, 8, START, fee=0)
    assert account.fills.rows[-1]["fillPnl"] == "6"


def test_long_short_mode_holds_both_sides_at_once() -> None:
    account = OkxAccount(profile=Profile(pos_mode="long_short_mode"))
    account.trade("SOL-USDT-SWAP", "buy", 4, 100, START, pos_side="long")
    account.trade("SOL-USDT-SWAP", "sell", 3, 110, START, pos_side="short")
    account.trade("SOL-USDT-SWAP", "buy", 1, 90, START, pos_side="short")
    rows = {row["posSide"]: row["pos"] for row in account.position_rows()}
    assert rows == {"long": "4", "short": "2"}
    assert [row["subType"] for row in account.fills.rows] == ["3", "4", "6"]
    assert account.fills.rows[-1]["fillPnl"] == "20"
    with pytest.raises(ValueError, match="closes more"):
        account.trade("SOL-USDT-SWAP", "sell", 5, 100, START, pos_side="long")
    with pytest.raises(ValueError, match="posSide net"):
        account.trade("SOL-USDT-SWAP", "sell", 5, 100, START)
    check_identities(account)


def test_spot_books_a_leg_a_currency_and_takes_the_fee_from_what_is_received() -> None:
    account = OkxAccount()
    account.deposit("USDT", 1_000, START)
    account.trade("LTC-USDT", "buy", "0.1", "80", START, fee_rate="-0.001")
    fill = account.fills.rows[-1]
    assert (fill["fee"], fill["feeCcy"], fill["feeRate"]) == ("-0.0001", "LTC", "-0.001")
    base, quote = account.bills.rows[-2:]
    assert (base["ccy"], base["balChg"], base["subType"], base["fee"]) == (
        *("LTC", "0.0999", "1", "-0.0001"),
    )
    assert (quote["ccy"], quote["balChg"], quote["subType"], quote["fee"]) == (
        *("USDT", "-8", "2", "0"),
    )
    assert not account.position_rows()
    check_identities(account)


def test_liquidation_has_a_negative_trade_id_no_exec_type_and_a_penalty() -> None:
    account = OkxAccount()
    account.trade("BTC-USDT-SWAP", "buy", 1, 50_000, START)
    account.liquidate("BTC-USDT-SWAP", 40_000, START, penalty="-2.5")
    fill = account.fills.rows[-1]
    assert (fill["tradeId"], fill["execType"], fill["subType"]) == ("-2", "", "107")
    (row,) = account.closed_positions().rows
    assert (row["type"], row["liqPenalty"], row["pnl"]) == ("3", "-2.5", "-100")
    assert [bill["type"] for bill in account.bills.rows] == ["2", "5", "5"]
    check_identities(account)


def test_trade_ids_collide_between_instruments_and_bill_ids_never() -> None:
    account = OkxAccount()
    for inst_id in ("BTC-USDT-SWAP", "ETH-USDT-SWAP", "SOL-USDT-SWAP"):
        account.trade(inst_id, "buy", 1, 100, START)
    assert [row["tradeId"] for row in account.fills.rows] == ["1", "1", "1"]
    assert len({row["billId"] for row in account.fills.rows}) == 3
    assert all(len(str(row["billId"])) == 18 for row in account.fills.rows)
    assert len({row["ts"] for row in account.fills.rows}) == 1


def test_a_float_or_a_time_without_a_zone_is_refused() -> None:
    account = OkxAccount()
    with pytest.raises(TypeError, match=r"not 1\.5"):
        account.deposit("USDT", 1.5, START)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="without a zone"):
        account.deposit("USDT", 1, START.replace(tzinfo=None))


def test_a_late_row_has_an_old_time_and_the_newest_id() -> None:
    account = OkxAccount()
    account.trade("BTC-USDT-SWAP", "buy", 1, 50_000, START)
    account.trade("BTC-USDT-SWAP", "buy", 1, 50_000, START - timedelta(hours=1))
    first, late = account.fills.rows
    assert str(late["billId"]) > str(first["billId"])
    assert number(late, "ts") == number(first, "ts") - 3_600_000
    check_identities(account)
