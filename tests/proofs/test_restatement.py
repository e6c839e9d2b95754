"""Restatements: reported figures that a later run changes, and the history of reports."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from recon.cli import run_cli
from recon.demo.venues.okx_account import OkxAccount
from tests.support.fleet import (
    BTC,
    ETH,
    NOW,
    SINCE,
    Desk,
    Document,
    Trader,
    account,
    round_trips,
    run,
    serving,
    unpaced,
)

DAY = timedelta(days=1)
LATER = NOW + timedelta(hours=1)
BOTS = (Trader(instruments=(BTC, ETH)),)


def traded() -> OkxAccount:
    book = account()
    round_trips(book, 15)
    return book


def nets(document: Document, session: str) -> dict[str | None, tuple[str, str, str]]:
    return {
        row["bot"]: (row["from"], row["to"], row["moved"])
        for row in document["restatements"]
        if row["session"] == session
    }


def test_an_ordinary_run_restates_nothing(tmp_path: Path) -> None:
    with serving(traded()) as server, unpaced():
        assert run(tmp_path, server, bots=BOTS, as_of=(NOW - 2 * DAY).date())["restatements"] == []
        assert run(tmp_path, server, bots=BOTS)["restatements"] == []
        assert run(tmp_path, server, bots=BOTS, now=lambda: LATER)["restatements"] == []


def test_a_late_fill_restates_its_session_with_figures_and_reason(tmp_path: Path) -> None:
    book = traded()
    with serving(book) as server, unpaced():
        first = run(tmp_path, server, bots=BOTS)
        late = NOW - 3 * DAY
        book.trade(BTC, "buy", 4, 100, late, fee="-0.5")
        book.trade(BTC, "sell", 4, 104, late + timedelta(minutes=1), fee="-0.5")
        document = run(tmp_path, server, bots=BOTS, now=lambda: LATER)
    session = late.date().isoformat()
    moved = nets(document, session)
    assert set(moved) == {None, "btc"}
    before, after, difference = map(Decimal, moved["btc"])
    assert after - before == difference != 0
    [row] = [r for r in document["restatements"] if r["bot"] == "btc" and r["session"] == session]
    assert row["reason"] == [f"2 fills of {BTC}, session {session}: added, changed or removed"]
    total = [Decimal(d["bots"][0]["window"]["broker"]["net"]) for d in (first, document)]
    changes = [Decimal(r["moved"]) for r in document["restatements"] if r["bot"] == "btc"]
    assert total[1] - total[0] == sum(changes)


def test_sessions_outside_the_reported_window_are_no_restatements(tmp_path: Path) -> None:
    """An unreported session is not a session reported as 0. Moving `since` restates nothing."""
    with serving(traded()) as server, unpaced():
        run(tmp_path, server, bots=BOTS)
        for since in (SINCE + 5 * DAY, SINCE - 3 * DAY):
            moved = run(tmp_path, server, desk=Desk(since=since), bots=BOTS)
            assert moved["accounts"][0]["status"] == "proven" or since > SINCE
            assert moved["restatements"] == []


def test_a_late_fill_also_restates_later_sessions(tmp_path: Path) -> None:
    book = account()
    book.trade(BTC, "buy", 2, 100, NOW - 4 * DAY, fee="0")
    book.trade(BTC, "sell", 2, 110, NOW - DAY, fee="0")
    with serving(book) as server, unpaced():
        run(tmp_path, server, bots=BOTS)
        book.trade(BTC, "buy", 2, 50, NOW - 5 * DAY, fee="0")
        document = run(tmp_path, server, bots=BOTS, now=lambda: LATER)
    sessions = {row["session"] for row in document["restatements"]}
    assert sessions == {(NOW - DAY).date().isoformat()}
    [row] = [row for row in document["restatements"] if row["bot"] == "btc"]
    assert (NOW - 5 * DAY).date().isoformat() in row["reason"][0]


def test_other_settings_are_named_as_the_reason(tmp_path: Path) -> None:
    book = account()
    for price in (100, 120):
        book.trade(BTC, "buy", 1, price, NOW - 3 * DAY, fee="0")
    book.trade(BTC, "sell", 1, 130, NOW - 2 * DAY, fee="0")
    with serving(book) as server, unpaced():
        run(tmp_path, server, bots=BOTS)
        fifo = Desk(more='lots = "fifo"\n')
        document = run(tmp_path, server, bots=BOTS, desk=fifo, is_fetching=False)
    assert {row["session"] for row in document["restatements"]} == {
        (NOW - 2 * DAY).date().isoformat()
    }
    assert all("other settings" in row["reason"][0] for row in document["restatements"])


def test_a_run_with_unknown_figures_reports_none(tmp_path: Path) -> None:
    book = traded()
    with serving(book) as server, unpaced():
        (tmp_path / "x").mkdir()
        dead = run(tmp_path, server, bots=BOTS, is_fetching=False)
        assert dead["accounts"][0]["window"]["net"] is None
        assert run(tmp_path, server, bots=BOTS)["restatements"] == []


def test_reports_are_read_back_unchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = traded()
    with serving(book) as server, unpaced():
        first = run(tmp_path, server, bots=BOTS)
        book.trade(BTC, "buy", 1, 100, NOW - 3 * DAY)
        second = run(tmp_path, server, bots=BOTS, now=lambda: LATER)
    asked = ["run", "--config", str(tmp_path / "recon.toml"), "--json"]
    run_cli([*asked, "--known-at", (NOW + timedelta(minutes=30)).isoformat()])
    assert json.loads(capsys.readouterr().out) == first
    run_cli([*asked, "--known-at", LATER.isoformat(), "--as-of", first["as_of"]])
    assert json.loads(capsys.readouterr().out) == second
    assert run_cli([*asked, "--known-at", (NOW - DAY).isoformat()]) == 2
    assert run_cli([*asked, "--known-at", LATER.isoformat(), "--as-of", "2026-01-01"]) == 2
    assert "session 2026-01-01" in capsys.readouterr().err
    assert run_cli([*asked, "--known-at", "soon"]) == 2
