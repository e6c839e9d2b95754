"""What is known of one bot on both sides: its trades as booked, and as the broker has them."""

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
    """One cause in a session that it counts in: `amount` in units of 10^-18, claimed − truth."""

    bot: str
    session_date: date
    trade_id: str | None
    instrument: str | None
    cause: Cause
    amount: int
    says: str


@dataclass(slots=True)
class Story:
    """What the broker has of one trade, and what that realised; money in units of 10^-18."""

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
        """What it earned so far."""
        return self.gross + self.fees + self.funding

    def book(self, event: Event, row: SessionPnl) -> None:
        """Add what one of its fills realised, or an entry on what it holds."""
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
        """Return it as the walk from the bot's row needs it."""
        return Actual(
            *(self.parts, Fraction(self.multiplier), self.is_inverse, self.gross, self.fees),
            *(self.funding, self.has_other_fees, self.is_in_account_currency),
        )


@dataclass(slots=True)
class Case:
    """One bot whose claim and truth are not the same.

    `claimed` is what it claims by session, `truth` what it realised, `own` what its trades and the
    rest of its fills did, each by itself. `stories` are its trades by its own fills, `seen` those
    in which others' fills are, by all of them, `beside` these by its own fills and those of no bot,
    and `first` those restated since, as they were told first. Where something is not known,
    `is_known` is False: nothing is explained, as `why_unknown` says.
    """

    bot: str
    account: str
    is_by_payment: bool
    first_date: date
    last_date: date
    window_start: datetime
    booked: list[dict[str, Any]] = field(default_factory=list)
    claimed: dict[date, int] = field(default_factory=dict)
    truth: dict[date, int] = field(default_factory=dict)
    own: dict[date, int] = field(default_factory=lambda: defaultdict(int))
    stories: dict[str, Story] = field(default_factory=dict)
    seen: dict[str, Story] = field(default_factory=dict)
    beside: dict[str, Story] = field(default_factory=dict)
    first: dict[str, Story] = field(default_factory=dict)
    restated: set[str] = field(default_factory=set)
    """The trades of which the broker restated a fill without saying what it was."""
    found: list[Found] = field(default_factory=list)
    is_known: bool = True
    why_unknown: str = "not all of its fills can be valued, or told apart"
    system: Collection[str] = ()
    """The fills that are the venue's own."""
    is_by_fill: bool = False
    """Whether its books have a row for each fill: then `entries` are these, in their order."""
    entries: dict[str, Entry] = field(default_factory=dict)
    paired: Paired = field(default_factory=Paired)
    fills: list[Realised] = field(default_factory=list)
    """What each of its own fills realised, where its books have a row for each fill."""

    def story(self, trade_id: str) -> Story:
        """Return the story of a trade, a new one where nothing was told of it yet."""
        return self.stories.setdefault(trade_id, Story(self.is_by_payment))

    def measure(self, row: SessionPnl) -> int:
        """Return what counts of a row: what it realised, or for a bot that books payments, paid."""
        money = (row.gross, row.fees, row.funding, row.other)
        open_costs = (row.open_costs,) if self.is_by_payment else ()
        self.is_known &= None not in (*money, *open_costs)
        return sum(one or 0 for one in (*money, *open_costs))

    def note(
        self,
        session: date,
        step: Step,
        *,
        trade_id: str | None = None,
        instrument: str | None = None,
    ) -> None:
        """Note one cause, if it counts in a session of the window."""
        if step.amount and self.first_date <= session <= self.last_date:
            self.found.append(
                Found(self.bot, session, trade_id, instrument, step.cause, step.amount, step.says)
            )
