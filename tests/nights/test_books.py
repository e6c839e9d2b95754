"""Nights over books with a watermark: what may have changed is read again, and else what is new."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

import tests.support.fleet
from tests.support.fleet import NOW, OPENING, Document, Trader, account, rows, run, serving, unpaced

MAPPING = f"-- watermark: trades(closed) text\n{tests.support.fleet.MAPPING}"
LONG_AGO, LATELY = OPENING, NOW - timedelta(hours=44)


@pytest.fixture(autouse=True)
def mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tests.support.fleet, "MAPPING", MAPPING)


def claimed(document: Document) -> str:
    (bot,) = document["bots"]
    return str(bot["window"]["claimed"])


def asked(folder: Path) -> list[bool]:
    """Return whether each night took a snapshot of the trades."""
    query = (
        "select c.is_snapshot from raw.coverage c where c.kind = 'table:trades' order by served_to"
    )
    return [is_snapshot for (is_snapshot,) in rows(folder, query)]


FIRST = Trader(claims=((LONG_AGO, "0.5"), (LATELY, "-0.25")))
CHANGED = Trader(claims=((LONG_AGO, "0.75"), (LATELY, "0.125"), (LATELY, "0.0625")))
"""The same books later; the bot's books may be wrong by 1, and agree."""


def test_a_second_night_reads_above_the_watermark(tmp_path: Path) -> None:
    with serving(account()) as server, unpaced():
        assert claimed(run(tmp_path, server, bots=[FIRST])) == "0.25"
        # What was changed long after it closed is not seen: the watermark says that it is not.
        later = NOW + timedelta(hours=1)
        assert claimed(run(tmp_path, server, bots=[CHANGED], now=lambda: later)) == "0.6875"
        assert asked(tmp_path) == [True, False]


def test_after_a_week_they_are_read_whole_again(tmp_path: Path) -> None:
    with serving(account()) as server, unpaced():
        run(tmp_path, server, bots=[FIRST])
        later = NOW + timedelta(days=8)
        assert claimed(run(tmp_path, server, bots=[CHANGED], now=lambda: later)) == "0.9375"
        assert asked(tmp_path) == [True, True]


def test_after_a_night_that_did_not_agree_they_are_read_whole_again(tmp_path: Path) -> None:
    wrong = Trader(claims=((LONG_AGO, "50"), (LATELY, "-0.25")))
    with serving(account()) as server, unpaced():
        assert run(tmp_path, server, bots=[wrong])["status"] == "diverged"
        later = NOW + timedelta(hours=1)
        assert claimed(run(tmp_path, server, bots=[CHANGED], now=lambda: later)) == "0.9375"
        assert asked(tmp_path) == [True, True]


def test_books_with_other_columns_are_read_whole(tmp_path: Path) -> None:
    with serving(account()) as server, unpaced():
        run(tmp_path, server, bots=[FIRST])
        vault = tmp_path / "vaults" / f"{FIRST.id}.sqlite"
        with closing(sqlite3.connect(vault)) as bot:
            bot.execute("alter table trades add column note text")
            bot.execute("update trades set pnl = '0.75' where id = 1")
            bot.commit()
        later = NOW + timedelta(hours=1)
        again = Trader(claims=None)
        assert claimed(run(tmp_path, server, bots=[again], now=lambda: later)) == "0.50"
        assert asked(tmp_path) == [True, True]
