"""The types of a run's document, version 2, which `recon run --json` prints.

Money is decimal text in the account's currency, costs negative; null is unknown. Dates are
ISO 8601, and times UTC. `recon schema` prints the JSON schema of `Document`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from recon.core.records import (
    AccountStatus,
    BotStatus,
    BreakStatus,
    Cause,
    CoverageStatus,
    ProofStatus,
    Severity,
)

SCHEMA = 2
Amount = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
"""Exact decimal text, without an exponent."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Figures(_Part):
    """PnL of one owner over one span: net = gross + fees + funding + other."""

    gross: Amount | None
    fees: Amount | None
    funding: Amount | None
    other: Amount | None
    net: Amount | None
    open_costs: Amount | None


class AccountFigures(Figures):
    """PnL of an account over its window, as the broker nets it."""

    unrealised: Amount | None


class Proof(_Part):
    """One proof. `difference` is null where it closes, or where several things differ.

    `differences` has each difference by instrument, currency or execution.
    """

    status: ProofStatus
    difference: Amount | None = None
    differences: dict[str, Amount] = {}


class Coverage(_Part):
    """How whole each kind of evidence is over the window."""

    fills: CoverageStatus
    ledger: CoverageStatus
    positions: CoverageStatus


class Interval(_Part):
    """A half-open interval of time."""

    start: str = Field(alias="from")
    end: str = Field(alias="to")


class Unowned(_Part):
    """PnL and fills that no bot owns."""

    net: Amount | None
    fills: int | None


class AccountEntry(_Part):
    """One account. `netting` makes Σ bots + unowned + netting = account.

    `valuation` counts the fills and costs of the window: exact, converted, estimated, unknown.
    """

    account: str
    status: AccountStatus
    currency: str
    session: str
    coverage: Coverage
    proven_window: Interval | None
    proofs: dict[str, Proof]
    window: AccountFigures
    valuation: dict[str, int]
    unowned: Unowned
    netting: Amount | None
    reasons: list[str]


class CauseEntry(_Part):
    """One cause: its part of the divergence, and how many trades it concerns."""

    cause: Cause
    amount: Amount
    trades: int


class Span(_Part):
    """A bot's claim beside the broker's PnL, over the window or the as-of session.

    `divergence` = claimed − broker net, for `costs_booked = "when_paid"` less open costs as well.
    The causes add up to the divergence.
    """

    claimed: Amount | None
    broker: Figures
    divergence: Amount | None
    divergence_pct: str | None
    causes: list[CauseEntry]


class SignedOff(_Part):
    """The part of a divergence that persons signed off, and the part beyond it."""

    amount: Amount
    beyond: Amount | None
    as_of: str
    by: str
    reason: str


class BotEntry(_Part):
    """One bot, judged. `unproven_by_account`: it is unproven for no reason but its account."""

    bot: str
    account: str
    status: BotStatus
    window: Span
    session: Span
    signed_off: SignedOff | None
    unproven_by_account: bool
    reasons: list[str]


class Restatement(_Part):
    """A session whose reported net changed after new evidence; `bot` null: the account's own."""

    account: str
    bot: str | None
    session: str
    before: Amount | None = Field(alias="from")
    after: Amount | None = Field(alias="to")
    moved: Amount | None
    reason: list[str]


class Finding(_Part):
    """A record that was understood and could not be valued, or a gap in the evidence."""

    account: str
    instrument: str | None
    session: str
    reason: str


class LastAction(_Part):
    """The last change of a break: by a run or a person."""

    by: str
    at: str
    reason: str


class BreakEntry(_Part):
    """A standing break. `session` names the session of a break of kind `session`, else null."""

    id: str = Field(alias="break")
    bot: str
    account: str
    kind: Literal["window", "session"]
    session: str | None
    divergence: Amount
    first_seen: str
    last_seen: str
    age_sessions: int
    severity: Severity | None
    status: BreakStatus
    reopened: bool
    last_action: LastAction | None


class JournalEnd(_Part):
    """How many entries the journal has, and the hash of the last."""

    entries: int
    head: str


class ChannelEntry(_Part):
    """One channel of a page: whether it has taken the page, and why not."""

    channel: str
    status: str
    reason: str


class PageEntry(_Part):
    """One page of the run. `status` is delivered where every channel has taken it."""

    page: str
    status: Literal["delivered", "partial", "failed"]
    title: str
    channels: list[ChannelEntry]


class Document(_Part):
    """What one run publishes."""

    version: Literal[2] = Field(default=2, alias="schema")
    run: str
    as_of: str
    status: BotStatus
    accounts: list[AccountEntry]
    bots: list[BotEntry]
    restatements: list[Restatement]
    findings: list[Finding]
    violations: list[dict[str, Any]] = []
    breaks: list[BreakEntry] = []
    journal: JournalEnd | None = None
    pages: list[PageEntry] = []

    def as_json(self) -> dict[str, Any]:
        """Return the document as JSON's own types, by the contract's keys."""
        return self.model_dump(mode="json", by_alias=True)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of `Document`, by the contract's keys."""
    return Document.model_json_schema(by_alias=True, mode="serialization")
