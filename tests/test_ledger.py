from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from recon.ledger import Break, Ledger

MONDAY, TUESDAY, WEDNESDAY = date(2026, 5, 11), date(2026, 5, 12), date(2026, 5, 13)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def off_by(amount: str, kind: str = "total") -> Break:
    return Break("okx", "btc", kind, amount)


def test_a_break_keeps_its_identity_while_its_amount_changes(ledger: Ledger) -> None:
    [first] = ledger.see_breaks(MONDAY, [("okx", "btc")], [off_by("5.00")])
    [second] = ledger.see_breaks(TUESDAY, [("okx", "btc")], [off_by("7.00")])
    assert first["break"] == second["break"]
    assert (second["first_seen"], second["amount"]) == ("2026-05-11", "7.00")


def test_a_break_is_cleared_when_its_bot_agrees_and_begins_anew_when_it_returns(
    ledger: Ledger,
) -> None:
    ledger.see_breaks(MONDAY, [("okx", "btc")], [off_by("5.00")])
    assert ledger.see_breaks(TUESDAY, [("okx", "btc")], []) == []
    [back] = ledger.see_breaks(WEDNESDAY, [("okx", "btc")], [off_by("5.00")])
    assert back["first_seen"] == "2026-05-13"


def test_a_bot_that_could_not_be_judged_keeps_its_break(ledger: Ledger) -> None:
    ledger.see_breaks(MONDAY, [("okx", "btc")], [off_by("5.00"), off_by("2.00", "day")])
    assert len(ledger.see_breaks(TUESDAY, [], [])) == 2


def test_a_run_again_of_the_same_night_changes_nothing(ledger: Ledger) -> None:
    once = ledger.see_breaks(MONDAY, [("okx", "btc")], [off_by("5.00")])
    assert ledger.see_breaks(MONDAY, [("okx", "btc")], [off_by("5.00")]) == once


def test_a_page_is_recorded_before_and_after_it_is_sent(ledger: Ledger, tmp_path: Path) -> None:
    at = datetime(2026, 5, 12, 11, tzinfo=UTC)
    page = {"page": "p", "title": "t", "body": "b", "status": "pending", "channels": []}
    ledger.record_page(page, "run", at)
    ledger.record_page({**page, "status": "delivered", "channels": [{"channel": "c"}]}, "run", at)
    with Ledger(tmp_path / "ledger.sqlite") as again:
        rows = again._db.execute("select status, channels from pages").fetchall()
    assert [tuple(row) for row in rows] == [("delivered", '[{"channel": "c"}]')]
