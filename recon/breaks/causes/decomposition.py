"""From a bot's row to the broker's, replacing one thing at a time: what each step moved, and why.

Pure. Every amount is a share of claimed − truth: + where the bot shows more than is true. The steps
telescope: they add up to the bot's number less the broker's, to the unit, whatever they are called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from recon.core.numbers import SCALE
from recon.core.records import Cause

NOISE = Fraction(1, 10**9)
"""Amounts that lie closer than this, or than this share of them, are one: bots count in floats."""
RATE_MOVES = Fraction(1, 20)
"""By how much a currency's rate may move while a trade is open: costs in it are that exact."""
CLEARLY = 10
"""How many times nearer a pnl in a trade's own currency is to its gross than in another."""
FEE_LIKE = (Fraction(1, 5), Fraction(5))
"""What is missing from a pnl is a guessed fee where it is so many times the fee that was paid."""


class Booked(NamedTuple):
    """One closed trade as the bot's mapping gives it; None is what its books lack.

    `gross`, `fee` and `funding` are signed as cash, in the currency that `pnl` is in.
    """

    pnl: Decimal
    side: str | None = None
    qty: Decimal | None = None
    entry_price: Decimal | None = None
    exit_price: Decimal | None = None
    gross: Decimal | None = None
    fee: Decimal | None = None
    funding: Decimal | None = None


class Part(NamedTuple):
    """One fill of a trade, or the part of it that is this trade's. `qty` is signed, bought +."""

    qty: Fraction
    price: Fraction


class Actual(NamedTuple):
    """The same trade at the broker: its fills in order, and what these realised by themselves.

    Amounts in units of 10^-18 of the account's currency. `has_other_fees`: a fee was charged in a
    third coin, and is worth what a candle says.
    """

    parts: Sequence[Part]
    multiplier: Fraction
    is_inverse: bool
    gross: int
    fees: int
    funding: int
    has_other_fees: bool = False
    is_in_account_currency: bool = True

    @property
    def net(self) -> int:
        """What it earned."""
        return self.gross + self.fees + self.funding


class Step(NamedTuple):
    """One cause of a trade's difference: `amount` in units of 10^-18, claimed − truth."""

    cause: Cause
    amount: int
    says: str = ""


class _Legs(NamedTuple):
    """What the broker's fills of a trade come to: the quantity that was closed, and mean prices."""

    sign: int
    closed: Fraction
    entry: Fraction
    exit: Fraction
    entries: Sequence[Part]
    exits: Sequence[Part]


class _Composed(NamedTuple):
    """What a pnl is made of: `multiplier` None where its gross is not from quantity and prices."""

    gross: Fraction
    fee: Fraction
    funding: Fraction
    multiplier: Fraction | None
    is_known: bool


def decompose(booked: Booked, actual: Actual) -> list[Step]:
    """Return the causes by which `booked` is not `actual`; none where they are the same.

    A trade of whose orders the broker closed nothing has booked too much, whole.
    """
    legs = _legs(actual)
    if legs is None or not legs.closed:
        says = "the broker has filled its orders, and they closed nothing"
        return _rounded([("quantity", Fraction(booked.pnl), says)], actual.net, booked)
    return _rounded(list(_steps(booked, actual, legs)), actual.net, booked)


def _steps(b: Booked, t: Actual, legs: _Legs) -> Iterator[tuple[Cause, Fraction, str]]:
    own = _composed(b, t, legs)
    rest = Fraction(b.pnl) - own.gross - own.fee - own.funding
    if own.is_known:
        yield "arithmetic", rest, "its pnl is not what its own columns add up to"
    else:
        yield "unexplained", rest, ""
    gross = own.gross
    if own.multiplier is not None:
        for cause, left, says in _gross_steps(b, t, legs, own.multiplier, gross):
            yield cause, gross - left, says
            gross = left
    yield from _last_of_gross(gross, t, legs, is_priced=own.multiplier is not None)
    fees, funding = Fraction(t.fees, SCALE), Fraction(t.funding, SCALE)
    yield _fee_cause(own.fee, t), own.fee - fees, _fee_says(own.fee, t)
    if own.funding:
        yield "funding_misplaced", own.funding - funding, "it booked other funding than was paid"
    else:
        yield "funding_missing", -funding, "it never booked the funding"


def _composed(b: Booked, t: Actual, legs: _Legs) -> _Composed:
    """Return what the bot's pnl is made of: of as many of its own columns as fit."""
    pnl, fees, funding = Fraction(b.pnl), Fraction(t.fees, SCALE), Fraction(t.funding, SCALE)
    grosses = _grosses(b, t, legs)
    own_fee = [] if b.fee is None else [Fraction(b.fee)]
    own_funding = [] if b.funding is None else [Fraction(b.funding)]
    for (gross, multiplier), fee, paid in product(
        grosses,
        [*own_fee, Fraction(0), *([] if own_fee else [fees])],
        [*own_funding, Fraction(0), *([] if own_funding else [funding])],
    ):
        if is_same(pnl, gross + fee + paid):
            return _Composed(gross, fee, paid, multiplier, is_known=True)
    if not grosses:
        return _without_gross(b, t, legs)
    gross, multiplier = grosses[0]
    for paid in [*own_funding, Fraction(0), funding]:
        guess = pnl - gross - paid
        if b.fee is None and fees and FEE_LIKE[0] <= guess / fees <= FEE_LIKE[1]:
            return _Composed(gross, guess, paid, multiplier, is_known=True)
    fee = own_fee[0] if own_fee else Fraction(0)
    paid = own_funding[0] if own_funding else Fraction(0)
    return _Composed(gross, fee, paid, multiplier, is_known=True)


def _without_gross(b: Booked, t: Actual, legs: _Legs) -> _Composed:
    """Take a pnl apart of which the books say neither gross nor prices, by what the broker says."""
    pnl = Fraction(b.pnl)
    gross, fees, funding = (Fraction(one, SCALE) for one in (t.gross, t.fees, t.funding))
    for fee, paid in ((fees, funding), (fees, Fraction(0)), (Fraction(0), funding)):
        if is_same(pnl, gross + fee + paid):
            return _Composed(gross, fee, paid, None, is_known=True)
    if is_same(pnl, gross):
        return _Composed(gross, Fraction(0), Fraction(0), None, is_known=True)
    if not t.is_in_account_currency and gross:
        own = _gross(legs.sign, legs.closed * t.multiplier, legs.entry, legs.exit, t)
        costs = (fees + funding) * own / gross
        if abs(pnl - own - costs) <= abs(costs) * RATE_MOVES:
            return _Composed(pnl - fees - funding, fees, funding, None, is_known=True)
        if abs(pnl - own) * CLEARLY <= abs(pnl - gross):
            return _Composed(pnl, Fraction(0), Fraction(0), None, is_known=True)
    fee = fees if b.fee is None else Fraction(b.fee)
    paid = funding if b.funding is None else Fraction(b.funding)
    return _Composed(gross, fee, paid, None, is_known=False)


def _grosses(b: Booked, t: Actual, legs: _Legs) -> list[tuple[Fraction, Fraction | None]]:
    """Return what the bot may have taken for gross, the likeliest first, each with its multiplier.

    Its quantity is in contracts or in coins: whichever is nearer to what the broker closed.
    """
    priced: list[tuple[Fraction, Fraction | None]] = []
    entry, exit_ = _prices(b)
    if b.qty and entry and exit_:
        qty = abs(Fraction(b.qty))
        is_in_contracts = abs(qty - legs.closed) <= abs(qty - legs.closed * t.multiplier)
        multipliers = (
            [t.multiplier, Fraction(1)] if is_in_contracts else [Fraction(1), t.multiplier]
        )
        sign = _sign(b.side) or legs.sign
        priced = [
            (_gross(sign, qty * one, entry, exit_, t), one) for one in dict.fromkeys(multipliers)
        ]
    if b.gross is None:
        return priced
    gross = Fraction(b.gross)
    for value, multiplier in priced:
        if is_same(gross, value):
            return [(gross, multiplier), *priced]
    return [(gross, None), *priced]


def _prices(b: Booked) -> tuple[Fraction | None, Fraction | None]:
    prices = (b.entry_price, b.exit_price)
    return tuple(None if one is None else Fraction(one) for one in prices)  # type: ignore[return-value]


def _gross_steps(
    b: Booked, t: Actual, legs: _Legs, multiplier: Fraction, gross: Fraction
) -> Iterator[tuple[Cause, Fraction, str]]:
    """Yield what gross is left after each of side, multiplier, quantity and prices is put right."""
    sign = _sign(b.side) or legs.sign
    qty = abs(Fraction(b.qty or 0))
    entry, exit_ = _prices(b)
    if sign != legs.sign:
        gross = -gross
        yield "side", gross, f"it booked a {b.side}, and the broker the other side"
    is_in_contracts = abs(qty - legs.closed) <= abs(qty - legs.closed * t.multiplier)
    if is_in_contracts and multiplier != t.multiplier:
        gross, multiplier = gross / multiplier * t.multiplier, t.multiplier
        says = f"it took one contract for 1, and it is {_text(t.multiplier)}"
        yield "multiplier", gross, says
    coins, closed = qty * multiplier, legs.closed * t.multiplier
    if not is_same(coins, closed):
        gross = gross * closed / coins
        yield "quantity", gross, f"it booked {_text(coins)}, and the broker closed {_text(closed)}"
    if entry is not None and exit_ is not None:
        gross = _gross(legs.sign, closed, legs.entry, legs.exit, t)
        yield "price", gross, "; ".join(_price_says(entry, exit_, legs))


def _last_of_gross(
    gross: Fraction, t: Actual, legs: _Legs, *, is_priced: bool
) -> Iterator[tuple[Cause, Fraction, str]]:
    """Yield what is between the last gross and the account's own, by its lots and its currency."""
    realised = Fraction(t.gross, SCALE)
    if not t.is_in_account_currency:
        yield "currency", gross - realised, "it counts another currency as if it were the account's"
    elif is_priced:
        yield "lot_method", gross - realised, "the account's lots are matched another way"
    else:
        by_prices = _gross(legs.sign, legs.closed * t.multiplier, legs.entry, legs.exit, t)
        cause: Cause = "price" if is_same(by_prices, realised) else "lot_method"
        yield cause, gross - realised, "its gross is not that of the broker's prices"


def _fee_cause(booked: Fraction, t: Actual) -> Cause:
    if not booked:
        return "fee_missing"
    return "fee_currency_value" if t.has_other_fees else "fee_rate_guessed"


def _fee_says(booked: Fraction, t: Actual) -> str:
    paid = _text(Fraction(-t.fees, SCALE))
    if not booked:
        return f"it never subtracted the fee of {paid}"
    return f"it booked a fee of {_text(-booked)}, and {paid} was paid"


def _price_says(entry: Fraction, exit_: Fraction, legs: _Legs) -> Iterator[str]:
    for what, booked, mean, parts in (
        ("entry", entry, legs.entry, legs.entries),
        ("exit", exit_, legs.exit, legs.exits),
    ):
        if is_same(booked, mean):
            continue
        plain = _sum(one.price for one in parts) / len(parts)
        if len(parts) > 1 and is_same(booked, parts[0].price):
            yield f"its {what} price is that of the first of {len(parts)} fills"
        elif len(parts) > 1 and is_same(booked, plain):
            yield f"its {what} price is the plain mean of {len(parts)} fills"
        else:
            yield f"its {what} price is {_text(booked)}, the broker's {_text(mean)}"


def _legs(t: Actual) -> _Legs | None:
    if not t.parts:
        return None
    sign = 1 if t.parts[0].qty > 0 else -1
    entries = [one for one in t.parts if one.qty * sign > 0]
    exits = [one for one in t.parts if one.qty * sign < 0]
    closed = min(abs(_sum(one.qty for one in some)) for some in (entries, exits))
    if not closed:
        return _Legs(sign, Fraction(0), Fraction(0), Fraction(0), entries, exits)
    entry, exit_ = (_mean(some, is_inverse=t.is_inverse) for some in (entries, exits))
    return _Legs(sign, closed, entry, exit_, entries, exits)


def _sum(values: Iterable[Fraction]) -> Fraction:
    return sum(values, Fraction(0))


def _mean(parts: Sequence[Part], *, is_inverse: bool) -> Fraction:
    """Return the price at which all of them together are worth what they are worth."""
    qty = _sum(one.qty for one in parts)
    if is_inverse:
        return qty / _sum(one.qty / one.price for one in parts)
    return _sum(one.qty * one.price for one in parts) / qty


def _gross(sign: int, qty: Fraction, entry: Fraction, exit_: Fraction, t: Actual) -> Fraction:
    if t.is_inverse:
        return sign * qty * (1 / entry - 1 / exit_)
    return sign * qty * (exit_ - entry)


def _sign(side: str | None) -> int | None:
    return {"long": 1, "short": -1}.get(side or "")


def is_same(one: Fraction, other: Fraction) -> bool:
    """Return whether two amounts are one but for the noise of floats."""
    return abs(one - other) <= NOISE * max(Fraction(1), abs(one), abs(other))


def _text(value: Fraction) -> str:
    return f"{float(value):.8g}"


def _rounded(steps: Sequence[tuple[Cause, Fraction, str]], net: int, booked: Booked) -> list[Step]:
    pnl = Fraction(booked.pnl)
    return closed_by_noise(steps, int(pnl * SCALE) - net, pnl)


def closed_by_noise(
    steps: Sequence[tuple[Cause, Fraction, str]], total: int, pnl: Fraction
) -> list[Step]:
    """Return the steps in whole units that add up to `total`; noise goes to the largest."""
    scale = max(Fraction(1), abs(pnl))
    kept = [one for one in steps if abs(one[1]) > NOISE * scale]
    amounts = [round(amount * SCALE) for _, amount, _ in kept]
    if not kept:
        return [Step("arithmetic", total, "the noise of its floats")] if total else []
    largest = max(range(len(kept)), key=lambda index: abs(amounts[index]))
    amounts[largest] += total - sum(amounts)
    return [
        Step(cause, amount, says) for (cause, _, says), amount in zip(kept, amounts, strict=True)
    ]
