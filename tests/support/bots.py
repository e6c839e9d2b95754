"""Bots' own databases and files, in the shapes that the bots give them, with rows of one's own."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from connectors.bot_databases.files import FileReader
from connectors.bot_databases.json_files import SUFFIXES, parse_json
from connectors.bot_databases.snapshot import WholeBooks
from connectors.bot_databases.sqlite import SqliteDatabase
from connectors.protocol import Connector
from recon.bot_databases.mappings import find_mapping
from recon.bot_databases.run_mapping import MappingAnswers, read_books, unpack
from recon.core.records import Coverage, Record, Session, Table, Window

Row = dict[str, Any]
Item = Record | Table | Coverage

NOW = datetime(2026, 5, 15, tzinfo=UTC)
DAY = Session(date(2026, 5, 14), datetime(2026, 5, 14, tzinfo=UTC), NOW)
NOON_MS = 1_778_760_000_000
"""2026-05-14 12:00 UTC."""

HUMMINGBOT = """
create table "Order" (
  id text not null, config_file_path text not null, strategy text not null, market text not null,
  symbol text not null, base_asset text not null, quote_asset text not null,
  creation_timestamp bigint not null, order_type text not null, amount bigint not null,
  leverage integer not null, price bigint not null, last_status text not null,
  last_update_timestamp bigint not null, exchange_order_id text, position text, primary key (id));
create table "TradeFill" (
  config_file_path text not null, strategy text not null, market text not null,
  symbol text not null, base_asset text not null, quote_asset text not null,
  timestamp bigint not null, order_id text not null, trade_type text not null,
  order_type text not null, price bigint not null, amount bigint not null,
  leverage integer not null, trade_fee json not null, trade_fee_in_quote bigint not null,
  exchange_trade_id text not null, position text,
  primary key (market, order_id, exchange_trade_id));
create table "FundingPayment" (
  timestamp bigint not null, config_file_path text not null, market text not null,
  rate float not null, symbol text not null, amount float not null, primary key (timestamp));
create table "Executors" (
  id text not null, timestamp float not null, type text not null, close_type integer,
  close_timestamp bigint, status integer not null, config json not null,
  net_pnl_pct float not null, net_pnl_quote float not null, cum_fees_quote float not null,
  filled_amount_quote float not null, is_active boolean not null, is_trading boolean not null,
  custom_info json not null, controller_id text, primary key (id));
create table "Position" (
  id text not null, controller_id text not null, strategy text not null, market text not null,
  trading_pair text not null, side text not null, timestamp bigint not null,
  volume_traded_quote bigint not null, amount bigint not null, breakeven_price bigint not null,
  realized_pnl_quote bigint not null, unrealized_pnl_quote bigint not null,
  cum_fees_quote bigint not null, filled_orders json not null, primary key (id));
"""
HUMMINGBOT_2020 = """
create table "Order" (
  id text not null, config_file_path text not null, strategy text not null, market text not null,
  symbol text not null, base_asset text not null, quote_asset text not null,
  creation_timestamp bigint not null, order_type text not null, amount float not null,
  price float not null, last_status text not null, last_update_timestamp bigint not null,
  exchange_trade_id text, primary key (id));
create table "TradeFill" (
  id integer not null, config_file_path text not null, strategy text not null,
  market text not null, symbol text not null, base_asset text not null,
  quote_asset text not null, timestamp bigint not null, order_id text not null,
  trade_type text not null, order_type text not null, price float not null,
  amount float not null, trade_fee json not null, exchange_trade_id text not null,
  primary key (id));
"""
GO_TRADER = """
create table strategies (
  id text primary key, type text not null, platform text not null default '',
  cash real not null default 0, initial_capital real not null default 0);
create table positions (
  strategy_id text not null references strategies(id), symbol text not null,
  position_id text not null default '', quantity real not null, avg_cost real not null,
  side text not null, multiplier real not null default 0, opened_at text not null default '',
  primary key (strategy_id, symbol));
create table trades (
  rowid integer primary key autoincrement, strategy_id text not null, timestamp text not null,
  symbol text not null, position_id text not null default '', side text not null,
  quantity real not null, price real not null, value real not null default 0,
  trade_type text not null default '', details text not null default '',
  exchange_order_id text not null default '', exchange_fee real not null default 0,
  is_close integer not null default 0, realized_pnl real not null default 0,
  pnl_gross integer not null default 0, fee_source text not null default '');
create table cashflow_journal (
  rowid integer primary key autoincrement, platform text not null, account text not null,
  time_ms integer not null, kind text not null, amount_usd real not null,
  coin text not null default '', dedup_id text not null unique);
"""


def database(path: Path, schema: str, **rows: Iterable[Row]) -> Path:
    """Write a SQLite database; the names of tables that are words of SQL end in `_`."""
    with closing(sqlite3.connect(path)) as bot:
        bot.executescript(schema)
        for table, some in rows.items():
            for row in some:
                names = ", ".join(row)
                marks = ", ".join("?" * len(row))
                values = [json.dumps(one) if isinstance(one, dict) else one for one in row.values()]
                bot.execute(f'insert into "{table.rstrip("_")}" ({names}) values ({marks})', values)
        bot.commit()
    return path


def snapshot(books: Connector) -> list[Item]:
    """Return all that a source of books gives."""

    async def drain() -> list[Item]:
        return [item async for item in books.fetch(Window(DAY, DAY))]

    return asyncio.run(drain())


def sqlite_snapshot(path: Path) -> list[Item]:
    return snapshot(SqliteDatabase("bot", path, now=lambda: NOW))


def json_snapshot(path: Path) -> list[Item]:
    return snapshot(WholeBooks("bot", FileReader(path, parse_json, SUFFIXES), now=lambda: NOW))


def mapped(mapping: str, items: list[Item]) -> MappingAnswers:
    return read_books(find_mapping(mapping, Path()), *unpack(items))


def by_id(answers: MappingAnswers) -> dict[str, Row]:
    """Return the trades by their ids, once none of them has a problem."""
    assert [one for one in answers.problems if one.query == "trades"] == []
    return {row["trade_id"]: row for row in answers.trades.to_pylist()}
