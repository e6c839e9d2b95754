"""Planted lies, and whole nights that must name each of them, to the last unit."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pytest

from tests.fleet import AS_OF, account, one_night, run, serving
from tests.liars import LIES, Liar, planted, written

TRIPS = 12
ROUNDED = Fraction(1, 10**12)
"""Books keep 15 places; what is lost after them goes to the largest cause."""


def told(folder: Path, liars: list[Liar]) -> None:
    """Run a night of these bots, and hold every bot's causes against what was planted."""
    book = liars[0].book
    for liar in liars:
        liar.live(TRIPS)
    document = one_night(folder, book, bots=[liar.bot for liar in liars])
    assert [entry["status"] for entry in document["accounts"]] == ["proven"]
    for liar, bot in zip(liars, document["bots"], strict=True):
        causes = {one["cause"]: Fraction(one["amount"]) for one in bot["causes"]}
        assert causes.pop("unexplained") == 0, (liar.lies, bot)
        assert sum(causes.values()) == Fraction(bot["total"]["amount"])
        expected = planted(liar)
        assert causes.keys() == expected.keys(), (liar.lies, causes, expected)
        for cause, amount in expected.items():
            assert abs(causes[cause] - amount) < ROUNDED, (liar.lies, cause)
        day = sum(Fraction(one["amount"]) for one in bot["day"]["causes"])
        assert day == Fraction(bot["day"]["amount"])


def test_each_lie_alone_is_named(tmp_path: Path) -> None:
    book = account()
    rng = random.Random("alone")
    told(tmp_path, [Liar(rng, number, [lie], book) for number, lie in enumerate((*LIES, ""))])


@pytest.mark.parametrize("seed", range(int(os.environ.get("RECON_LIVES", "2"))))
def test_every_mixture_of_lies_is_taken_apart(seed: int, tmp_path: Path) -> None:
    book = account()
    rng = random.Random(f"mixture{seed}")
    told(
        tmp_path,
        [Liar(rng, number, rng.sample(LIES, rng.randint(2, 6)), book) for number in range(25)],
    )


def test_a_row_that_an_earlier_night_had_was_deleted(tmp_path: Path) -> None:
    book = account()
    liar = Liar(random.Random("deleted"), 1, [], book)
    liar.live(4)
    with serving(book) as server:
        before = run(tmp_path, server, bots=[liar.bot], as_of=AS_OF - timedelta(days=1))
        gone = liar.rows.pop(1)
        edited = Fraction(liar.rows[0]["pnl"]) + 5
        liar.rows[0]["pnl"] = written(edited)
        after = run(tmp_path, server, bots=[liar.bot])
    assert before["bots"][0]["causes"] == [{"cause": "unexplained", "amount": "0", "trades": 0}]
    causes = {one["cause"]: Fraction(one["amount"]) for one in after["bots"][0]["causes"]}
    assert causes == {"deleted": -Fraction(gone["pnl"]), "arithmetic": 5, "unexplained": 0}
