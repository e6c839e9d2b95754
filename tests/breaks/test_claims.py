"""Claims over several runs: reading a bot database in parts gives the claims of the whole."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.bot_databases.sqlite import SqliteDatabase
from recon.bot_databases.mappings import BooksMapping, find_mapping
from recon.breaks.claims import Landed, keep_claims
from recon.config.settings import Bot, FlexAccount
from recon.core.calendars import calendar
from recon.core.records import Coverage, Window
from recon.core.watermarks import Above
from recon.fetch.fetch import OVERLAP
from recon.fetch.plan import AccountPlan, BotPlan, Plan
from recon.run.pipeline import configure
from recon.warehouse.database import Warehouse
from tests.conftest import seeds
from tests.support.freqtrade import ERAS, Freqtrade

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)
UTC_DAYS = calendar(None)
KEPT = ("bot_database.trades", "bot_database.fills", "bot_database.positions", "claims.by_session")
ACCOUNT = FlexAccount(
    id="a", venue="ibkr-flex", currency="USD", since=BEGINNING.date(), files="x", calendar="24/7"
)


def plan_of(path: Path, mapping: BooksMapping, now: datetime) -> Plan:
    """Return the plan of a run at `now` for one bot, whose database is at `path`."""
    bot = Bot(id="b", account="a", instruments=("X",), database=f"sqlite:///{path}")
    above = Above(BEGINNING, mapping.watermarks)
    source = SqliteDatabase("b", path, now=lambda: now, is_wanted=mapping.reads, above=above)
    return Plan(now.date(), (account_plan(now, source),), (BotPlan(bot, source, mapping),))


def account_plan(now: datetime, source: Any) -> AccountPlan:
    last = UTC_DAYS.session(now.date() - timedelta(days=1))
    window = Window(UTC_DAYS.session(BEGINNING.date()), last)
    return AccountPlan(ACCOUNT, UTC_DAYS, window, source)


class Nights:
    """A warehouse, and the runs over one bot database."""

    def __init__(self, folder: Path, books: Path, mapping: BooksMapping) -> None:
        self.folder, self.books, self.mapping = folder, books, mapping
        self.runs = 0

    def night(self, now: datetime, start: datetime = BEGINNING) -> bool:
        """Read the bot database from `start` on and keep its claims; return whether in part."""
        plan = plan_of(self.books, self.mapping, now)
        [account], [bot] = plan.accounts, plan.bots
        window = Window(UTC_DAYS.session(start.date()), account.window.last)

        async def drain() -> list[Any]:
            return [item async for item in bot.source.fetch(window)]

        items = asyncio.run(drain())
        with Warehouse(self.folder / "w.duckdb") as warehouse, warehouse.transaction():
            self.runs += 1
            stood = warehouse.land(f"r{self.runs}", "bot_database", "b", items, now)
            configure(warehouse, [(ACCOUNT, account.window, account.days)], [bot.bot], now)
            assert keep_claims(warehouse, plan, {"b": Landed(items, stood)}, {}) == {}
        return any(isinstance(item, Coverage) and not item.is_snapshot for item in items)

    def kept(self) -> dict[str, list[str]]:
        with Warehouse(self.folder / "w.duckdb") as warehouse:
            return {name: sorted(map(repr, warehouse.rows(f"from {name}"))) for name in KEPT}


@pytest.mark.parametrize("seed", seeds(1, 2))
@pytest.mark.parametrize("era", ERAS)
def test_runs_over_parts_equal_a_run_over_the_whole(tmp_path: Path, era: str, seed: int) -> None:
    books, mapping = tmp_path / "bot.sqlite", find_mapping("freqtrade", tmp_path)
    bot, rng = Freqtrade(books, era, seed), random.Random(seed)
    kept = Nights(tmp_path, books, mapping)
    before = BEGINNING
    for number in range(5):
        now = before + timedelta(days=rng.choice([9, 12]) if number else 40)
        bot.live(before, now, 14 if number else 50)
        is_part = kept.night(now, (before - OVERLAP) if number else BEGINNING)
        assert is_part == bool(number)
        before = now
        (tmp_path / f"{number}").mkdir()
        whole = Nights(tmp_path / f"{number}", books, mapping)
        whole.night(now)
        assert kept.kept() == whole.kept()
    assert len(kept.kept()["bot_database.trades"]) > 10


MAPPING = """-- watermark: trades(closed) text
-- unit: trades(id)
select key as trade_id, 'X' as instrument, 'long' as side, 1 as qty, null as opened_at,
  closed as closed_at, null as entry_price, null as exit_price, null as gross, null as fee,
  null as funding, pnl, null as order_ids
from bot.trades where pnl is not null
"""
LONG_AGO, LATELY = "2026-03-02 10:00:00", "2026-05-13 10:00:00"
NOW = datetime(2026, 5, 15, 2, tzinfo=UTC)


class OwnBooks:
    """A bot database with its own mapping, whose trades can be rewritten."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bot.sqlite"
        (folder / "mapping").mkdir()
        (folder / "mapping" / "trades.sql").write_text(MAPPING, encoding="utf-8")
        self.nights = Nights(folder, self.path, find_mapping("mapping", folder))
        self.change("create table trades (id integer primary key, key text, closed text, pnl text)")

    def change(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path)) as bot:
            for statement in statements:
                bot.execute(statement)
            bot.commit()

    def claimed(self) -> dict[str, str]:
        return {
            row["trade_id"]: f"{row['pnl']:f}".rstrip("0")
            for row in rows(self.nights, "from bot_database.trades")
        }


def rows(nights: Nights, query: str) -> list[dict[str, Any]]:
    with Warehouse(nights.folder / "w.duckdb") as warehouse:
        return warehouse.rows(query)


def test_a_withdrawn_claim_is_removed(tmp_path: Path) -> None:
    mine = OwnBooks(tmp_path)
    mine.change(f"insert into trades values (1, 'a', '{LONG_AGO}', '1.5')")
    mine.change(f"insert into trades values (2, 'b', '{LATELY}', '2.5')")
    mine.nights.night(NOW)
    assert mine.claimed() == {"a": "1.5", "b": "2.5"}
    mine.change("update trades set pnl = null where id = 2")
    assert mine.nights.night(NOW + timedelta(hours=1), NOW - timedelta(days=7))
    assert mine.claimed() == {"a": "1.5"}
    [left] = rows(mine.nights, "from claims.by_session")
    assert (left["session_date"], left["trades"]) == (date(2026, 3, 2), 1)


def test_only_the_changed_part_is_mapped(tmp_path: Path) -> None:
    """A change without a later watermark is unseen until the whole database is read."""
    mine = OwnBooks(tmp_path)
    mine.change(f"insert into trades values (1, 'a', '{LONG_AGO}', '1.5')")
    mine.nights.night(NOW)
    mine.change("update trades set pnl = '7.5'")
    mine.change(f"insert into trades values (2, 'b', '{LATELY}', '2.5')")
    mine.nights.night(NOW + timedelta(hours=1), NOW - timedelta(days=7))
    assert mine.claimed() == {"a": "1.5", "b": "2.5"}
    mine.nights.night(NOW + timedelta(hours=2))
    assert mine.claimed() == {"a": "7.5", "b": "2.5"}


def test_a_key_of_another_unit_is_no_replacement(tmp_path: Path) -> None:
    mine = OwnBooks(tmp_path)
    mine.change(f"insert into trades values (1, 'a', '{LONG_AGO}', '1.5')")
    mine.nights.night(NOW)
    mine.change(f"insert into trades values (2, 'a', '{LATELY}', '2.5')")
    with pytest.raises(AssertionError, match="2 trades are not valid, the first: a"):
        mine.nights.night(NOW + timedelta(hours=1), NOW - timedelta(days=7))
