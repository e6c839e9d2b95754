"""Fills assigned to trades: none is lost or doubled, and no trade is closed twice."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from recon.breaks.causes.ownership import SEPARATOR, Trade, assign_to_trades
from recon.core.numbers import SCALE
from recon.lots.realise import Event
from tests.conftest import seeds

START = datetime(2026, 5, 1, tzinfo=UTC)


def fill(number: int, qty: int, *, bot: str | None = "b", fee: str = "-0.003") -> Event:
    at = START + timedelta(minutes=number)
    return Event(
        "a",
        "I",
        "fill",
        f"f{number}",
        at,
        at.date(),
        bot,
        "net",
        Decimal(qty),
        Decimal(100),
        Decimal(1),
        False,
        Decimal(fee),
        "settlement",
        Decimal(1),
    )


def owners(events: list[Event], trades_of: dict[str, list[Trade]]) -> list[tuple[str, str, int]]:
    """Return each part's fill, trade and quantity."""
    owned = assign_to_trades(
        events, {("b", name): trades for name, trades in trades_of.items()}, ["b"]
    )
    return [
        (one.event.event_id, str(one.event.bot).split(SEPARATOR)[-1], int(one.event.qty or 0))
        for one in owned
    ]


def test_an_order_through_zero_closes_one_trade_and_opens_the_next() -> None:
    first, second = Trade("b", "1", "long", 5 * SCALE), Trade("b", "2", "short", 3 * SCALE)
    events = [fill(1, 5), fill(2, -8), fill(3, 3)]
    found = owners(events, {"f1": [first], "f2": [first, second], "f3": [second]})
    assert found == [("f1", "1", 5), ("f2", "1", -5), ("f2", "2", -3), ("f3", "2", 3)]


def test_an_exit_without_a_named_entry_takes_the_oldest_unassigned_fill() -> None:
    trade = Trade("b", "1", "long", 4 * SCALE)
    events = [fill(1, 3), fill(2, 3), fill(3, -4)]
    found = owners(events, {"f3": [trade]})
    assert found == [("f1", "1", 3), ("f2", "", 2), ("f2", "1", 1), ("f3", "1", -4)]


def test_a_fill_that_closes_the_rest_of_a_trade_belongs_to_it_though_unrecorded() -> None:
    trade = Trade("b", "1", "long", 5 * SCALE)
    events = [fill(1, 5), fill(2, -3), fill(3, -2)]
    owned = assign_to_trades(events, {("b", "f1"): [trade], ("b", "f2"): [trade]}, ["b"])
    assert [(one.event.bot, one.is_recorded) for one in owned] == [
        (f"b{SEPARATOR}1", True),
        (f"b{SEPARATOR}1", True),
        (f"b{SEPARATOR}1", False),
    ]


def test_the_fills_of_other_bots_stay_theirs() -> None:
    events = [fill(1, 5, bot="c"), fill(2, 5, bot=None)]
    assert [one.event for one in assign_to_trades(events, {}, ["b"])] == events


@pytest.mark.parametrize("seed", seeds(50, 100))
def test_the_parts_add_up_and_a_trade_never_changes_side(seed: int) -> None:
    rng = random.Random(seed)
    trades = [
        Trade("b", str(n), rng.choice(["long", "short", None]), rng.choice([None, 2 * SCALE]))
        for n in range(4)
    ]
    events = [fill(n, rng.choice([-5, -2, -1, 1, 3, 4])) for n in range(20)]
    trades_of = {
        ("b", one.event_id): rng.sample(trades, rng.randint(0, 2))
        for one in events
        if rng.random() < 0.8
    }
    owned = assign_to_trades(events, trades_of, ["b"])
    for event in events:
        parts = [one.event for one in owned if one.event.event_id == event.event_id]
        assert sum(Decimal(one.qty or 0) for one in parts) == event.qty
        assert sum(one.amount for one in parts) == event.amount
    held: dict[str, Decimal] = defaultdict(Decimal)
    for one in owned:
        owner, qty = str(one.event.bot), one.event.qty or Decimal(0)
        before = held[owner]
        held[owner] += qty
        if not owner.endswith(SEPARATOR):
            assert before * held[owner] >= 0
