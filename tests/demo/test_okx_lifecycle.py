"""The loopback OKX makes of each event the rows that the venue does; its books add up."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from recon.demo.venues.okx_account import utc_now
from recon.demo.venues.okx_endpoints import ENDPOINTS, PREFIX, Asked, Refusal
from recon.demo.venues.okx_summary import balance_rows
from tests.conftest import seeds
from tests.support.fleet import BTC, NOW, OPENING
from tests.support.random_histories import Life, btc_price

PATH = PREFIX + "market/history-candles"


@pytest.mark.parametrize("seed", seeds(1, 3))
def test_bills_chain_and_positions_are_the_sum_of_their_parts(seed: int) -> None:
    life = Life(random.Random(f"books{seed}"))
    life.live(200)
    balances: dict[str, Decimal] = {}
    for row in life.book.bills.rows:
        ccy = str(row["ccy"])
        before = balances.get(ccy, Decimal(0))
        assert Decimal(str(row["bal"])) == before + Decimal(str(row["balChg"]))
        balances[ccy] = Decimal(str(row["bal"]))
    [balance] = balance_rows(life.book)
    stated = {one["ccy"]: Decimal(one["cashBal"]) for one in balance["details"]}  # type: ignore[attr-defined]
    assert stated == balances
    closed = life.book.closed_positions().rows
    assert {row["instType"] for row in closed} >= {"SWAP", "FUTURES", "OPTION"}
    for row in closed:
        names = ("pnl", "fee", "fundingFee", "liqPenalty", "settledPnl")
        parts = sum((Decimal(str(row[name]) or "0") for name in names), Decimal(0))
        assert parts == Decimal(str(row["realizedPnl"]))


def candles(life: Life, **query: str) -> list[list[str]]:
    rows: list[list[str]] = ENDPOINTS[PATH].answer(  # type: ignore[assignment]
        Asked(life.book, query, utc_now)
    )
    return rows


def test_candles_are_finished_minutes_newest_first_between_two_instants() -> None:
    life = Life(random.Random(0))
    first = int(OPENING.timestamp() * 1000)
    rows = candles(life, instId="BTC-USDT", after=str(first + 240_000), before=str(first))
    assert [int(row[0]) for row in rows] == [first + 180_000, first + 120_000, first + 60_000]
    assert all(Decimal(row[4]) == btc_price(int(row[0])) for row in rows)
    newest = candles(life, instId="BTC-USDT")
    assert len(newest) == 100
    assert int(newest[0][0]) + 60_000 <= int(NOW.timestamp() * 1000)


def test_a_pair_that_is_not_listed_is_refused() -> None:
    with pytest.raises(Refusal, match="does not exist"):
        candles(Life(random.Random(0)), instId=BTC)
