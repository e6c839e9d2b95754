"""What the compiled kernel refuses, and what it hands over to the plain program."""

from __future__ import annotations

import random
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest

from recon.core.records import Method
from recon.errors import IdentityError
from recon.lots.realise import Event, realise
from recon.lots.realise import Opening as PlainOpening

pytest.importorskip("numba", reason="the extra for volume is not installed")

from recon.lots.compiled import EVENTS, Opening, realise_compiled
from tests.lots.compiled.histories import (
    METHODS,
    batch_of,
    check,
    decoded,
    fill,
    keys_of,
    opened,
    run,
    sorted_out,
)


@pytest.mark.parametrize(
    "unordered",
    [
        [fill(2), fill(1)],
        [fill(9999), fill(1)],
        [fill(1), fill(2, instrument="ABC")],
        [fill(1), fill(2, rate=Decimal(-2), instrument="X"), fill(3)],
    ],
)
def test_disorder_is_refused_across_batches_too(unordered: list[Event]) -> None:
    with pytest.raises(ValueError, match="events are out of order at"):
        run([unordered])
    with pytest.raises(ValueError, match="events are out of order at"):
        run([[event] for event in unordered])


def test_a_later_session_may_begin_at_an_earlier_time() -> None:
    events = [fill(9), fill(1, session_date=date(2026, 6, 1))]
    assert check(random.Random(0), events, "fifo") == []


@pytest.mark.parametrize(
    "event",
    [
        fill(1)._replace(qty=None),
        fill(1)._replace(price=None),
        fill(1)._replace(multiplier=None),
        fill(1, qty="0"),
        fill(1, amount=Decimal(-1), fee_in="base"),
        fill(1, price="-1"),
        fill(1, price="0", is_inverse=True),
        fill(1, rate=Decimal(-1)),
        fill(1, rate=Decimal("20.000000000000000001")),
        fill(1, amount=Decimal("1e14"), rate=Decimal(100)),
        fill(1, "-1", "1e14", rate=Decimal(100)),
        fill(1, amount=Decimal("1e16")),
        fill(1, qty="1e19"),
        fill(1, qty="1e9", price="1e9"),
        fill(1, qty="1000000000.000000000000000001"),
        fill(1, price="1000000000.000000000000000001"),
        fill(1, kind="funding", amount=Decimal("-1e16")),
        fill(1, kind="fee", rate=Decimal("-0.5")),
        fill(1, kind="fee", amount=Decimal("-1e14"), rate=Decimal("1e9")),
    ],
)
def test_what_does_not_fit_is_handed_over_with_all_of_its_instrument(event: Event) -> None:
    before, after = fill(0), fill(2, session_date=date(2026, 6, 1))
    others = [fill(1, instrument="ABC"), before, event, after, fill(1, instrument="XYZ")]
    outcome = run([others])
    assert outcome.handed_over == [1]
    alone = run([[fill(1, instrument="ABC"), fill(1, instrument="XYZ")]])
    for ours, theirs in zip(
        decoded(outcome, keys_of(others)),
        decoded(alone, [("okx", "ABC"), ("okx", "XYZ")]),
        strict=True,
    ):
        assert ours == theirs


@pytest.mark.parametrize("method", METHODS)
def test_sums_that_outgrow_their_words_are_handed_over(method: Method) -> None:
    bought = [fill(n, qty="4e18", price="0.0001") for n in range(3)]
    assert run([bought], method).handed_over == [0]
    dear = [fill(n, qty="10", price="60000000000000") for n in range(3)]
    assert run([dear], method).handed_over == [0]
    assert check(random.Random(0), bought[:1], method) == []
    assert check(random.Random(0), dear[:1], method) == []
    # 3 · 10^18 whole contracts fit, and a tenth of one beside them does not.
    finer = [fill(0, qty="3e18", price="0.0001"), fill(1, qty="0.1")]
    assert run([finer], method).handed_over == [0]


def test_a_price_of_nothing_is_a_price() -> None:
    events = [fill(1, price="0"), fill(2, qty="-3"), fill(3, qty="2", price="0")]
    for method in METHODS:
        assert check(random.Random(0), events, method) == []


def test_one_owner_s_lots_are_the_account_s() -> None:
    plain = list(realise([fill(1)], {"okx": "fifo"}))
    _, books, lots = sorted_out(plain)
    left = {("okx", "BTC"): PlainOpening(books, [lots[0], lots[1]._replace(value=99 * 10**18)])}
    again = [fill(2)]
    with pytest.raises(IdentityError, match="one owner"):
        list(realise(again, {"okx": "fifo"}, left))
    with pytest.raises(IdentityError, match="one owner"):
        run([again], opening=opened(left, [("okx", "BTC")]))


def test_an_opening_that_makes_no_sense_is_handed_over() -> None:
    plain = list(realise([fill(1), fill(2), fill(3, qty="-0.5")], {"okx": "fifo"}))
    _, books, lots = sorted_out(plain)
    good = PlainOpening(books, lots)
    broken = [
        PlainOpening(books, lots[1:]),
        PlainOpening([books[0]._replace(qty=7), books[1]], lots),
        PlainOpening([books[0]._replace(book=3), books[1]], lots),
        PlainOpening(books, [lots[0]._replace(value=-1), *lots[1:]]),
        PlainOpening(books, [lots[0], lots[1]._replace(consumed=1), *lots[2:]]),
        PlainOpening(books, [*lots[:3], lots[3]._replace(book=9)]),
    ]
    key = ("okx", "BTC")
    assert run([[fill(4)]], opening=opened({key: good}, [key])).handed_over == []
    for opening in broken:
        assert run([[fill(4)]], opening=opened({key: opening}, [key])).handed_over == [0]
    other = opened({key: good, ("okx", "XYZ"): good}, [key, ("okx", "XYZ")])
    with pytest.raises(ValueError, match="out of order"):
        run([[fill(4)]], opening=Opening(other.books[::-1], other.lots))
    with pytest.raises(ValueError, match="has the columns"):
        run([[fill(4)]], opening=Opening(other.lots, other.lots))


def test_a_batch_has_the_columns_of_events_and_keys_that_have_methods() -> None:
    batch = batch_of([fill(1)], [("okx", "BTC")])
    with pytest.raises(ValueError, match="columns of EVENTS"):
        realise_compiled([batch.drop_columns(["rate"])], [[0, 0]])
    with pytest.raises(ValueError, match="as there are methods"):
        realise_compiled([batch], [])
    with pytest.raises(ValueError, match="events without at"):
        realise_compiled(
            [batch.set_column(3, "at", pa.nulls(1, EVENTS.field("at").type))], [[0, 0]]
        )
    empty = realise_compiled([batch.slice(0, 0)], [[0, 0]])
    assert (empty.realised.num_rows, empty.books.num_rows, empty.lots.num_rows) == (0, 0, 0)


def test_a_tie_is_handed_over_within_a_batch_and_across() -> None:
    events = [fill(1), fill(1), fill(2)]
    keys = [(events[0].account, events[0].instrument)]
    batch = batch_of(events, keys)
    place = EVENTS.get_field_index("seq")
    for seqs, is_tied in (([5, 5, 6], True), ([5, 6, 6], False), ([6, 5, 7], True)):
        tied = batch.set_column(place, EVENTS.field("seq"), pa.array(seqs, pa.int64()))
        for size in (1, 3):
            batches = [tied.slice(row, size) for row in range(0, len(events), size)]
            assert realise_compiled(batches, [[0, 0]]).handed_over == [0] * is_tied
