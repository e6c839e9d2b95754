"""The journal: it only grows, and whatever else is done to it is found, and where."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest

from recon.control.journal import GENESIS, Entry, verify
from recon.control.ledger import Ledger
from recon.control.sign_offs import Signature
from tests.support.sightings import off_by, sighting

MONDAY = date(2026, 5, 11)
NIGHTS = 4
COLUMNS = ("entry", "at", "who", "act", "subject", "why", "detail", "hash")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a ledger with every kind of act in it."""
    where = tmp_path / "control.sqlite"
    with Ledger(where) as ledger:
        for night in range(NIGHTS):
            session = MONDAY + timedelta(days=night)
            look = sighting(session, [off_by(f"{5 + 4 * night}.00")] if night % 3 != 1 else [])
            [*standing] = ledger.record_breaks(look)
            for item in standing:
                ledger.acknowledge(item["break"], who="anna", user="ops", note="“é”", at=look.at)
        [item] = ledger.breaks()
        ledger.resolve(item["break"], who="ben", user="ops", reason="booked", at=look.at)
        difference = {"account": "okx", "as_of": "2026-05-13", "amount": "1.00", "day": None}
        ledger.sign_off("btc", difference, Signature("anna", "ops", "old", look.at))
    return where


@pytest.fixture
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


def without_its_guard(path: Path, folder: Path) -> sqlite3.Connection:
    """Return a copy of the ledger, opened by somebody who has dropped the triggers."""
    copy = folder / "altered.sqlite"
    with Ledger(path) as ledger:
        ledger._db.execute("pragma wal_checkpoint(truncate)")
    shutil.copy(path, copy)
    db = sqlite3.connect(copy, isolation_level=None)
    triggers = db.execute("select name from sqlite_master where type = 'trigger'").fetchall()
    assert len(triggers) == 3
    for (name,) in triggers:
        db.execute(f"drop trigger {name}")
    return db


def test_a_journal_that_nobody_touched_is_whole(path: Path, raw: sqlite3.Connection) -> None:
    acts = {act for (act,) in raw.execute("select act from journal")}
    assert acts == {"open", "clear", "reopen", "acknowledge", "lapse", "resolve", "sign-off"}
    with Ledger(path) as ledger:
        audit, disagreements = ledger.audit()
        assert audit.end == ledger.journal_end()
    assert (audit.altered, audit.reason, disagreements) == (None, "", [])
    assert audit.end.entries == raw.execute("select count(*) from journal").fetchone()[0]


def test_an_empty_journal_has_an_end_too(tmp_path: Path) -> None:
    with Ledger(tmp_path / "new.sqlite") as ledger:
        assert ledger.journal_end() == (0, GENESIS)
        assert ledger.audit() == (((0, GENESIS), None, ""), [])


@pytest.mark.parametrize(
    "statement",
    [
        "update journal set why = why",
        "update journal set hash = 'x' where entry = 2",
        "delete from journal where entry = 2",
        "delete from journal",
        "replace into journal select * from journal where entry = 2",
        "insert into journal values (-1, '', '', '', '', '', '', '')",
        "insert into journal values (99, '', '', '', '', '', '', '')",
        "insert into journal values (null, '', '', '', '', '', '', '')",
    ],
)
def test_the_file_itself_refuses_everything_but_another_entry(
    raw: sqlite3.Connection, statement: str
) -> None:
    before = raw.execute("select * from journal").fetchall()
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw.execute(statement)
    assert raw.execute("select * from journal").fetchall() == before


def flips(value: object) -> Iterator[object]:
    """Yield a value with one byte altered, put in or left out: its first, its middle, its last."""
    if isinstance(value, int):
        yield from (value ^ 1, value ^ 64, value ^ 0x80, -value)
        return
    said = str(value).encode()
    for place in {0, len(said) // 2, len(said) - 1}:
        for bit in (0x01, 0x20, 0x80):  # another letter, another case, and no UTF-8 at all
            yield said[:place] + bytes([said[place] ^ bit]) + said[place + 1 :]
        yield said[:place] + b"\xff" + said[place:]
        yield said[:place] + said[place + 1 :]


@pytest.mark.parametrize("column", COLUMNS)
def test_one_altered_byte_of_any_entry_is_found_and_placed(
    path: Path, tmp_path: Path, column: str
) -> None:
    tried = 0
    kind = "integer" if column == "entry" else "text"
    with closing(without_its_guard(path, tmp_path)) as db:
        for entry, value in db.execute(f"select entry, {column} from journal").fetchall():
            for altered in flips(value):
                db.execute("begin")
                db.execute(
                    f"update or ignore journal set {column} = cast(? as {kind}) where entry = ?",
                    (altered, entry),
                )
                if db.execute("select changes()").fetchone()[0]:
                    audit = verify(db)
                    place = 1 if isinstance(altered, int) and altered < 1 else entry
                    assert (audit.altered, audit.end.entries) == (place, place - 1)
                    assert audit.reason
                    tried += 1
                db.execute("rollback")
        assert verify(db).altered is None
        assert tried >= 3 * entry


def test_an_entry_that_was_taken_out_is_found_wherever_it_stood(
    path: Path, tmp_path: Path, raw: sqlite3.Connection
) -> None:
    count = raw.execute("select count(*) from journal").fetchone()[0]
    for entry in range(1, count):
        with closing(without_its_guard(path, tmp_path)) as db:
            db.execute("delete from journal where entry = ?", (entry,))
        with Ledger(tmp_path / "altered.sqlite") as ledger:
            audit, _ = ledger.audit()
        assert (audit.altered, audit.end.entries) == (entry, entry - 1)
        assert audit.reason == f"entry {entry} is missing: entry {entry + 1} is in its place"


def test_an_entry_whose_hash_was_worked_out_again_no_longer_carries_the_next(
    path: Path, tmp_path: Path, raw: sqlite3.Connection
) -> None:
    rows = raw.execute("select * from journal order by entry").fetchall()
    before = GENESIS
    for row in rows[:-1]:
        entry = Entry(*row)
        forged = entry._replace(why="never said")
        with closing(without_its_guard(path, tmp_path)) as db:
            db.execute(
                "update journal set why = ?, hash = ? where entry = ?",
                (forged.why, forged.hashed(before), entry.entry),
            )
            assert verify(db).altered == entry.entry + 1
        before = entry.hash


def test_a_tail_that_was_cut_off_is_noticed_against_a_head_kept_elsewhere(
    path: Path, tmp_path: Path
) -> None:
    with Ledger(path) as ledger:
        kept = ledger.journal_end()
        assert ledger.audit(kept.head)[0].altered is None
    with closing(without_its_guard(path, tmp_path)) as db:
        db.execute("delete from journal where entry = ?", (kept.entries,))
    with Ledger(tmp_path / "altered.sqlite") as ledger:
        assert ledger.audit()[0].altered is None
        assert ledger.journal_end().entries == kept.entries - 1
        audit, _ = ledger.audit(kept.head)
    assert audit.altered == kept.entries
    assert "the tail was cut off" in audit.reason


def test_a_head_of_an_earlier_night_stays_in_the_journal(path: Path) -> None:
    with Ledger(path) as ledger:
        early = ledger.journal_end().head
        look = sighting(MONDAY + timedelta(days=NIGHTS), [off_by("5.00", bot="eth")])
        ledger.record_breaks(look)
        assert ledger.journal_end().head != early
        assert ledger.audit(early)[0].altered is None


@pytest.mark.parametrize(
    "statement",
    [
        "update breaks set status = 'acknowledged'",
        "delete from breaks",
        "update breaks set break = 'another' || break",
    ],
)
def test_breaks_that_were_written_past_the_journal_are_named(
    path: Path, raw: sqlite3.Connection, statement: str
) -> None:
    raw.execute(statement)
    with Ledger(path) as ledger:
        audit, disagreements = ledger.audit()
    assert audit.altered is None
    assert disagreements
    assert "by the journal" in disagreements[0]
