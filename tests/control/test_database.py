from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from recon.control.breaks import Break
from recon.control.ledger import Ledger
from recon.errors import ConfigError
from tests.support.sightings import off_by, sighting

AT = datetime(2026, 5, 12, 11, tzinfo=UTC)
FIRST_SHAPE = """
create table runs (
  run text primary key, as_of text not null, started_at text not null, ended_at text,
  status text, document text
) strict;
create table breaks (
  break text primary key, account text not null, bot text not null, kind text not null,
  first_seen text not null, last_seen text not null, amount text not null, status text not null
) strict;
create table pages (
  page text primary key, run text not null, at text not null, title text not null,
  body text not null, status text not null, channels text not null
) strict;
"""
"""As the first ledgers were made: no count of steps, no journal."""


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """Give a ledger as the first release left it: one break stands, one was cleared."""
    path = tmp_path / "ledger.sqlite"
    document = {"accounts": [{"account": "okx", "status": "proven"}], "bots": []}
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma journal_mode = wal")
        db.executescript(FIRST_SHAPE)
        db.execute(
            "insert into runs values ('r', '2026-05-11', ?, ?, 'diverged', ?)",
            (AT.isoformat(), AT.isoformat(), json.dumps(document)),
        )
        standing, gone = off_by("5.00"), off_by("7.00", bot="eth")
        for item, status in ((standing, "open"), (gone, "cleared")):
            db.execute(
                "insert into breaks values (?, 'okx', ?, 'total', '2026-05-04', ?, ?, ?)",
                (item.id, item.bot, "2026-05-11", item.amount, status),
            )
        db.commit()
    return path


def test_a_ledger_of_the_first_release_is_taken_over_in_place(first: Path) -> None:
    with Ledger(first) as ledger:
        [item] = ledger.breaks()
        assert (item["break"], item["amount"]) == (off_by("5.00").id, "5.00")
        assert (item["first_seen"], item["status"]) == ("2026-05-04", "open")
        assert item["severity"] is None  # what it was held against, nobody wrote down
        assert item["why"] == "noted before there was a journal"
        assert len(ledger.breaks(is_all=True)) == 2
        assert ledger.told(None, AT, ["okx"]) is not None
        audit, disagreements = ledger.audit()
        assert (audit.end.entries, audit.altered, disagreements) == (2, None, [])


def test_what_was_taken_over_lives_on(first: Path) -> None:
    with Ledger(first) as ledger:
        found = [off_by("5.00"), off_by("7.00", bot="eth")]
        one, other = ledger.see_breaks(sighting(date(2026, 5, 12), found))
        assert (one["first_seen"], one["severity"], one["reopened"]) == (
            "2026-05-04",
            "major",
            False,
        )
        assert (other["first_seen"], other["severity"], other["reopened"]) == (
            "2026-05-12",
            "minor",
            True,
        )


def test_what_was_acknowledged_before_its_severity_was_known_counts_once_it_is(
    first: Path,
) -> None:
    with Ledger(first) as ledger:
        [item] = ledger.breaks()
        ledger.acknowledge(item["break"], who="anna", user="ops", note="known", at=AT)
        [item] = ledger.see_breaks(sighting(date(2026, 5, 12), [off_by("5.00")]))
        assert (item["status"], item["why"]) == (
            "open",
            "its severity has risen from unknown to major",
        )


def test_many_that_open_an_old_ledger_at_once_take_it_over_once(first: Path) -> None:
    def look(_: int) -> int:
        with Ledger(first) as ledger:
            return ledger.journal_end().entries

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(look, range(16))) == {2}


def test_a_ledger_of_a_later_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma user_version = 99")
    with pytest.raises(ConfigError, match=r"ledger\.sqlite: written by a later release"):
        Ledger(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma user_version").fetchone() == (99,)


def test_many_writers_at_once_lose_no_entry_of_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    found = [Break("okx", f"bot-{n}", "total", "5.00", "100", "1.00") for n in range(8)]
    with Ledger(path) as ledger:
        judged = [("okx", item.bot) for item in found]
        ledger.see_breaks(sighting(date(2026, 5, 11), found, judged))

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

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.published() == {}
        told("a", date(2026, 5, 9), "okx", "ibkr")
        told("b", date(2026, 5, 10), "okx")
        told("c", date(2026, 5, 4), "okx", "ibkr")  # an earlier session, told again
        ledger.begin_run("d", date(2026, 5, 11), AT)  # killed before it told anything
        assert ledger.published() == {"okx": date(2026, 5, 10), "ibkr": date(2026, 5, 9)}
