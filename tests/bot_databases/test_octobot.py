"""OctoBot's mapping, over its TinyDB files: transactions where there are any, else trades."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from recon.bot_databases.run_mapping import MappingAnswers
from tests.support.bots import NOON_MS, Row, by_id, json_snapshot, mapped

NOON = datetime(2026, 5, 14, 12)


def trade(name: str, side: str, amount: float, price: float, **more: object) -> Row:
    fee = more.pop("fee", {"cost": 0.5, "currency": "USDT", "rate": 0.001})
    origin = {
        "order_id": f"o{name}",
        "exchange_id": f"x{name}",
        "exchange_trade_id": name,
        "symbol": "BTC/USDT",
        "price": price,
        "status": "filled",
        "timestamp": NOON_MS / 1000,
        "type": "limit",
        "side": side,
        "amount": amount,
        "cost": amount * price,
        "takerOrMaker": "maker",
        "fee": fee,
        "tag": None,
        **more,
    }
    return {"origin_value": origin, "x": NOON_MS, "fees_amount": 0.5, "fees_currency": "USDT"}


def transaction(name: str, pnl: float | None, **more: object) -> Row:
    return {
        "x": NOON_MS + 0.0,
        "type": "realised_pnl",
        "id": name,
        "symbol": "BTC/USDT:USDT",
        "trading_mode": "m",
        "currency": "USDT",
        "order_id": f"o{name}",
        "funding_rate": None,
        "realised_pnl": pnl,
        "transaction_fee": None,
        "closed_quantity": -0.03,
        "first_entry_time": NOON_MS - 60_000.0,
        "average_entry_price": 60000.5,
        "average_exit_price": 61000.5,
        "side": "both",
        **more,
    }


def octobot(folder: Path, **tables: list[Row]) -> MappingAnswers:
    for name, rows in tables.items():
        documents = {str(number): row for number, row in enumerate(rows, 1)}
        (folder / f"{name}.json").write_text(json.dumps({name: documents}))
    return mapped("octobot", json_snapshot(folder))


def test_trades_are_closed_at_average_cost(tmp_path: Path) -> None:
    books = octobot(
        tmp_path,
        all_trades=[
            trade("1", "buy", 0.3, 100.5),
            trade("2", "sell", 0.1, 110.5),
            trade("3", "sell", 9.0, 110.5, status="canceled"),
        ],
    )
    assert books.variant.name == "trades"
    opening, closing = by_id(books).values()
    assert (opening["qty"], opening["gross"], opening["pnl"]) == (0, 0, Decimal("-0.5"))
    assert (closing["side"], closing["qty"]) == ("long", Decimal("0.1"))
    assert (closing["gross"], closing["fee"]) == (1, Decimal("-0.5"))
    assert (closing["pnl"], closing["closed_at"]) == (Decimal("0.5"), NOON)
    assert (closing["order_ids"], closing["funding"]) == (["x2"], None)
    assert books.fills is not None
    assert books.fills["fill_id"].to_pylist() == ["1", "2"]


def test_a_fee_in_the_coin_counts_at_the_price_and_a_third_not_at_all(tmp_path: Path) -> None:
    books = octobot(
        tmp_path,
        all_trades=[
            trade("1", "buy", 1, 100.5, fee={"cost": 0.01, "currency": "BTC"}),
            trade("2", "buy", 1, 100.5, fee={"cost": 0.01, "currency": "BNB"}),
            trade("3", "buy", 1, 100.5, fee=None),
        ],
    )
    in_coin, third, stored = by_id(books).values()
    assert (in_coin["fee"], in_coin["pnl"]) == (Decimal("-1.005"), Decimal("-1.005"))
    assert (third["fee"], third["pnl"]) == (None, 0)
    assert stored["fee"] == Decimal("-0.5")


def test_transactions_tell_what_was_realised(tmp_path: Path) -> None:
    books = octobot(
        tmp_path,
        all_trades=[trade("1", "buy", 1, 100.5)],
        all_transactions=[
            transaction("t1", 30.0),
            transaction("t2", -30.0),
            transaction("t3", 1.25, side="short"),
            transaction("t4", None, type="funding_fee", quantity=-1.5),
        ],
    )
    assert books.variant.name == "transactions"
    trades = by_id(books)
    assert [(one["side"], one["pnl"]) for one in trades.values()] == [
        ("long", 30),
        ("short", -30),
        ("short", Decimal("1.25")),
    ]
    one = trades["t1"]
    assert (one["qty"], one["entry_price"]) == (Decimal("0.03"), Decimal("60000.5"))
    assert (one["closed_at"], one["fee"], one["funding"]) == (NOON, None, None)
    assert (one["opened_at"], one["gross"]) == (datetime(2026, 5, 14, 11, 59), 30)


def test_the_other_spelling_is_read_too(tmp_path: Path) -> None:
    row = transaction("t1", None) | {"realized_pnl": 2.5}
    del row["realised_pnl"]
    assert [one["pnl"] for one in by_id(octobot(tmp_path, all_transactions=[row])).values()] == [
        Decimal("2.5")
    ]
