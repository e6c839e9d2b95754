"""Decompose the difference between a bot's trade and the broker's, one property at a time. Pure.

Every amount is a part of claimed − broker PnL: positive where the bot shows more than the broker.
Each step starts where the last one ended, so all steps add up to the difference, to the unit.
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
"""Amounts closer than this, absolutely or as a share, are equal: bots compute in floats."""
RATE_MOVES = Fraction(1, 20)
"""How far a currency's rate may move while a trade is open, as a share of its costs."""
CLEARLY = 10
"""How many times nearer a pnl must be to the gross in the trade's own currency."""
FEE_LIKE = (Fraction(1, 5), Fraction(5))
"""The range of a guessed fee, as a multiple of the fee that was paid."""


class Booked(NamedTuple):
    """One closed trade as the bot's mapping returns it; None where its database has no value.

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
    """One fill, or the part that belongs to this trade. `qty` is signed: bought is positive."""

    qty: Fraction
    price: Fraction


class Actual(NamedTuple):
    """The same trade at the broker: its fills in order, and the PnL of these fills alone.

    Amounts are in units of 10^-18 of the account's currency. `has_other_fees`: a fee was charged
    in a third coin and converted at a candle's price.
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
        """The trade's PnL."""
        return self.gross + self.fees + self.funding


class Step(NamedTuple):
    """One cause of a trade's difference: `amount` in units of 10^-18, claimed − broker PnL."""

    cause: Cause
    amount: int
    says: str = ""


class _TradeSides(NamedTuple):
    """The entry and exit sides of a trade at the broker: closed quantity and mean prices."""

    sign: int
    closed: Fraction
    entry: Fraction
    exit: Fraction
    entries: Sequence[Part]
    exits: Sequence[Part]


class _Composed(NamedTuple):
    """The parts of a pnl. `multiplier` is None if gross does not follow from the prices."""

    gross: Fraction
    fee: Fraction
    funding: Fraction
    multiplier: Fraction | None
    is_known: bool


def decompose(booked: Booked, actual: Actual) -> list[Step]:
    """Return the causes of the difference between `booked` and `actual`; none where they are equal.

    If the trade's orders closed nothing, its whole pnl has the cause `quantity`.
    """
    sides = _trade_sides(actual)
    if sides is None or not sides.closed:
        explanation = "its orders were filled, and they closed nothing"
        return _rounded([("quantity", Fraction(booked.pnl), explanation)], actual.net, booked)
    return _rounded(list(_steps(booked, actual, sides)), actual.net, booked)


def _steps(b: Booked, t: Actual, sides: _TradeSides) -> Iterator[tuple[Cause, Fraction, str]]:
    own = _composed(b, t, sides)
    rest = Fraction(b.pnl) - own.gross - own.fee - own.funding
    if own.is_known:
        yield "arithmetic", rest, "its pnl is not the sum of its own columns"
    else:
        yield "unexplained", rest, ""
    gross = own.gross
    if own.multiplier is not None:
        for cause, left, explanation in _gross_steps(b, t, sides, own.multiplier, gross):
            yield cause, gross - left, explanation
            gross = left
    yield from _last_of_gross(gross, t, sides, is_priced=own.multiplier is not None)
    fees, funding = Fraction(t.fees, SCALE), Fraction(t.funding, SCALE)
    yield _fee_cause(own.fee, t), own.fee - fees, _explain_fee(own.fee, t)
    if own.funding:
        yield "funding_misplaced", own.funding - funding, "it booked other funding than was paid"
    else:
        yield "funding_missing", -funding, "it never booked the funding"


def _composed(b: Booked, t: Actual, sides: _TradeSides) -> _Composed:
    """Return the parts of the bot's pnl, from as many of its own columns as fit."""
    pnl, fees, funding = Fraction(b.pnl), Fraction(t.fees, SCALE), Fraction(t.funding, SCALE)
    grosses = _grosses(b, t, sides)
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
        return _without_gross(b, t, sides)
    gross, multiplier = grosses[0]
    for paid in [*own_funding, Fraction(0), funding]:
        guess = pnl - gross - paid
        if b.fee is None and fees and FEE_LIKE[0] <= guess / fees <= FEE_LIKE[1]:
            return _Composed(gross, guess, paid, multiplier, is_known=True)
    fee = own_fee[0] if own_fee else Fraction(0)
    paid = own_funding[0] if own_funding else Fraction(0)
    return _Composed(gross, fee, paid, multiplier, is_known=True)


def _without_gross(b: Booked, t: Actual, sides: _TradeSides) -> _Composed:
    """Return the parts of a pnl without gross and prices, from the broker's figures."""
    pnl = Fraction(b.pnl)
    gross, fees, funding = (Fraction(one, SCALE) for one in (t.gross, t.fees, t.funding))
    for fee, paid in ((fees, funding), (fees, Fraction(0)), (Fraction(0), funding)):
        if is_same(pnl, gross + fee + paid):
            return _Composed(gross, fee, paid, None, is_known=True)
    if is_same(pnl, gross):
        return _Composed(gross, Fraction(0), Fraction(0), None, is_known=True)
    if not t.is_in_account_currency and gross:
        own = _gross(sides.sign, sides.closed * t.multiplier, sides.entry, sides.exit, t)
        costs = (fees + funding) * own / gross
        if abs(pnl - own - costs) <= abs(costs) * RATE_MOVES:
            return _Composed(pnl - fees - funding, fees, funding, None, is_known=True)
        if abs(pnl - own) * CLEARLY <= abs(pnl - gross):
            return _Composed(pnl, Fraction(0), Fraction(0), None, is_known=True)
    fee = fees if b.fee is None else Fraction(b.fee)
    paid = funding if b.funding is None else Fraction(b.funding)
    return _Composed(gross, fee, paid, None, is_known=False)


def _grosses(b: Booked, t: Actual, sides: _TradeSides) -> list[tuple[Fraction, Fraction | None]]:
    """Return the possible values of the bot's gross, the likeliest first, each with its multiplier.

    The bot's quantity is in contracts or in coins, whichever is nearer to the quantity closed.
    """
    priced: list[tuple[Fraction, Fraction | None]] = []
    entry, exit_ = _prices(b)
    if b.qty and entry and exit_:
        qty = abs(Fraction(b.qty))
        is_in_contracts = abs(qty - sides.closed) <= abs(qty - sides.closed * t.multiplier)
        multipliers = (
            [t.multiplier, Fraction(1)] if is_in_contracts else [Fraction(1), t.multiplier]
        )
        sign = _sign(b.side) or sides.sign
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
    b: Booked, t: Actual, sides: _TradeSides, multiplier: Fraction, gross: Fraction
) -> Iterator[tuple[Cause, Fraction, str]]:
    """Yield the gross after each correction: side, multiplier, quantity, then prices."""
    sign = _sign(b.side) or sides.sign
    qty = abs(Fraction(b.qty or 0))
    entry, exit_ = _prices(b)
    if sign != sides.sign:
        gross = -gross
        yield "side", gross, f"it booked a {b.side}, and the broker filled the other side"
    is_in_contracts = abs(qty - sides.closed) <= abs(qty - sides.closed * t.multiplier)
    if is_in_contracts and multiplier != t.multiplier:
        gross, multiplier = gross / multiplier * t.multiplier, t.multiplier
        explanation = (
            f"it counted one contract as 1, and a contract is {_number_text(t.multiplier)}"
        )
        yield "multiplier", gross, explanation
    coins, closed = qty * multiplier, sides.closed * t.multiplier
    if not is_same(coins, closed):
        gross = gross * closed / coins
        yield (
            "quantity",
            gross,
            f"it booked {_number_text(coins)}, and the broker closed {_number_text(closed)}",
        )
    if entry is not None and exit_ is not None:
        gross = _gross(sides.sign, closed, sides.entry, sides.exit, t)
        yield "price", gross, "; ".join(_explain_price(entry, exit_, sides))


def _last_of_gross(
    gross: Fraction, t: Actual, sides: _TradeSides, *, is_priced: bool
) -> Iterator[tuple[Cause, Fraction, str]]:
    """Yield the step from the last gross to the account's, which its lots or currency cause."""
    realised = Fraction(t.gross, SCALE)
    if not t.is_in_account_currency:
        yield "currency", gross - realised, "it counts another currency as the account's currency"
    elif is_priced:
        yield "lot_method", gross - realised, "the account's lots are matched by another method"
    else:
        by_prices = _gross(sides.sign, sides.closed * t.multiplier, sides.entry, sides.exit, t)
        cause: Cause = "price" if is_same(by_prices, realised) else "lot_method"
        yield cause, gross - realised, "its gross does not follow from the broker's prices"


def _fee_cause(booked: Fraction, t: Actual) -> Cause:
    if not booked:
        return "fee_missing"
    return "fee_currency_value" if t.has_other_fees else "fee_rate_guessed"


def _explain_fee(booked: Fraction, t: Actual) -> str:
    paid = _number_text(Fraction(-t.fees, SCALE))
    if not booked:
        return f"it never subtracted the fee of {paid}"
    return f"it booked a fee of {_number_text(-booked)}, and {paid} was paid"


def _explain_price(entry: Fraction, exit_: Fraction, sides: _TradeSides) -> Iterator[str]:
    for end, booked, mean, parts in (
        ("entry", entry, sides.entry, sides.entries),
        ("exit", exit_, sides.exit, sides.exits),
    ):
        if is_same(booked, mean):
            continue
        plain = _sum(one.price for one in parts) / len(parts)
        if len(parts) > 1 and is_same(booked, parts[0].price):
            yield f"its {end} price is the price of the first of {len(parts)} fills"
        elif len(parts) > 1 and is_same(booked, plain):
            yield f"its {end} price is the plain mean of {len(parts)} fills"
        else:
            yield f"its {end} price is {_number_text(booked)}, the broker's {_number_text(mean)}"


def _trade_sides(t: Actual) -> _TradeSides | None:
    if not t.parts:
        return None
    sign = 1 if t.parts[0].qty > 0 else -1
    entries = [one for one in t.parts if one.qty * sign > 0]
    exits = [one for one in t.parts if one.qty * sign < 0]
    closed = min(abs(_sum(one.qty for one in some)) for some in (entries, exits))
    if not closed:
        return _TradeSides(sign, Fraction(0), Fraction(0), Fraction(0), entries, exits)
    entry, exit_ = (_mean(some, is_inverse=t.is_inverse) for some in (entries, exits))
    return _TradeSides(sign, closed, entry, exit_, entries, exits)


def _sum(values: Iterable[Fraction]) -> Fraction:
    return sum(values, Fraction(0))


def _mean(parts: Sequence[Part], *, is_inverse: bool) -> Fraction:
    """Return the mean price of fills, weighted by quantity; harmonic for an inverse contract."""
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
    """Return whether two amounts are equal except for the noise of floats."""
    return abs(one - other) <= NOISE * max(Fraction(1), abs(one), abs(other))


def _number_text(value: Fraction) -> str:
    return f"{float(value):.8g}"


def _rounded(steps: Sequence[tuple[Cause, Fraction, str]], net: int, booked: Booked) -> list[Step]:
    pnl = Fraction(booked.pnl)
    return closed_by_noise(steps, int(pnl * SCALE) - net, pnl)


def closed_by_noise(
    steps: Sequence[tuple[Cause, Fraction, str]], total: int, pnl: Fraction
) -> list[Step]:
    """Return the steps in whole units that add up to `total`. The largest step takes the noise."""
    scale = max(Fraction(1), abs(pnl))
    kept = [one for one in steps if abs(one[1]) > NOISE * scale]
    amounts = [round(amount * SCALE) for _, amount, _ in kept]
    if not kept:
        return [Step("arithmetic", total, "noise of the bot's floats")] if total else []
    largest = max(range(len(kept)), key=lambda index: abs(amounts[index]))
    amounts[largest] += total - sum(amounts)
    return [
        Step(cause, amount, explanation)
        for (cause, _, explanation), amount in zip(kept, amounts, strict=True)
    ]
