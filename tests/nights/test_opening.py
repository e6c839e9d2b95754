"""What was held before the window began: its cost is what is configured, or it is not known."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from recon.core.numbers import text
from recon.demo.venues.okx_account import OkxAccount
from tests.support.fleet import (
    BTC,
    FACES,
    NOW,
    OPENING,
    SOL,
    Desk,
    Document,
    Trader,
    account,
    one_night,
    run,
    serving,
    unpaced,
)

DAY = timedelta(days=1)
SINCE = (OPENING + DAY).date()


def desk(*lots: str) -> Desk:
    """An account whose window begins a day after it bought 5 SOL at 100."""
    return Desk(since=SINCE, more="".join(f"[[accounts.opening]]\n{lot}\n" for lot in lots))


def bought() -> OkxAccount:
    book = account()
    book.trade(SOL, "buy", 5, 100, OPENING)
    return book


def entry(document: Document) -> dict[str, Any]:
    (found,) = document["accounts"]
    return dict(found)


def test_a_configured_lot_is_proven_and_has_its_cost(tmp_path: Path) -> None:
    book = bought()
    book.trade(SOL, "sell", 2, 130, NOW - 2 * DAY, fee="-0.25")
    lots = desk(f'instrument = "{SOL}"\nqty = "5"\nprice = "100"')
    found = entry(one_night(tmp_path, book, desk=lots))
    assert (found["status"], found["proofs"]["positions"]["status"]) == ("proven", "closed")
    gross = 60 * Decimal(str(float(FACES[SOL])))
    assert found["window"]["gross"] == text(gross)
    assert found["window"]["net"] == text(gross - Decimal("0.25"))


def test_lots_of_one_instrument_are_taken_in_their_order(tmp_path: Path) -> None:
    book = bought()
    book.trade(SOL, "sell", 2, 130, NOW - 2 * DAY, fee="0")
    lots = desk(
        f'instrument = "{SOL}"\nqty = 2\nprice = 110',
        f'instrument = "{SOL}"\nqty = 3\nprice = "90"',
    )
    fifo = Desk(since=SINCE, more=f'lots = "fifo"\n{lots.more}')
    found = entry(one_night(tmp_path, book, desk=fifo))
    assert found["window"]["gross"] == text(40 * Decimal(str(float(FACES[SOL]))))


def test_at_no_price_what_closes_it_is_unproven_until_it_is_flat_once(tmp_path: Path) -> None:
    book = bought()
    book.trade(SOL, "sell", 5, 130, NOW - 3 * DAY)
    lots = desk(f'instrument = "{SOL}"\nqty = "5"')
    bots = [Trader(instruments=(SOL,), claims=())]
    with serving(book) as server, unpaced():
        document = run(tmp_path, server, desk=lots, bots=bots, as_of=(NOW - 3 * DAY).date())
        found = entry(document)
        assert (found["status"], found["proofs"]["positions"]["status"]) == ("unproven", "closed")
        assert found["window"]["net"] is None
        asked = "give it a price in [[accounts.opening]]"
        assert any(SOL in reason and asked in reason for reason in found["reasons"])
        book.trade(SOL, "buy", 3, 100, NOW - DAY, fee="0")
        book.trade(SOL, "sell", 3, 107, NOW - DAY, fee="0")
        document = run(tmp_path, server, desk=lots, bots=bots)
        assert document["bots"][0]["window"]["broker"]["net"] is None
    assert document["bots"][0]["session"]["broker"]["gross"] == text(
        21 * Decimal(str(float(FACES[SOL])))
    )


def test_what_was_never_traded_since_still_counts_as_held(tmp_path: Path) -> None:
    book = bought()
    book.trade(BTC, "buy", 1, 100, NOW - 2 * DAY, fee="0")
    found = entry(one_night(tmp_path, book, desk=desk(f'instrument = "{SOL}"\nqty = "5"')))
    assert (found["status"], found["proofs"]["positions"]["status"]) == ("proven", "closed")
    assert found["window"]["unrealised"] is None


def test_it_is_booked_with_the_first_trade_whenever_that_is(tmp_path: Path) -> None:
    book = bought()
    lots = desk(f'instrument = "{SOL}"\nqty = "5"\nprice = "100"')
    with serving(book) as server, unpaced():
        first = entry(run(tmp_path, server, desk=lots, bots=[], as_of=(NOW - 3 * DAY).date()))
        assert first["status"] == "proven"
        book.trade(SOL, "sell", 5, 130, NOW - DAY, fee="0")
        found = entry(run(tmp_path, server, desk=lots, bots=[]))
    assert found["status"] == "proven"
    assert found["window"]["gross"] == text(150 * Decimal(str(float(FACES[SOL]))))


@pytest.mark.parametrize(
    ("lot", "why"),
    [
        ('instrument = "X"\nqty = "0"', "opening.1.qty: use a number other than 0"),
        ('instrument = "X"\nqty = "-1"\nside = "long"', "a long side's qty is above 0"),
        ('instrument = "X"\nqty = "1"\nprice = "-3"', "opening.1.price: "),
        ('instrument = "X"\nqty = "1"\ncost = "3"', "opening.1.cost: an unknown key"),
    ],
)
def test_a_lot_that_cannot_be_is_refused(tmp_path: Path, lot: str, why: str) -> None:
    with pytest.raises(Exception, match=why.replace("[", r"\[").replace(".", r"\.")):
        one_night(tmp_path, bought(), desk=desk(lot))
