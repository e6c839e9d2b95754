"""hummingbot's fills through a night: costs booked as they are paid, and held against `paid`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from tests.bot_databases.test_hummingbot import fill
from tests.support.bots import HUMMINGBOT, Row, database
from tests.support.fleet import (
    FACES,
    Deal,
    Document,
    Trader,
    account,
    book_all,
    deals,
    one_night,
    reckoned,
)

STRICT = 'tolerance_pct = 0\ntolerance_abs = "0.001"'
BOT = Trader(
    claims=None, database="sqlite:///bot.sqlite", mapping="hummingbot", costs_booked="when_paid"
)


def fills_of(plan: Sequence[Deal], *, is_paying: bool = True) -> list[Row]:
    """Return the account's fills as hummingbot books them; without fees where it does not pay."""
    return [
        fill(
            number,
            deal.side.upper(),
            _text(deal.qty * FACES[deal.instrument]),
            str(deal.price),
            _text(-deal.fee if is_paying else Fraction(0)),
            symbol=deal.instrument.removesuffix("-SWAP"),
            timestamp=int(deal.at.timestamp() * 1000),
        )
        for number, deal in enumerate(plan)
    ]


def _text(value: Fraction) -> str:
    return str(Decimal(value.numerator) / value.denominator)


def night(folder: Path, plan: Sequence[Deal], fills: list[Row]) -> Document:
    database(folder / "bot.sqlite", HUMMINGBOT, TradeFill=fills)
    book = account()
    book_all(book, plan)
    document = one_night(folder, book, bots=[BOT], settings=STRICT)
    (bot,) = document["bots"]
    assert bot["reasons"] == []
    return dict(bot)


def test_honest_books_agree_to_the_last_digit(tmp_path: Path) -> None:
    plan = deals(60)
    bot = night(tmp_path, plan, fills_of(plan))
    truth = reckoned(plan)
    assert (bot["status"], bot["window"]["divergence"]) == ("agreed", "0")
    paid = truth["net"] + truth["open_costs"]
    assert abs(Fraction(bot["window"]["claimed"]) - paid) < Fraction(1, 10**12)


def test_books_without_fees_are_off_by_the_fees(tmp_path: Path) -> None:
    plan = deals(120)
    bot = night(tmp_path, plan, fills_of(plan, is_paying=False))
    fees = sum((-deal.fee for deal in plan), Fraction(0))
    amount = Decimal(bot["window"]["divergence"])
    assert bot["status"] == "diverged"
    assert Fraction(amount) == fees
    causes = {one["cause"]: Decimal(one["amount"]) for one in bot["window"]["causes"]}
    assert causes == {"fee_missing": amount, "unexplained": 0}
