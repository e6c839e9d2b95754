"""jesse's mapping, over its PostgreSQL: what it works out and never stores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from connectors.bot_databases.postgres import PostgresReader
from connectors.bot_databases.snapshot import WholeBooks
from recon.bot_databases.mappings import find_mapping
from recon.bot_databases.run_mapping import MappingAnswers, Problem
from tests.support.bots import NOON_MS, NOW, Item, Row, by_id, mapped, snapshot
from tests.support.servers.postgres import PASSWORD, PostgresServer

JESSE = (
    """create table "order" (
      id uuid primary key, trade_id uuid, session_id uuid not null, exchange_id varchar(255),
      vars json not null default '{}', symbol varchar(255) not null,
      exchange varchar(255) not null, side varchar(255) not null, type varchar(255) not null,
      reduce_only boolean not null, qty double precision not null,
      filled_qty double precision not null, price double precision,
      status varchar(255) not null, created_at bigint not null, executed_at bigint,
      canceled_at bigint, session_mode varchar(255), fee double precision)""",
    """create table closedtrade (
      id uuid primary key, session_id uuid not null, strategy_name varchar(255) not null,
      symbol varchar(255) not null, exchange varchar(255) not null, type varchar(255) not null,
      timeframe varchar(255) not null, opened_at bigint not null, closed_at bigint,
      leverage integer not null, created_at bigint not null, updated_at bigint not null,
      session_mode varchar(255) not null, soft_deleted_at bigint)""",
)
NOON = datetime(2026, 5, 14, 12)


def uuid(number: int) -> str:
    return str(UUID(int=number))


def trade(number: int, **more: object) -> Row:
    return {
        "id": uuid(number),
        "session_id": uuid(1),
        "strategy_name": "s",
        "symbol": "BTC-USDT",
        "exchange": "Bybit USDT Perpetual",
        "type": "long",
        "timeframe": "1h",
        "opened_at": NOON_MS - 60_000,
        "closed_at": NOON_MS,
        "leverage": 2,
        "created_at": 1,
        "updated_at": 1,
        "session_mode": "livetrade",
        **more,
    }


def order(number: int, of: int, qty: float, price: float | None, **more: object) -> Row:
    return {
        "id": uuid(100 + number),
        "trade_id": uuid(of),
        "session_id": uuid(1),
        "exchange_id": f"x{number}",
        "symbol": "BTC-USDT",
        "exchange": "Bybit USDT Perpetual",
        "side": "buy" if qty > 0 else "sell",
        "type": "LIMIT",
        "reduce_only": False,
        "qty": qty,
        "filled_qty": qty,
        "price": price,
        "status": "EXECUTED",
        "created_at": 1,
        "executed_at": NOON_MS + number,
        "session_mode": "livetrade",
        "fee": 0.1,
        **more,
    }


def written(
    server: PostgresServer, trades: Sequence[Row] = (), orders: Sequence[Row] = ()
) -> list[Item]:
    database = server.database(*JESSE)
    with closing(server.connected(database)) as bot:
        for table, rows in (("closedtrade", trades), ('"order"', orders)):
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                query = f"insert into {table} ({', '.join(row)}) values ({marks})"
                bot.execute(query.encode(), list(row.values()))
    reader = PostgresReader(server.url(database), PASSWORD)
    return snapshot(WholeBooks("bot", reader, now=lambda: NOW))


def jesse(server: PostgresServer, trades: Sequence[Row], orders: Sequence[Row]) -> MappingAnswers:
    return mapped("jesse", written(server, trades, orders))


def test_profit_is_worked_out_as_jesse_does(postgres: PostgresServer) -> None:
    books = jesse(
        postgres,
        [trade(1), trade(2, type="short", symbol="ETH-USDT", exchange="OKX Perpetual")],
        [
            order(1, 1, 0.1, 100.0),
            order(2, 1, 0.2, 103.0),
            order(3, 1, -0.3, 110.5),
            order(4, 2, -1.0, 50.0),
            order(5, 2, 1.0, 60.0, status="CANCELED"),
            order(6, 2, 0.4, 45.0),
            order(7, 2, 0.6, 40.0),
        ],
    )
    trades = by_id(books)
    long, short = trades[uuid(1)], trades[uuid(2)]
    # In floats 0.1 + 0.2 is more than 0.3; as written they are the same.
    assert (long["gross"], long["fee"]) == (Decimal("2.55"), Decimal("-0.3"))
    assert (long["pnl"], long["qty"]) == (Decimal("2.25"), Decimal("0.3"))
    assert (long["entry_price"], long["exit_price"]) == (Decimal(102), Decimal("110.5"))
    assert long["order_ids"] == ["x1", "x2", "x3"]
    assert (long["opened_at"], long["closed_at"]) == (NOON - timedelta(minutes=1), NOON)
    assert (long["instrument"], long["funding"]) == ("BTC/USDT:USDT", None)
    assert (short["side"], short["instrument"]) == ("short", "ETH-USDT-SWAP")
    assert (short["gross"], short["pnl"]) == (Decimal(8), Decimal("7.7"))
    assert books.fills is not None
    assert books.fills.num_rows == 6


def test_a_fee_that_jesse_does_not_know_counts_as_none(postgres: PostgresServer) -> None:
    books = jesse(postgres, [trade(1)], [order(1, 1, 1, 10.0), order(2, 1, -1, 12.0, fee=None)])
    (one,) = by_id(books).values()
    assert (one["gross"], one["fee"], one["pnl"]) == (2, None, Decimal("1.9"))


def test_quantities_that_differ_by_a_hair_are_averaged(postgres: PostgresServer) -> None:
    books = jesse(postgres, [trade(1)], [order(1, 1, 3.0, 10.0), order(2, 1, -2.0, 11.0)])
    (one,) = by_id(books).values()
    assert (one["qty"], one["gross"]) == (3, 3)


def test_only_live_trades_that_closed_and_stand_count(postgres: PostgresServer) -> None:
    orders = [order(n, n, 1, 10.0) for n in range(1, 6)] + [
        order(10 + n, n, -1, 11.0) for n in range(1, 6)
    ]
    books = jesse(
        postgres,
        [
            trade(1, session_mode="backtest"),
            trade(2, session_mode="papertrade"),
            trade(3, closed_at=None),
            trade(4, soft_deleted_at=NOON_MS),
            trade(5),
        ],
        [orders[0] | {"session_mode": "backtest"}, *orders[1:]],
    )
    assert set(by_id(books)) == {uuid(5)}
    assert books.fills is not None
    assert books.fills.num_rows == 9


def test_a_trade_without_its_orders_is_a_problem(postgres: PostgresServer) -> None:
    books = jesse(postgres, [trade(1)], [order(1, 1, 1, 10.0)])
    assert books.problems == (Problem("trades", uuid(1), "pnl is null"),)


def test_the_reader_is_asked_for_its_tables_alone(postgres: PostgresServer) -> None:
    database = postgres.database(*JESSE, "create table exchangeapikeys (secret text)")
    reader = PostgresReader(postgres.url(database), PASSWORD)
    found = asyncio.run(reader.read(find_mapping("auto", Path()).reads))
    assert set(found) == {"order", "closedtrade"}
