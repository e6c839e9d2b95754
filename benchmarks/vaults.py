"""Not promised, only shown: reading a million rows of a bot's SQLite into DuckDB."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks.environments import NotHereError, python_of, run_script
from benchmarks.measure import once
from benchmarks.promises import Line, Run
from connectors.bot_databases.sqlite import SqliteDatabase
from recon.core.limits import Limits
from recon.core.records import Session, Table, Window

ROWS = 1_000_000
UNIT = "× ADBC's time"
NOW = datetime(2026, 5, 15, tzinfo=UTC)
DAY = Session(NOW.date(), NOW - timedelta(days=1), NOW)
WINDOW = Window(DAY, DAY)


def measure(run: Run) -> list[Line]:
    """Time ADBC's stream, sqlite3 with pandas, and recon's own connector, as multiples of ADBC."""
    rows = ROWS // 10 if run.is_quick else ROWS
    run.note(f"vaults: {rows:,} rows of SQLite")
    size = f"{rows // 1000:,}k" if run.is_quick else f"{rows // 1_000_000}M"
    ours = f"a vault of {size} rows, recon's connector"
    try:
        python = python_of("sqlite", run)
    except NotHereError as missing:
        return [Line(0, ours, None, detail=str(missing))]
    vault = run.path("vault.sqlite")
    _make(vault, rows)
    times = json.loads(
        run_script(python, "sqlite_ways.py", str(vault), "1" if run.is_quick else "3")
    )
    pandas = Line(
        0,
        f"a vault of {size} rows, sqlite3 and pandas",
        None,
        times["pandas"] / times["adbc"],
        f"{times['pandas']:.2f} s, ADBC {times['adbc']:.2f} s",
        unit=UNIT,
    )
    ours_s = recon_reads(vault)
    return [pandas, Line(0, ours, None, ours_s / times["adbc"], f"{ours_s:.2f} s", unit=UNIT)]


def recon_reads(vault: Path) -> float:
    """Return how long the SQLite connector takes to read the vault as tables, in seconds.

    A snapshot that the bot does not notice, verified, looked over, and every value as exact text.
    """

    async def read() -> int:
        limits = Limits(rows=ROWS, text_mb=500)  # more than a night reads by default
        books = SqliteDatabase("bot", vault, now=lambda: NOW, scratch=vault.parent, limits=limits)
        tables = [item async for item in books.fetch(WINDOW) if isinstance(item, Table)]
        return sum(table.batches.num_rows for table in tables)

    return median(once(lambda: asyncio.run(read())) for _ in range(3))


def _make(path: Path, rows: int) -> None:
    """Write a vault like the README's: ids, text, times and floats."""
    with closing(sqlite3.connect(path)) as vault:
        vault.execute("pragma journal_mode = wal")
        vault.execute(
            """
            create table closed_trades (
              id integer primary key, symbol text, direction text, contracts real,
              opened_at text, closed_at text, entry_price real, exit_price real, profit real
            )
            """
        )
        vault.execute(
            """
            with recursive n(i) as (select 1 union all select i + 1 from n where i < ?)
            insert into closed_trades
            select i, 'BTC-USDT-SWAP', iif(i % 2, 'long', 'short'), (1 + i % 100) / 100.0,
              datetime(1777593600 + i, 'unixepoch') || 'Z',
              datetime(1777593660 + i, 'unixepoch') || 'Z',
              100 + i % 997 / 10.0, 100 + i % 991 / 10.0, (i % 997 - i % 991) * 0.0013
            from n
            """,
            [rows],
        )
        vault.commit()
