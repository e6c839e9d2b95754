"""Bot databases with a row for each fill: each error is named and is never a phantom."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from tests.conftest import seeds
from tests.support.diaries import KINDS, LIES, OWN_PROFIT, Diary, causes_of
from tests.support.fleet import QUICK, account, one_night

PATIENT = replace(QUICK, request_timeout_s=10.0, total_s=120.0)
"""So many orders take long on a busy machine."""
NEARLY_ALL = Fraction(99, 100)


@pytest.mark.parametrize("seed", seeds(1, 1))
def test_one_error_is_named(seed: int, tmp_path: Path) -> None:
    book, rng = account(), random.Random(f"diary{seed}")
    diaries = [
        Diary(rng, number, kind, lie, book, costs_booked, names_orders)
        for number, (kind, lie, costs_booked, names_orders) in enumerate(
            (kind, lie, costs_booked, names_orders)
            for kind in KINDS
            for lie in LIES
            for costs_booked, names_orders in (
                ("when_paid", True),
                ("at_close", rng.random() < 0.5),
            )
            if not (kind == "passivbot" and lie in OWN_PROFIT)
        )
    ]
    for diary in diaries:
        diary.live(10)
    bots = [diary.bot(tmp_path) for diary in diaries]
    document = one_night(tmp_path, book, bots=bots, patience=PATIENT)
    assert [entry["status"] for entry in document["accounts"]] == ["proven"]
    for diary, bot in zip(diaries, document["bots"], strict=True):
        about = (diary.number, diary.kind, diary.lie, diary.costs_booked, diary.names_orders, bot)
        causes = causes_of(bot)
        off = Fraction(bot["window"]["divergence"])
        assert sum(causes.values()) == off, about
        day = sum(Fraction(one["amount"]) for one in bot["session"]["causes"])
        assert day == Fraction(bot["session"]["divergence"]), about
        if diary.costs_booked == "at_close":
            off -= causes.pop("timing", Fraction(0))
        if not off:  # a wrong quantity changes no PnL if nothing is closed after it
            assert (diary.lie, any(causes.values())) == ("qty", False), about
            continue
        others = {name for name, amount in causes.items() if abs(amount) > abs(off) / 100}
        assert others == {LIES[diary.lie]}, about
        assert causes[LIES[diary.lie]] / off >= NEARLY_ALL, about
