"""The contract's types: records, coverage, windows and statuses. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple

from recon.outside_text import redact, redact_data

CoverageStatus = Literal["complete", "partial", "failed"]
"""How much of the requested evidence was served. Only `complete` can lead to "agreed"."""

Evidence = Literal[
    "fills", "ledger", "positions", "balances", "instruments", "rates", "bot_database", "orders"
]
"""The kinds of evidence. The document shows the coverage of the first three."""

Clock = Callable[[], datetime]
"""Returns the present time in UTC. Callers pass it in, so that tests can control time."""

AccountStatus = Literal["proven", "unproven", "failed"]
BotStatus = Literal["agreed", "diverged", "unproven"]
ProofStatus = Literal["closed", "broken", "absent"]
BreakStatus = Literal["open", "acknowledged", "resolved", "cleared"]
"""The first two stand. A person resolves a break; new evidence clears it."""

Cause = Literal[
    "fee_missing", "fee_rate_guessed", "fee_currency_value", "funding_missing", "funding_misplaced",
    "price", "quantity", "duplicate", "phantom", "unrecorded", "adopted", "multiplier", "side",
    "arithmetic", "lot_method", "currency", "correction", "timing", "dividend", "tax", "interest",
    "deleted", "unowned", "unexplained",
]  # fmt: skip
Method = Literal["average", "fifo"]
Span = Literal["window", "session"]
"""The spans over which a bot is judged: the window, and its last session (the as-of session)."""
Severity = Literal["minor", "major", "critical"]


class Record(NamedTuple):
    """One record exactly as its source gave it.

    `kind` is the source's own noun (`fill`, `bill`, `Trade`), `id` is unique within
    (venue, account, kind), and `payload` is one JSON object whose leaves are as the source wrote
    them; numbers are JSON strings, never JSON numbers, so that no digit can be lost.

    `at` (UTC) is the approximate time of an event. A run stages such a record only when it is new
    or has changed. A record without a time describes the present state, or has no readable time,
    and every run stages it.
    """

    kind: str
    id: str
    payload: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Many records of one kind, exactly as their source gave them.

    `batches` is a `pyarrow.Table` whose columns are all utf8. The first, `id`, is each record's id;
    the others are its fields, as the source names and orders them (one of them may be called `id`,
    too: use their positions), and null where the source has null.
    """

    kind: str
    batches: Any


@dataclass(frozen=True, slots=True)
class Coverage:
    """The interval that one fetch requested and the interval that it got, successful or not.

    `served_from` and `served_to` (UTC, half-open) bound the complete evidence. They have a meaning
    only if the status is `complete` or `partial`. A *snapshot* has all records of its kinds at
    `served_to`: a record of such a kind that the fetch did not return is gone. `reason` tells a
    person why the coverage is not complete, and what to do. `first_id` and `last_id` are the ids of
    the oldest and the newest record. `retries` counts repeated requests. `skew_ms` is how far this
    machine's clock ran ahead of the source's, if the source gives its time.
    """

    evidence: Evidence
    kinds: tuple[str, ...]
    status: CoverageStatus
    asked_from: datetime
    asked_to: datetime
    served_from: datetime
    served_to: datetime
    pages: int = 0
    rows: int = 0
    is_snapshot: bool = False
    reason: str = ""
    first_id: str = ""
    last_id: str = ""
    retries: int = 0
    skew_ms: int | None = None

    def __post_init__(self) -> None:
        for at in (self.asked_from, self.asked_to, self.served_from, self.served_to):
            if at.tzinfo is not UTC:
                raise ValueError(f"coverage times are UTC: {at!r}")
        if self.status != "complete" and not self.reason:
            raise ValueError("coverage that is not complete needs a reason")
        object.__setattr__(self, "reason", redact(self.reason))
        for name in ("first_id", "last_id"):
            object.__setattr__(self, name, redact_data(getattr(self, name)))


class EvidenceSpec(NamedTuple):
    """One kind of evidence whose coverage a source reports in every fetch.

    A snapshot has the state at one instant. Other evidence covers an interval.
    """

    evidence: Evidence
    kind: str
    is_snapshot: bool = False

    @property
    def is_of_the_past(self) -> bool:
        """Whether it covers events in an interval, and not the present state."""
        return not self.is_snapshot and self.evidence in {"fills", "ledger", "positions", "orders"}

    @property
    def is_for_attribution(self) -> bool:
        """Whether it only attributes fills: an account can be proven without it."""
        return self.evidence == "orders"


@dataclass(frozen=True, slots=True)
class Session:
    """One half-open UTC interval `[start, end)`, named by its as-of date."""

    date: date
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """The sessions from the account's `since` through the as-of session."""

    first: Session
    last: Session

    @property
    def start(self) -> datetime:
        """The first instant of the window (UTC)."""
        return self.first.start

    @property
    def end(self) -> datetime:
        """The first instant after the window (UTC)."""
        return self.last.end


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One check of `recon check`, with a remedy if it failed."""

    subject: str
    detail: str
    remedy: str = ""
    is_ok: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("subject", "detail", "remedy"):
            object.__setattr__(self, name, redact(getattr(self, name)))
        object.__setattr__(self, "notes", tuple(map(redact, self.notes)))


@dataclass(frozen=True, slots=True)
class Listing:
    """The instruments, by the venue's names, and the currencies that a venue lists.

    `kinds` has the requested kinds of instruments, if the account's configuration names them.
    """

    instruments: frozenset[str]
    currencies: frozenset[str]
    kinds: str = ""
