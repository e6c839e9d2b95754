"""Two nights of one account, as cron does them: what the second comes to where nothing disturbs it.

A test begins after the first one, as often as it likes, disturbs the second, and holds what is left
behind against that.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from recon.control.ledger import CONTROL, Ledger
from recon.run.backup import backups
from recon.system.state_folder import write_whole
from recon.warehouse.commit import BACKUPS, PUBLISHED
from tests.support.fleet import (
    BTC,
    ETH,
    NOW,
    SOL,
    Desk,
    Trader,
    account,
    round_trips,
    serving,
    write_folder,
)
from tests.support.fleet import rows as in_warehouse
from tests.support.killed_run import night_in_a_process
from tests.support.servers.channels import Receiver, receiver, says

DAY = timedelta(days=1)


@dataclass
class Story:
    """A state after one night, and all that the next one comes to when nothing disturbs it."""

    folder: Path
    work: Path
    pager: Receiver
    counted: dict[str, Any]
    seconds: float
    due: dict[str, Any]

    @property
    def config(self) -> Path:
        return self.work / "recon.toml"

    def afresh(self) -> None:
        """Begin where the first night ended."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.folder, self.work)
        self.pager.took.clear()

    @property
    def state(self) -> Path:
        return self.work / "state"


@contextmanager
def two_nights(base: Path) -> Iterator[Story]:
    """Live through both of them, in folders of their own, and give their story."""
    folder, work = base / "first", base / "work"
    book = account()
    round_trips(book, 20)
    with serving(book) as server, receiver(says(200)) as pager:
        settings = '[paging]\nchannels = [ { url = { file = "../pager" } } ]\n'
        write_whole(base / "pager", pager.webhook)
        (base / "pager").chmod(0o600)
        forgetful, idle = Trader(instruments=(BTC, ETH)), Trader(id="sol", instruments=(SOL,))
        write_folder(folder, [(Desk(), server)], (forgetful, idle), settings)
        assert night_in_a_process(folder / "recon.toml", NOW - DAY) == 0, log(folder)
        book.trade(BTC, "sell", 5, 2_300, NOW - timedelta(hours=6))
        told = Story(folder, work, pager, {}, 0.0, {})
        told.afresh()
        begun = time.monotonic()
        count = base / "count.json"
        assert night_in_a_process(told.config, NOW, counts_to=count) == 0, log(work)
        told.seconds = time.monotonic() - begun
        told.counted = json.loads(count.read_text())
        told.due = left_behind(work)
        yield told


def log(folder: Path) -> str:
    return (folder / "night.log").read_text(encoding="utf-8")


def left_behind(folder: Path) -> dict[str, Any]:
    """Return all that a night leaves, but for the names of runs and the time that it took."""
    state = folder / "state"
    with duckdb.connect(str(state / PUBLISHED), read_only=True) as published:
        [[run, as_of, told]] = published.execute("from reports").fetchall()
        tables = {
            name: published.execute(f"select * from {name} order by all").fetchall()
            for name in ("sessions", "open_lots")
        }
    report = json.loads((state / "reports" / f"{as_of}.json").read_text(encoding="utf-8"))
    with closing(sqlite3.connect(state / CONTROL)) as ledger:
        expected = ledger.execute(
            "select session, run is not null from sessions order by session"
        ).fetchall()
        standing = ledger.execute("select title, status from incidents order by title").fetchall()
    with Ledger(state / CONTROL) as opened:
        audit, disagreements = opened.audit()
    return {
        "published": tables,
        "told": numbers(json.loads(told), run),
        "report": numbers(report, report["run"]),
        "raw": in_warehouse(
            folder,
            'select venue, account, kind, id, version, payload, "at" from raw.records order by all',
        ),
        "sessions": expected,
        "incidents": standing,
        "journal": (audit.altered, disagreements, audit.end.entries),
        "backups": [one["as_of"] for one in backups(state)],
        "unfinished": sorted(path.name for path in (state / BACKUPS).glob("*.new")),
    }


def numbers(document: dict[str, Any], run: str) -> str:
    """Return a document's text without what names its run: its id, its pages, its journal's end."""
    kept = {name: value for name, value in document.items() if name not in {"pages", "journal"}}
    return json.dumps(kept, sort_keys=True).replace(run, "RUN")
