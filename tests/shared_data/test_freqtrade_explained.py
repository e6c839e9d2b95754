"""Real freqtrade books, held against a venue that has what they say, but for what is planted.

RECON_SHARED_DATA names the folder that holds them; without it these tests are skipped.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_instruments import spot
from tests.support.faulty_bots import written
from tests.support.fleet import Desk, Trader, one_night

if not os.environ.get("RECON_SHARED_DATA"):
    pytest.skip("RECON_SHARED_DATA is not set", allow_module_level=True)

FOLDER = Path(os.environ["RECON_SHARED_DATA"]) / "freqtrade"
FILES = ("2019-no-orders-table", "2021-dryrun", "2021-live")
ROUNDED = Fraction(1, 10**8)
"""freqtrade keeps a trade's profit to eight places."""
DAY = timedelta(days=1)

Row = Mapping[str, Any]


def vault(name: str, folder: Path) -> tuple[list[dict[str, Any]], dict[int, list[str]]]:
    """Copy the books, as those of a bot at OKX; return closed trades and their filled orders."""
    path = folder / "vaults" / "bot.sqlite"
    path.parent.mkdir()
    shutil.copyfile(FOLDER / f"{name}.sqlite", path)
    orders: dict[int, list[str]] = defaultdict(list)
    with closing(sqlite3.connect(path)) as books:
        books.execute("update trades set exchange = 'okx'")
        books.commit()
        books.row_factory = sqlite3.Row
        trades = [
            dict(row)
            for row in books.execute(
                "select * from trades where is_open = 0 order by open_date, id"
            )
        ]
        if books.execute("select 1 from sqlite_master where name = 'orders'").fetchone():
            for row in books.execute("select * from orders where filled > 0 order by id"):
                orders[row["ft_trade_id"]].append(row["order_id"])
    return trades, orders


def exact(value: float) -> Fraction:
    return Fraction(repr(value))


def at(text: str) -> datetime:
    time = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


class Planter:
    """Gives the venue every trade as the books have it, but for a few, and keeps count."""

    def __init__(self, book: OkxAccount, trades: list[dict[str, Any]]) -> None:
        self.book = book
        self.due: dict[str, Fraction] = defaultdict(Fraction)
        self.special = dict(
            zip(
                (one["id"] for one in trades[3:]),
                ("fee", "price", "phantom", "parts"),
                strict=False,
            )
        )
        for name in {one["pair"].replace("/", "-") for one in trades}:
            book.add_instrument(spot(name))

    def trade(self, row: Row, orders: list[str]) -> None:
        """Fill both orders of a trade, unless it is to be a phantom."""
        what = self.special.get(row["id"])
        qty, entry, exit_ = (exact(row[name]) for name in ("amount", "open_rate", "close_rate"))
        paid = qty * entry * exact(row["fee_open"]), qty * exit_ * exact(row["fee_close"])
        if what == "phantom":
            self.due["phantom"] += qty * (exit_ - entry) - sum(paid)
            return
        if what == "price":
            worse = Fraction(round(exit_ * 99 / 100, 8))
            self.due["price"] += qty * (exit_ - worse)
            exit_ = worse
        if what == "fee":
            self.due["fee_rate_guessed"] += paid[1] / 2
            paid = paid[0], paid[1] * Fraction(3, 2)
        first, last = orders[:1] or [""], orders[1:2] or [""]
        self.fill(row, "buy", qty, entry, paid[0], at(row["open_date"]), first[0])
        parts = [Fraction(1, 4), Fraction(3, 4)] if what == "parts" else [Fraction(1)]
        for part in parts:
            sold = Fraction(written(qty * part)) if part != parts[-1] else qty
            self.fill(row, "sell", sold, exit_, paid[1] * part, at(row["close_date"]), last[0])
            qty -= sold

    def fill(
        self,
        row: Row,
        side: Any,
        qty: Fraction,
        price: Fraction,
        fee: Fraction,
        when: datetime,
        order: str,
    ) -> None:
        """Fill one order; what is bought pays its fee in coin, and `qty` is what is left of it."""
        name = row["pair"].replace("/", "-")
        if side == "buy":
            fee = Fraction(round(fee / price, 8))
            qty = Fraction(round(qty, 8)) + fee
        qty = Fraction(round(qty, 8))
        self.book.trade(
            name, side, written(qty), written(price), when, fee=written(-fee), ord_id=order
        )

    def by_hand(self, row: Row, when: datetime) -> None:
        """Trade what no books know of."""
        price = exact(row["open_rate"])
        self.fill(row, "buy", Fraction(10), price, Fraction(0), when, "")
        self.fill(row, "sell", Fraction(10), price * 2, Fraction(0), when + DAY / 24, "")
        self.due["unrecorded"] -= 10 * price


@pytest.mark.parametrize("name", FILES)
def test_what_is_planted_is_explained_and_nothing_else(name: str, tmp_path: Path) -> None:
    trades, orders = vault(name, tmp_path)
    since = at(min(row["open_date"] for row in trades)).date() - DAY
    now = at(max(row["close_date"] for row in trades)) + 2 * DAY
    book = OkxAccount(now=lambda: now)
    planter = Planter(book, trades)
    start = datetime.combine(since, datetime.min.time(), UTC)
    for currency in {row["pair"].split("/")[1] for row in trades}:
        book.deposit(currency, 100_000, start)
    ahead = min(trades, key=lambda row: row["open_date"])
    planter.by_hand(ahead, start + DAY / 12)
    for row in trades:
        planter.trade(row, orders[row["id"]])
    pairs = tuple(sorted({row["pair"].replace("/", "-") for row in trades}))
    desk = Desk(since=since, instrument_types=("SPOT",), currency=pairs[0].split("-")[1])
    bot = Trader(id="bot", instruments=pairs, claims=None, mapping="freqtrade")
    document = one_night(
        tmp_path,
        book,
        desk=desk,
        bots=[bot],
        now=lambda: now,
        as_of=now.date() - DAY,
        settings='tolerance_abs = "0.00000001"',
    )
    [account] = document["accounts"]
    assert account["status"] == "proven", account["reasons"]
    causes = {
        one["cause"]: Fraction(one["amount"]) for one in document["bots"][0]["window"]["causes"]
    }
    assert sum(causes.values()) == Fraction(document["bots"][0]["window"]["divergence"])
    assert causes.pop("unexplained") == 0
    noise = ROUNDED * len(trades)
    assert {cause for cause, amount in causes.items() if abs(amount) > noise} == set(planter.due)
    for cause, amount in planter.due.items():
        assert abs(causes[cause] - amount) < noise, cause
