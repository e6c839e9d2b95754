from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from recon.control.breaks import Break
from recon.control.ledger import Ledger
from recon.errors import ConfigError
from tests.support.sightings import sighting

AT = datetime(2026, 5, 12, 11, tzinfo=UTC)


def test_a_database_from_before_version_1_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma user_version = 3")
    with pytest.raises(ConfigError, match="open it with version 1 first"):
        Ledger(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma user_version").fetchone() == (3,)


def test_a_ledger_of_a_later_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sqlite"
    with Ledger(path):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma user_version = 99")
    with pytest.raises(ConfigError, match=r"control\.sqlite was written by a later release"):
        Ledger(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma user_version").fetchone() == (99,)


def test_many_writers_at_once_lose_no_entry_of_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "control.sqlite"
    found = [Break("okx", f"bot-{n}", "window", "5.00", "100", "1.00") for n in range(8)]
    with Ledger(path) as ledger:
        judged = [("okx", item.bot) for item in found]
        ledger.record_breaks(sighting(date(2026, 5, 11), found, judged))

    def acknowledge(item: Break) -> None:
        for turn in range(5):
            with Ledger(path) as mine:
                mine.acknowledge(item.id, who=item.bot, user="ops", note=f"turn {turn}", at=AT)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(acknowledge, found))
    with Ledger(path) as ledger:
        audit, disagreements = ledger.audit()
    assert (audit.end.entries, audit.altered, disagreements) == (8 + 8 * 5, None, [])


def test_what_is_published_is_the_latest_session_told_of_each_account(tmp_path: Path) -> None:
    def told(run: str, as_of: date, *accounts: str) -> None:
        ledger.begin_run(run, as_of, AT)
        ledger.end_run(
            run,
            AT,
            {"status": "unproven", "accounts": [{"account": one} for one in accounts]},
        )

    with Ledger(tmp_path / "control.sqlite") as ledger:
        assert ledger.published() == {}
        told("a", date(2026, 5, 9), "okx", "ibkr")
        told("b", date(2026, 5, 10), "okx")
        told("c", date(2026, 5, 4), "okx", "ibkr")  # an earlier session, told again
        ledger.begin_run("d", date(2026, 5, 11), AT)  # killed before it told anything
        assert ledger.published() == {"okx": date(2026, 5, 10), "ibkr": date(2026, 5, 9)}
