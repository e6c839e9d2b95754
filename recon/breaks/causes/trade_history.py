"""The trades of one bot on both sides: as it booked them, and as the broker executed them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from recon.breaks.causes.by_fill import Realised
from recon.breaks.causes.decomposition import Actual, Part, Step
from recon.breaks.causes.fill_matching import Entry, Paired
from recon.breaks.causes.ownership import effective
from recon.core.numbers import SCALE
from recon.core.records import Cause
from recon.lots.realise import Event, SessionPnl


class Found(NamedTuple):
    """One cause in the session where it counts: `amount` in units of 10^-18, claimed − broker."""

    bot: str
    session_date: date
    trade_id: str | None
    instrument: str | None
    cause: Cause
    amount: int
    says: str


@dataclass(slots=True)
class TradeActuals:
    """The broker's side of one trade: its fills and its PnL, in units of 10^-18."""

    is_by_payment: bool
    parts: list[Part] = field(default_factory=list)
    gross: int = 0
    fees: int = 0
    funding: int = 0
    by_session: dict[date, int] = field(default_factory=lambda: defaultdict(int))
    multiplier: Decimal = Decimal(1)
    is_inverse: bool = False
    has_other_fees: bool = False
    is_in_account_currency: bool = True

    @property
    def net(self) -> int:
        """The PnL realised so far."""
        return self.gross + self.fees + self.funding

    def add(self, event: Event, row: SessionPnl) -> None:
        """Add the PnL of one of the trade's fills, or of a ledger entry on its position."""
        gross, fees, funding = row.gross or 0, row.fees or 0, row.funding or 0
        if self.is_by_payment and event.kind == "funding":
            funding += row.open_costs or 0
        elif self.is_by_payment:
            fees, funding = fees + funding + (row.open_costs or 0), 0
        self.gross += gross
        self.fees += fees
        self.funding += funding
        self.by_session[row.session_date] += gross + fees + funding
        if event.kind == "funding":
            return
        self.parts.append(Part(Fraction(effective(event), SCALE), Fraction(event.price or 0)))
        self.multiplier, self.is_inverse = event.multiplier or Decimal(1), bool(event.is_inverse)
        self.has_other_fees |= bool(event.amount) and event.fee_in == "account"
        self.is_in_account_currency &= event.rate == 1

    def actual(self) -> Actual:
        """Return the trade in the form that `decompose` takes."""
        return Actual(
            *(self.parts, Fraction(self.multiplier), self.is_inverse, self.gross, self.fees),
            *(self.funding, self.has_other_fees, self.is_in_account_currency),
        )


@dataclass(slots=True)
class BotAttribution:
    """One bot whose claim differs from its broker PnL, and the causes found so far.

    By session: `claimed` is the claimed PnL, `broker_pnl` the broker PnL, and `by_trades` the sum
    over its trades and its remaining fills, each with lots of its own.

    By trade: `actuals` has every trade with the bot's own fills. `with_all_fills` has the trades
    that contain fills of others, with all fills. `without_others` has the same trades with the
    bot's own fills and unowned fills. `as_first_reported` has the trades that the broker restated,
    with the figures that it reported first.

    If a figure is unknown, `is_known` is False, the whole divergence is unexplained, and
    `unknown_reason` says why.
    """

    bot: str
    account: str
    is_by_payment: bool
    first_date: date
    last_date: date
    window_start: datetime
    booked: list[dict[str, Any]] = field(default_factory=list)
    claimed: dict[date, int] = field(default_factory=dict)
    broker_pnl: dict[date, int] = field(default_factory=dict)
    by_trades: dict[date, int] = field(default_factory=lambda: defaultdict(int))
    actuals: dict[str, TradeActuals] = field(default_factory=dict)
    with_all_fills: dict[str, TradeActuals] = field(default_factory=dict)
    without_others: dict[str, TradeActuals] = field(default_factory=dict)
    as_first_reported: dict[str, TradeActuals] = field(default_factory=dict)
    restated: set[str] = field(default_factory=set)
    """The trades with a fill that the broker restated without giving the earlier figures."""
    found: list[Found] = field(default_factory=list)
    is_known: bool = True
    unknown_reason: str = "not all of its fills can be valued or distinguished"
    system: Collection[str] = ()
    """The ids of the venue's own fills."""
    is_by_fill: bool = False
    """Whether its database has one row for each fill. If so, `entries` has these rows in order."""
    entries: dict[str, Entry] = field(default_factory=dict)
    paired: Paired = field(default_factory=Paired)
    fills: list[Realised] = field(default_factory=list)
    """The bot's own fills with their PnL, where its database has one row for each fill."""

    def actuals_of(self, trade_id: str) -> TradeActuals:
        """Return the broker's side of a trade; create it if there is none yet."""
        return self.actuals.setdefault(trade_id, TradeActuals(self.is_by_payment))

    def measure(self, row: SessionPnl) -> int:
        """Return the PnL of a row. For a bot that books costs when paid, it includes open costs."""
        money = (row.gross, row.fees, row.funding, row.other)
        open_costs = (row.open_costs,) if self.is_by_payment else ()
        self.is_known &= None not in (*money, *open_costs)
        return sum(one or 0 for one in (*money, *open_costs))

    def record(
        self,
        session: date,
        step: Step,
        *,
        trade_id: str | None = None,
        instrument: str | None = None,
    ) -> None:
        """Record one cause if its amount is not 0 and its session is in the window."""
        if step.amount and self.first_date <= session <= self.last_date:
            self.found.append(
                Found(self.bot, session, trade_id, instrument, step.cause, step.amount, step.says)
            )
