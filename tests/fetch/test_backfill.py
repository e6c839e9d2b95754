"""The past of accounts, in pieces: which are kept, which are requested again, and the figures."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from connectors.okx.connector import OkxConnector
from recon.cli import run_cli
from recon.config.settings import load
from recon.demo.venues.okx_account import OkxAccount
from recon.errors import VenueRefused
from recon.fetch.backfill import Filled, backfill, pieces_of
from recon.fetch.plan import make_plan
from recon.system.progress import Silent
from recon.warehouse.database import Warehouse
from tests.support.fleet import (
    NOW,
    OPENING,
    QUICK,
    Desk,
    account,
    book_all,
    deals,
    one_night,
    round_trips,
    rows,
    run,
    serving,
    unpaced,
    write_folder,
)

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OkxConnector, "piece", 3 * DAY)


def fill(folder: Path, server: Any, desk: Desk | None = None, since: date | None = None) -> Filled:
    config = load(write_folder(folder, [(desk or Desk(), server)], [], ""))
    [done] = backfill(
        config, since=since, accounts=(), now=lambda: NOW, progress=Silent(), patience=QUICK
    )
    return done


def traded() -> OkxAccount:
    book = account()
    round_trips(book, 15)
    book_all(book, deals(250, group=7, start=OPENING + 9 * DAY))
    return book


def landed(folder: Path) -> list[tuple[Any, ...]]:
    return sorted(
        rows(folder, "select kind, id, payload from raw.current where kind in ('fill', 'bill')")
    )


def test_the_pieces_cover_the_past_and_its_figures_are_those_of_a_run(tmp_path: Path) -> None:
    book = traded()
    with serving(book) as server, unpaced():
        done = fill(tmp_path, server)
        assert (done.pieces, done.known, done.problems) == (done.read, 0, [])
        assert done.pieces > 2
        whole = run(tmp_path / "whole", server, bots=[])
        assert landed(tmp_path) == landed(tmp_path / "whole")
        asked = len(server.requests)
        document = run(tmp_path, server, bots=[])
        spans = [int(one.query["begin"]) for one in server.requests[asked:] if "begin" in one.query]
        assert min(spans) > (NOW - 8 * DAY).timestamp() * 1000
    assert document["accounts"][0]["window"] == whole["accounts"][0]["window"]
    assert document["accounts"][0]["reasons"] == whole["accounts"][0]["reasons"] == []


def test_what_is_known_is_not_asked_again(tmp_path: Path) -> None:
    with serving(traded()) as server, unpaced():
        first = fill(tmp_path, server)
        asked = len(server.requests)
        again = fill(tmp_path, server)
        assert (again.known, again.read, again.rows) == (first.pieces, 0, 0)
        assert len(server.requests) == asked


def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    land = Warehouse.land
    pieces: list[object] = []

    def dying(self: Warehouse, *args: Any) -> Any:
        if len(pieces) == 2:
            raise VenueRefused("the key has gone")
        pieces.append(args)
        return land(self, *args)

    with serving(traded()) as server, unpaced():
        with mock.patch.object(Warehouse, "land", dying):
            stopped = fill(tmp_path, server)
        assert (stopped.read, stopped.problems) == (2, ["the key has gone"])
        done = fill(tmp_path, server)
        assert (done.known, done.read) == (2, done.pieces - 2)
        run(tmp_path / "whole", server, bots=[])
        assert landed(tmp_path) == landed(tmp_path / "whole")


def test_what_a_venue_has_forgotten_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OkxConnector, "piece", 40 * DAY)
    long_ago = Desk(since=(NOW - 120 * DAY).date())
    with serving(account()) as server, unpaced():
        done = fill(tmp_path, server, long_ago)
    assert any("OKX serves three months" in problem for problem in done.problems)


def test_an_account_beside_it_is_not_stopped(tmp_path: Path) -> None:
    desks = [Desk("a"), Desk("b")]
    with serving(traded()) as good, serving(account(), api_key="another") as bad, unpaced():
        path = write_folder(tmp_path, list(zip(desks, (good, bad), strict=True)), [], "")
        (tmp_path / "b.api_key").write_text("wrong")
        config = load(path)
        one, other = backfill(
            config, since=None, accounts=(), now=lambda: NOW, progress=Silent(), patience=QUICK
        )
    assert (one.problems, one.read) == ([], one.pieces)
    assert other.read == 0
    assert "50111" in other.problems[0]


def test_a_gap_is_filled_and_the_numbers_are_made_again(tmp_path: Path) -> None:
    book = traded()
    with serving(book) as server, unpaced():
        run(tmp_path, server, bots=[])
        fill(tmp_path, server, since=(OPENING - 3 * DAY).date())
        document = run(tmp_path, server, bots=[], is_fetching=False)
    honest = one_night(tmp_path / "honest", book, bots=[])
    assert document["accounts"][0]["window"] == honest["accounts"][0]["window"]


def test_pieces_join_and_end_with_the_window(tmp_path: Path) -> None:
    with serving(account()) as server:
        config = load(write_folder(tmp_path, [(Desk(), server)], [], ""))
    [plan] = make_plan(config, as_of=None, accounts=(), now=lambda: NOW, patience=None).accounts
    pieces = list(pieces_of(plan, plan.account.since, 3 * DAY))
    assert pieces[0].start == plan.window.start
    assert pieces[-1].end == plan.window.end
    assert all(a.end == b.start for a, b in pairwise(pieces))


def test_the_command_says_what_it_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(traded()) as server, unpaced():
        path = write_folder(
            tmp_path, [(Desk(since=(datetime.now(UTC) - 9 * DAY).date()), server)], [], ""
        )
        asked = ["backfill", "--config", str(path)]
        assert run_cli([*asked, "--since", "tomorrow"]) == 2
        run_cli([*asked, "--json"])
        [entry] = json.loads(capsys.readouterr().out)["accounts"]
        assert entry["account"] == "okx"
        assert entry["read"] == entry["pieces"]
        run_cli(asked)
        assert "okx: 0 of 3 pieces read now, 3 were known; 0 rows" in capsys.readouterr().out
