"""The words of the contract as types: records, coverage, windows, statuses. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple

from recon.outside_text import redact, redact_data

CoverageStatus = Literal["complete", "partial", "failed"]
"""How much of what was asked for was served. Only `complete` may end as "agreed"."""

Evidence = Literal[
    "fills", "ledger", "positions", "balances", "instruments", "rates", "bot_database", "orders"
]
"""What a coverage statement speaks of. The first three are shown in the document."""

Clock = Callable[[], datetime]
"""Gives the time now, in UTC: passed in, so that nothing here asks a clock of its own."""

AccountStatus = Literal["proven", "unproven", "failed"]
BotStatus = Literal["agreed", "diverged", "unproven"]
ProofStatus = Literal["closed", "broken", "absent"]
BreakStatus = Literal["open", "acknowledged", "resolved", "cleared"]
"""The first two stand; `resolved` is a person's word, `cleared` the evidence's."""

Cause = Literal[
    "fee_missing", "fee_rate_guessed", "fee_currency_value", "funding_missing", "funding_misplaced",
    "price", "quantity", "duplicate", "phantom", "unrecorded", "adopted", "multiplier", "side",
    "arithmetic", "lot_method", "currency", "correction", "timing", "dividend", "tax", "interest",
    "deleted", "unowned", "unexplained",
]  # fmt: skip
Method = Literal["average", "fifo"]
Span = Literal["window", "session"]
"""What a bot is judged over: the window, and its last session, the as-of session."""
Severity = Literal["minor", "major", "critical"]


class Record(NamedTuple):
    """One record exactly as its source gave it.

    `kind` is the source's own noun (`fill`, `bill`, `Trade`), `id` is unique within
    (venue, account, kind), and `payload` is one JSON object whose leaves are as the source wrote
    them; numbers are JSON strings, never JSON numbers, so that no digit can be lost.

    `at` (UTC) is about when it happened, where it is one of a growing number of things that happen
    once: a night reads such a record when it is new or has changed, and not again. Without a time
    it says how something stands now, and every night reads it: what has no readable time, too.
    """

    kind: str
    id: str
    payload: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Many records of one kind at once, exactly as their source gave them.

    `batches` is a `pyarrow.Table` whose columns are all utf8. The first, `id`, is each record's id;
    the others are its fields, as the source names and orders them (one of them may be called `id`,
    too: tell them apart by place), and null where the source has null.
    """

    kind: str
    batches: Any


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one fetch asked for and what it was served: the end of every fetch, good or bad.

    `served_from` and `served_to` (UTC, half-open) bound the evidence that is certainly whole; they
    are meaningful only where status is `complete` or `partial`. A *snapshot* states the whole of
    its kinds as they stood at `served_to`: a record of such a kind that is not among the fetch's
    records is gone. `reason` is for a person: why not complete, and what to do. `first_id` and
    `last_id` are those of the oldest and the newest record, `retries` the requests that had to be
    made again, and `skew_ms` how far this machine's clock ran ahead of the source's, where it says.
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
            raise ValueError("coverage that is not complete says why")
        object.__setattr__(self, "reason", redact(self.reason))
        for name in ("first_id", "last_id"):
            object.__setattr__(self, name, redact_data(getattr(self, name)))


class EvidenceSpec(NamedTuple):
    """One kind of evidence that a source speaks of in every fetch, well or not.

    A snapshot states how things stood at one instant; other evidence covers a stretch of time.
    """

    evidence: Evidence
    kind: str
    is_snapshot: bool = False

    @property
    def is_of_the_past(self) -> bool:
        """Whether it speaks of what happened over time, and not of what there is now."""
        return not self.is_snapshot and self.evidence in {"fills", "ledger", "positions", "orders"}

    @property
    def is_for_attribution(self) -> bool:
        """Whether it only says whose fills are: an account is proven without it."""
        return self.evidence == "orders"


@dataclass(frozen=True, slots=True)
class Session:
    """One half-open UTC interval `[start, end)`, named by its as-of date."""

    date: date
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """From the session of the account's `since` through the as-of session."""

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
    """One thing that `recon check` looked at, and what to do where it is not well."""

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
    """What a venue lists: instruments, by the venue's names, and currencies.

    `kinds` says which kinds of instruments were asked for, where the account names them.
    """

    instruments: frozenset[str]
    currencies: frozenset[str]
    kinds: str = ""
