from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from recon.core.numbers import SCALE
from recon.core.records import Method
from recon.lots.realise import (
    Bystander,
    ClosingBook,
    ClosingLot,
    Event,
    Opening,
    SessionPnl,
    realise,
    realise_each,
)
from tests.conftest import seeds

START = datetime(2026, 5, 1)
FILL = Event(
    "okx",
    "BTC",
    "fill",
    "0",
    START,
    date(2026, 5, 1),
    "a",
    "net",
    Decimal(1),
    Decimal(100),
    Decimal(1),
    False,
    Decimal(0),
    "settlement",
    Decimal(1),
)


def fill(number: int, bot: str | None, qty: str, price: str, **more: Any) -> Event:
    return FILL._replace(
        event_id=str(number),
        at=START + timedelta(minutes=number),
        bot=bot,
        qty=Decimal(qty),
        price=Decimal(price),
        **more,
    )


def cash(number: int, kind: str, amount: str, owner: str | None = "a", **more: Any) -> Event:
    return fill(number, owner, "0", "0")._replace(
        kind=kind,
        qty=None,
        price=None,
        multiplier=None,
        is_inverse=None,
        fee_in=None,
        amount=Decimal(amount),
        **more,
    )


def realised(
    events: Sequence[Event], method: Method = "average"
) -> tuple[list[SessionPnl], list[ClosingBook]]:
    items = list(realise(events, {"okx": method}))
    last = {(item.instrument, item.book): item for item in items if isinstance(item, ClosingBook)}
    return (
        [item for item in items if isinstance(item, SessionPnl)],
        [book for book in last.values() if book.qty],
    )


def sums(rows: Sequence[SessionPnl], name: str) -> dict[str, Decimal]:
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        key = "account" if row.scope == "account" else str(row.bot)
        totals[key] += Decimal(getattr(row, name)) / SCALE
    return dict(totals)


def test_under_one_bot_a_pair_the_account_is_the_bot() -> None:
    rng = random.Random(7)
    for _ in range(200):
        events = [
            cash(n, "funding", f"{rng.randint(-500, 500)}")
            if rng.random() < 0.2
            else fill(
                n,
                "a",
                f"{rng.choice([-3, -1, 2, 5])}",
                f"{rng.randint(50, 150)}",
                amount=Decimal(rng.randint(-9, 1)),
            )
            for n in range(rng.randint(1, 30))
        ]
        rows, _ = realised(events, rng.choice(["average", "fifo"]))
        for name in ("gross", "fees", "funding", "open_costs"):
            both = sums(rows, name)
            assert both.get("a") == both.get("account")


def test_two_bots_on_one_instrument_net_each_other() -> None:
    rows, _ = realised(
        [
            fill(1, "a", "1", "100"),
            fill(2, "b", "-1", "110"),
            fill(3, "a", "-1", "120"),
            fill(4, "b", "1", "130"),
        ]
    )
    # a gains 20 and b loses 20; the account sold at 110 what it bought at 100, then 120 - 130.
    assert sums(rows, "gross") == {"a": 20, "b": -20, "account": 0}


def test_funding_follows_who_holds_the_position_in_proportion() -> None:
    rows, _ = realised(
        [
            fill(1, "a", "3", "100"),
            fill(2, None, "1", "100"),
            cash(3, "funding", "-8", "owner"),
            fill(4, "a", "-3", "100"),
            fill(5, None, "-1", "100"),
        ]
    )
    assert sums(rows, "funding") == {"a": -6, "None": -2, "account": -8}


def test_a_short_receives_what_a_long_pays() -> None:
    rows, _ = realised(
        [
            fill(1, "a", "3", "100"),
            fill(2, "b", "-1", "100"),
            cash(3, "funding", "-8"),
            fill(4, "a", "-3", "100"),
            fill(5, "b", "1", "100"),
        ]
    )
    assert sums(rows, "funding") == {"a": -12, "b": 4, "account": -8}


def test_with_nobody_holding_it_funding_goes_to_the_owner_at_once() -> None:
    rows, _ = realised([cash(1, "funding", "-8", "a")])
    assert sums(rows, "funding") == {"a": -8, "account": -8}
    rows, _ = realised([cash(1, "funding", "-8", None)])
    assert sums(rows, "funding") == {"None": -8, "account": -8}


def test_interest_and_the_like_are_other_and_count_at_once() -> None:
    rows, _ = realised([fill(1, "a", "1", "100"), cash(2, "interest", "-3")])
    assert sums(rows, "other") == {"a": -3, "account": -3}


def test_what_is_paid_is_net_and_carried() -> None:
    rows, still_open = realised(
        [
            fill(1, "a", "4", "100", amount=Decimal(-4)),
            cash(2, "funding", "-2"),
            fill(3, "a", "-1", "110", amount=Decimal(-1)),
        ]
    )
    own = [row for row in rows if row.scope == "bot"]
    net = sum((row.gross or 0) + (row.fees or 0) + (row.funding or 0) for row in own)
    open_costs = sum(row.open_costs or 0 for row in own)
    assert net == (10 * SCALE - 2 * SCALE) - SCALE // 2
    assert open_costs == -3 * SCALE - 3 * SCALE // 2
    assert net + open_costs == (10 - 4 - 2 - 1) * SCALE
    assert {(lot.scope, lot.qty, lot.cost) for lot in still_open} == {
        ("bot", 3 * SCALE, 300 * SCALE),
        ("account", 3 * SCALE, 300 * SCALE),
    }


def test_a_fee_taken_in_the_base_coin_leaves_that_much_less_to_sell() -> None:
    rows, still_open = realised(
        [
            fill(1, "a", "1", "100", amount=Decimal("-0.01"), fee_in="base"),
            fill(2, "a", "-0.99", "200"),
        ]
    )
    assert sums(rows, "gross")["a"] == 99
    assert sums(rows, "fees")["a"] == -1
    assert still_open == []


def test_another_currency_is_converted_at_the_event_s_own_rate() -> None:
    rows, _ = realised(
        [
            fill(1, "a", "1", "100", rate=Decimal("1.1")),
            fill(2, "a", "-1", "110", rate=Decimal("1.2")),
        ]
    )
    assert sums(rows, "gross") == {"a": 12, "account": 12}


@pytest.mark.parametrize(
    "unknown",
    [
        {"rate": None},
        {"fee_in": "unknown"},
        {"multiplier": Decimal("1e-18"), "price": Decimal("0.1")},
    ],
)
def test_what_cannot_be_valued_is_unknown_and_never_zero(unknown: dict[str, Any]) -> None:
    events = [fill(1, "a", "1", "100")._replace(**unknown)]
    rows, still_open = realised(events)
    assert {row.gross for row in rows} == {None if "price" not in unknown else 0}
    assert {lot.is_valued for lot in still_open} == {False}


def test_what_was_held_before_the_window_has_no_known_cost_until_it_is_flat() -> None:
    held = fill(0, "a", "3", "1")._replace(kind="opening", price=None, event_id="opening")
    events = [
        held,
        fill(1, "a", "1", "100", amount=Decimal(-1)),
        cash(2, "funding", "-2"),
        fill(1440, "a", "-2", "110"),
        fill(2880, "a", "-2", "110"),
        fill(2881, "a", "1", "100"),
        fill(4320, "a", "-1", "107"),
    ]
    dated = [event._replace(session_date=event.at.date()) for event in events]
    rows, still_open = realised(dated)
    assert still_open == []
    mine = {row.session_date.day: row for row in rows if row.scope == "bot"}
    assert [mine[day].gross for day in (1, 2, 3)] == [0, None, None]
    assert mine[1].open_costs == -3 * SCALE
    assert mine[4].gross == 7 * SCALE
    assert mine[1].fills == 1


@pytest.mark.parametrize("price", ["80", None])
def test_through_zero_what_was_held_before_is_closed_and_the_rest_is_known(price: Any) -> None:
    held = fill(0, "a", "3", "1")._replace(kind="opening", price=price and Decimal(price))
    rows, [left, _] = realised([held, fill(1, "a", "-5", "100")])
    assert {row.gross for row in rows if row.closed_qty} == {60 * SCALE if price else None}
    assert (left.qty, left.cost, left.is_valued) == (-2 * SCALE, 200 * SCALE, True)


def history(rng: random.Random) -> list[Event]:
    """Some weeks of one instrument: bots and nobody, both sides, costs, a broken value at times."""
    events: list[Event] = []
    minutes = 0
    sides = rng.choice([["net"], ["long", "short"]])
    for n in range(rng.randint(1, 60)):
        minutes += rng.choice([0, 1, 300, 1500, 4000])
        at = START + timedelta(minutes=minutes)
        when: dict[str, Any] = {"at": at, "session_date": at.date()}
        bot = rng.choice(["a", "b", None])
        if rng.random() < 0.25:
            kind = rng.choice(["funding", "funding", "fee", "interest"])
            events.append(cash(n, kind, f"{rng.randint(-500, 500)}", bot)._replace(**when))
            continue
        qty = rng.choice([-7, -3, -1, 1, 2, 5]) * Decimal(10) ** rng.randint(-4, 2)
        rate = rng.choice([None, Decimal("1.1")]) if rng.random() < 0.05 else Decimal(1)
        fee = Decimal(rng.randint(-900, 100)) / 1000
        terms: dict[str, Any] = {
            "position_side": rng.choice(sides),
            "amount": fee,
            "rate": rate,
            **when,
        }
        events.append(fill(n, bot, "1", f"{rng.randint(50, 150)}")._replace(qty=qty, **terms))
    return events


def left_before(
    items: Sequence[SessionPnl | ClosingBook | ClosingLot | Bystander], session: date
) -> Opening | None:
    """How the sessions before one left the books, from what every session told of itself."""
    books = {b.book: b for b in items if isinstance(b, ClosingBook) and b.session_date < session}
    lots = {
        (lot.book, lot.lot): lot
        for lot in items
        if isinstance(lot, ClosingLot) and lot.session_date < session
    }
    still = [lots[name] for name in sorted(lots) if lots[name].qty]
    return Opening([books[number] for number in sorted(books)], still) if books else None


@pytest.mark.parametrize("method", ["average", "fifo"])
def test_a_run_goes_on_from_where_any_session_left_it(method: Method) -> None:
    rng = random.Random(11)
    for _ in range(150):
        events = history(rng)
        whole = list(realise(events, {"okx": method}))
        for session in sorted({event.session_date for event in events}):
            opening = left_before(whole, session)
            rest = [event for event in events if event.session_date >= session]
            again = realise(rest, {"okx": method}, {("okx", "BTC"): opening} if opening else {})
            assert list(again) == [item for item in whole if item.session_date >= session]


@pytest.mark.parametrize("method", ["average", "fifo"])
def test_event_by_event_it_adds_up_to_the_sessions(method: Method) -> None:
    for seed in seeds(20, 20):
        events = history(random.Random(seed))
        rows, _ = realised(events, method)
        each: dict[tuple[Any, ...], list[int | None]] = {}
        for _, row in realise_each(events, {"okx": method}):
            key = row.instrument, row.bot, row.session_date
            each[key] = [
                None if a is None or b is None else a + b
                for a, b in zip(each.get(key, [0] * 7), row[5:12], strict=True)
            ]
        sessions = {
            (row.instrument, row.bot, row.session_date): list(row[5:12])
            for row in rows
            if row.scope == "bot"
        }
        assert each == sessions


def test_disorder_is_refused() -> None:
    with pytest.raises(ValueError, match="out of order"):
        realised([fill(2, "a", "1", "1"), fill(1, "a", "1", "1")])
    with pytest.raises(ValueError, match="out of order"):
        realised([fill(1, "a", "1", "1"), fill(1, "a", "1", "1")._replace(instrument="ABC")])


def by(items: Sequence[object], scope: str, name: str) -> dict[str, Decimal]:
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in items:
        if isinstance(row, SessionPnl) and row.scope == scope:
            totals[row.instrument] += Decimal(getattr(row, name)) / SCALE
    return dict(totals)


def test_the_broker_s_side_is_its_own_method_in_the_instrument_s_currency() -> None:
    events = [
        fill(1, "a", "1", "10", rate=Decimal("1.1"), amount=Decimal(-1)),
        fill(2, "b", "1", "20", rate=Decimal("1.1")),
        fill(3, "b", "-1", "30", rate=Decimal("1.2"), amount=Decimal(-2)),
    ]
    items = list(realise(events, {"okx": "average"}, brokers={"okx": "fifo"}))
    assert by(items, "broker", "gross") == {"BTC": Decimal(20)}
    assert by(items, "broker", "fees") == {"BTC": Decimal(-3)}
    assert by(items, "account", "gross") == {"BTC": Decimal(18)}
    assert not any(
        row.scope == "broker"
        for row in realise(events, {"okx": "fifo"})
        if isinstance(row, SessionPnl)
    )


@pytest.mark.parametrize("seed", seeds(4, 10))
def test_the_broker_s_side_counts_each_lot_that_a_fill_closes(seed: int) -> None:
    rng = random.Random(seed)
    events: list[Event] = []
    lots: list[int] = []
    sessions: defaultdict[date, int] = defaultdict(int)
    for n in range(60):
        qty = rng.choice([-7, -2, -1, 1, 2, 5])
        events.append(fill(n, rng.choice("ab"), str(qty), str(rng.randint(50, 150))))
        left, day = qty, events[-1].session_date
        while left and lots and lots[0] * left < 0:
            part = min(abs(left), abs(lots[0]))
            lots[0] += part if lots[0] < 0 else -part
            left += part if left < 0 else -part
            sessions[day] += 1
            lots = lots if lots[0] else lots[1:]
        lots += [left] if left else []
    items = realise(events, {"okx": "average"}, brokers={"okx": "fifo"})
    rows = [row for row in items if isinstance(row, SessionPnl)]
    counted = {row.session_date: row.closed_lots for row in rows if row.scope == "broker"}
    assert {day: count for day, count in counted.items() if count} == dict(sessions)
    assert not any(row.closed_lots for row in rows if row.scope != "broker")


@pytest.mark.parametrize(
    ("option", "stock", "price", "realised"),
    [
        # Sold a put for 5 and took 10 at 50: they cost 495, and the fees of both.
        (("-1", "5"), "10", "50", {"bought": Decimal(600) - Decimal(450)}),
        # Bought a call for 5 and took 10 at 50: they cost 550.
        (("1", "5"), "10", "50", {"bought": Decimal(600) - Decimal(550)}),
        # Sold a call for 5 and delivered 10 at 50: they brought 550.
        (("-1", "5"), "-10", "50", {"bought": Decimal(550) - Decimal(600)}),
    ],
)
def test_an_option_s_premium_goes_into_what_it_delivers(
    option: tuple[str, str], stock: str, price: str, realised: dict[str, Decimal]
) -> None:
    family: dict[str, Any] = {"family": "S", "instrument": "S C"}
    back = str(-Decimal(option[0]))
    events = [
        fill(1, "a", *option, multiplier=Decimal(10), amount=Decimal(-1), **family),
        fill(
            2,
            "a",
            back,
            "0",
            multiplier=Decimal(10),
            kind="exercise",
            to_instrument="S",
            exercise_id="x",
            **family,
        ),
        fill(2, "a", stock, price, instrument="S", exercise_id="x", family="S", amount=Decimal(-2)),
        fill(3, "a", str(-Decimal(stock)), "60", instrument="S", family="S"),
    ]
    items = list(realise(events, {"okx": "fifo"}, brokers={"okx": "fifo"}))
    for scope in ("bot", "account", "broker"):
        assert by(items, scope, "gross") == {"S C": Decimal(0), "S": realised["bought"]}
        assert by(items, scope, "fees") == {"S C": Decimal(0), "S": Decimal(-3)}
        assert sum(by(items, scope, "open_costs").values()) == 0


def test_an_exercise_of_more_than_is_held_is_not_valued() -> None:
    events = [
        fill(
            1, "a", "-1", "0", instrument="O", family="O", to_instrument="S", exercise_id="x"
        )._replace(kind="exercise"),
        fill(1, "a", "1", "50", instrument="S", exercise_id="x", family="O"),
    ]
    items = list(realise(events, {"okx": "fifo"}))
    rows = [item for item in items if isinstance(item, SessionPnl) and item.instrument == "O"]
    assert {row.gross for row in rows} == {None}
    books = [item for item in items if isinstance(item, ClosingBook) and item.instrument == "S"]
    assert {book.is_valued for book in books} == {False}


def test_splits_and_other_names_conserve_cost_for_every_owner() -> None:
    change = fill(0, None, "0", "0")
    events = [
        fill(1, "a", "3", "10", family="BTC", amount=Decimal(-1)),
        fill(2, "b", "1", "20", family="BTC"),
        change._replace(
            kind="split",
            event_id="s",
            at=START + timedelta(minutes=3),
            qty=Decimal(8),
            family="BTC",
        ),
        change._replace(
            kind="move",
            event_id="m",
            at=START + timedelta(minutes=4),
            qty=Decimal(-12),
            to_instrument="NEW",
            family="BTC",
        ),
        fill(5, "a", "-9", "5", instrument="NEW", family="BTC"),
        fill(6, "b", "-3", "5", instrument="NEW", family="BTC"),
    ]
    items = list(realise(events, {"okx": "fifo"}, brokers={"okx": "fifo"}))
    rows = [item for item in items if isinstance(item, SessionPnl) and item.instrument == "NEW"]
    assert sums([row for row in rows if row.scope == "bot"], "gross") == {
        "a": Decimal(15),
        "b": Decimal(-5),
    }
    assert (
        by(items, "account", "gross")["NEW"] == by(items, "broker", "gross")["NEW"] == Decimal(10)
    )
    assert by(items, "account", "fees")["NEW"] == Decimal(-1)
    last = {(b.instrument, b.book): b for b in items if isinstance(b, ClosingBook)}
    assert {book.qty for book in last.values()} == {0}


@pytest.mark.parametrize("kind", ["split", "move"])
def test_what_does_not_fit_what_is_held_is_not_valued(kind: str) -> None:
    events = [
        fill(1, "a", "3", "10", family="BTC"),
        fill(
            2, None, "0", "0", family="BTC", to_instrument="NEW" if kind == "move" else None
        )._replace(kind=kind, qty=Decimal(-4)),
        fill(3, "a", "-1", "12", family="BTC"),
    ]
    rows = [item for item in realise(events, {"okx": "fifo"}) if isinstance(item, SessionPnl)]
    assert rows[-1].gross is None
