"""Promise 4: the bot's trades against the broker's orders, by recon's own queries (`sql/causes`).

As many trades as orders, each of one fill: every trade names its order; or none does, and they are
told by instrument, side, time, quantity and price, which is shown beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import duckdb

from benchmarks.fills import BASE
from benchmarks.lots import made
from benchmarks.measure import interleaved
from benchmarks.promises import Line, Run, Target
from recon.system.resources import sql_root

MILLION = 1_000_000
BASE_TARGET = Target("at most", 15, "× base")
GROWTH_TARGET = Target("at most", 4.5, "× the time of 1M")
ROW_TARGET = Target("at most", 1.5, "× the cost a row of 10k")
BY_ORDER = ("orders", "named")
WHOLE = (*BY_ORDER, "legs", "likely", "matched")
TABLES = """
create schema causes; create schema books;
create table fills as from source.fills;
create table causes.fills as
select
  account, instrument, fill_id as event_id, "at", 'bot' as bot,
  if(side = 'buy', qty, -qty)::decimal(38, 18) as qty, price::decimal(38, 18) as price,
  1::decimal(38, 18) as multiplier, seq::varchar as trade_id,
  (1300000000000000000 + seq)::varchar as order_id, null::varchar as order_tag
from fills;
create table bot_database.fills (
  bot varchar, fill_id varchar, order_id varchar, instrument varchar
);
create table with_orders as
select
  'bot' as bot, account, trade_id, [order_id] as order_ids, instrument,
  if(qty > 0, 'long', 'short') as side, abs(qty) as qty, "at" as opened_at,
  null::timestamp as closed_at, price as entry_price, null::decimal(38, 18) as exit_price
from causes.fills;
create table without_orders as
select * replace (null::varchar[] as order_ids) from with_orders;
create view causes.bot_trades as from with_orders;
"""


def measure(run: Run) -> list[Line]:
    """Match as many trades as orders: 10,000, a million, and in a whole run four million."""
    small, large, huge = 10_000, MILLION // (5 if run.is_quick else 1), 4 * MILLION
    run.note(f"matching: {large:,} trades with as many orders")
    times = _timed(run, large, 5)
    cost = _timed(run, small, 5)["by order"] / small
    detail = f"{times['by order']:.3f} s; base {times['base']:.4f} s"
    name = "1M × 1M" if large == MILLION else f"{large:,} × {large:,}"
    lines = [
        Line(4, f"matching orders, {name}", BASE_TARGET, times["by order"] / times["base"], detail,
             explain=lambda: _profile(run, large)),
        Line(4, f"matching orders, {name}", ROW_TARGET, times["by order"] / large / cost,
             f"{1e9 * times['by order'] / large:.0f} ns a row, {1e9 * cost:.0f} ns of 10,000"),
        Line(0, "matching, with a look at what is left", None, times["whole"] / times["base"],
             f"{times['whole']:.2f} s", unit="× base"),
        Line(0, "matching without order ids, by their looks", None,
             times["by looks"] / times["base"], f"{times['by looks']:.2f} s", unit="× base"),
    ]  # fmt: skip
    if run.is_quick:
        return [
            *lines,
            Line(4, "matching orders, 4M beside 1M", GROWTH_TARGET, missing="not measured here"),
        ]
    run.note("matching: 4M trades with as many orders")
    growth = _timed(run, huge, 3)["by order"]
    return [
        *lines,
        Line(
            4,
            "matching orders, 4M beside 1M",
            GROWTH_TARGET,
            growth / times["by order"],
            f"{growth:.2f} s",
        ),
    ]


def _timed(run: Run, count: int, repeats: int) -> dict[str, float]:
    with _prepared(made(run, "flat", count)) as database:
        return interleaved(
            {
                "base": lambda: database.execute(BASE).fetchall(),
                "by order": lambda: _build(database, "with_orders", BY_ORDER),
                "whole": lambda: _build(database, "with_orders", WHOLE),
                "by looks": lambda: _build(database, "without_orders", WHOLE),
            },
            repeats,
        )


def _prepared(path: Path) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect()
    database.execute("set timezone = 'UTC'")
    database.execute((sql_root() / "macros.sql").read_text(encoding="utf-8"))
    database.execute(f"attach '{path}' as source (read_only)")
    database.execute(TABLES)
    return database


def _build(database: duckdb.DuckDBPyConnection, booked: str, names: Sequence[str]) -> None:
    database.execute(f"create or replace view causes.bot_trades as from {booked}")
    for name in names:
        text = (sql_root() / "causes" / f"{name}.sql").read_text(encoding="utf-8")
        database.execute(f"create or replace table causes.{name} as {text}")


def _profile(run: Run, count: int) -> str:
    """Return what the matching by order goes to, one query a line."""
    with _prepared(made(run, "flat", count)) as database:
        _build(database, "with_orders", WHOLE)
        times = interleaved(
            {name: partial(_build, database, "with_orders", [name]) for name in BY_ORDER}, 5
        )
    return "\n".join(f"{times[name]:.3f} s  causes.{name}" for name in BY_ORDER)
