"""passivbot's mapping, over its cache of fills: a file a day, and one of what it knows of them."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from recon.bot_databases.run_mapping import MappingAnswers
from recon.errors import BotDatabaseError
from tests.support.bots import NOON_MS, Row, by_id, json_snapshot, mapped


def fill(name: str, side: str, pnl: float, fee: float, **more: object) -> Row:
    return {
        "id": name,
        "timestamp": NOON_MS,
        "datetime": "2026-05-14T12:00:00",
        "symbol": "BTC/USDT:USDT",
        "side": side,
        "qty": 0.003,
        "price": 60000.5,
        "pnl": pnl,
        "fee_paid": fee,
        "pnl_status": "complete",
        "fee_source": "reported_quote",
        "fee_quality": "exact",
        "fee_currency": "USDT",
        "position_side": "long",
        "client_order_id": f"c{name}",
        "psize": 0.003,
        "pprice": 60000.5,
        "c_mult": 1.0,
        **more,
    }


def passivbot(folder: Path, *days: list[Row]) -> MappingAnswers:
    for number, rows in enumerate(days, 14):
        (folder / f"2026-05-{number}.json").write_text(json.dumps(rows))
    gaps = [{"start_ts": 1, "end_ts": 2, "reason": "fetch_failed"}]
    (folder / "metadata.json").write_text(
        json.dumps({"last_refresh_ms": 1, "known_gaps": gaps, "history_scope": "all"})
    )
    return mapped("passivbot", json_snapshot(folder))


def test_each_fill_shows_its_profit_and_its_fee(tmp_path: Path) -> None:
    books = passivbot(
        tmp_path,
        [fill("1", "buy", 0.0, -0.09)],
        [fill("2", "sell", 1.5, 0.01, psize=0.0, pprice=0.0, timestamp=NOON_MS + 1)],
    )
    opening, closing = by_id(books).values()
    assert (opening["qty"], opening["gross"], opening["pnl"]) == (0, 0, Decimal("-0.09"))
    assert (opening["side"], opening["exit_price"], opening["funding"]) == ("long", None, None)
    assert (closing["qty"], closing["pnl"]) == (Decimal("0.003"), Decimal("1.51"))
    assert (closing["fee"], closing["exit_price"]) == (Decimal("0.01"), Decimal("60000.5"))
    assert closing["closed_at"] == datetime(2026, 5, 14, 12, 0, 0, 1000)
    assert books.fills is not None
    assert books.fills["fee_currency"].to_pylist() == ["USDT", "USDT"]
    assert books.positions is not None
    assert books.positions.num_rows == 0


def test_shorts_close_by_buying_and_are_held_negative(tmp_path: Path) -> None:
    short = {"position_side": "short", "psize": -0.002}
    books = passivbot(
        tmp_path,
        [fill("1", "sell", 0, -0.1, **short), fill("2", "buy", 2, -0.1, **short)],
        [fill("3", "buy", 0, 0)],
    )
    trades = by_id(books)
    assert [(one["side"], one["qty"] > 0) for one in trades.values()] == [
        ("short", False),
        ("short", True),
        ("long", False),
    ]
    assert books.positions is not None
    assert books.positions.to_pylist() == [
        {"instrument": "BTC/USDT:USDT", "qty": Decimal("0.001"), "avg_price": None}
    ]


def test_a_profit_that_is_awaited_is_shown_and_not_known(tmp_path: Path) -> None:
    books = passivbot(tmp_path, [fill("1", "sell", 0, -0.1, pnl_status="pending")])
    (trade,) = by_id(books).values()
    assert (trade["gross"], trade["pnl"]) == (None, Decimal("-0.1"))


def test_what_older_files_lack_is_null(tmp_path: Path) -> None:
    lacking = {"client_order_id", "pnl_status", "psize", "pprice", "fee_currency", "c_mult"}
    old = {name: one for name, one in fill("1", "buy", 0, -1).items() if name not in lacking}
    books = passivbot(tmp_path, [old])
    assert [one["pnl"] for one in by_id(books).values()] == [-1]
    assert books.positions is not None
    assert books.positions.num_rows == 0


def test_files_without_fees_are_not_taken_for_these(tmp_path: Path) -> None:
    old = {name: one for name, one in fill("1", "buy", 0, 0).items() if name != "fee_paid"}
    with pytest.raises(BotDatabaseError, match=r"passivbot, lacks rows\.fee_paid"):
        passivbot(tmp_path, [old])
