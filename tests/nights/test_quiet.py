"""A quiet night is believed of a bot that is quiet, and not of one that shows signs of life."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.fleet import BTC, ETH, NOW, Document, Trader, account, round_trips, run, serving

DAY = timedelta(days=1)
LATELY = NOW - timedelta(hours=6)
QUIET = Trader(instruments=(ETH,))


def night(folder: Path, bot: Trader, *, beat: str = "", trips: int = 0) -> Document:
    book = account()
    round_trips(book, trips)
    if beat:
        (folder / "beat.json").write_text(json.dumps({"bot": bot.id, "seq": 1, "at": beat}))
    with serving(book) as server:
        return run(folder, server, bots=[bot])


def judged(document: Document) -> tuple[str, list[str]]:
    [bot] = document["bots"]
    return bot["status"], bot["reasons"]


def test_a_bot_that_did_nothing_agrees(tmp_path: Path) -> None:
    assert judged(night(tmp_path, QUIET)) == ("agreed", [])


def test_trades_in_its_books_and_no_fill_at_the_broker_are_no_quiet_night(tmp_path: Path) -> None:
    """What it claims is within the tolerance, and would have passed for agreed."""
    bot = Trader(instruments=(ETH,), claims=((LATELY, "0.25"), (LATELY, "-0.20")))
    status, [why] = judged(night(tmp_path, bot))
    assert status == "unproven"
    assert why.startswith("the bot database shows 2 trades closed in session 2026-05-14, and")


@pytest.mark.parametrize("beat", [f"{NOW - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"])
def test_a_bot_that_is_alive_and_never_had_a_fill_is_no_quiet_bot(
    tmp_path: Path, beat: str
) -> None:
    bot = Trader(instruments=(ETH,), more='heartbeat = { file = "beat.json" }\n')
    status, [why] = judged(night(tmp_path, bot, beat=beat))
    assert status == "unproven"
    assert "shows no fill since 2026-05-01" in why


def test_nor_is_one_that_trades_or_has_long_been_dead(tmp_path: Path) -> None:
    alive = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    bot = Trader(instruments=(BTC, ETH), more='heartbeat = { file = "beat.json" }\n')
    assert not any("alive" in why for why in judged(night(tmp_path, bot, beat=alive, trips=3))[1])
    dead = f"{NOW - 9 * DAY:%Y-%m-%dT%H:%M:%SZ}"
    (tmp_path / "dead").mkdir()
    assert judged(night(tmp_path / "dead", bot, beat=dead)) == ("agreed", [])
