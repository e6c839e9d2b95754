"""Judgement: tolerance, status, exit code. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from recon.core.numbers import EXACT
from recon.core.records import AccountStatus, BotStatus, CoverageStatus, ProofStatus, Severity
from recon.errors import ExitCode

SEVERITIES: tuple[Severity, ...] = ("minor", "major", "critical")
MAJOR_FROM = 10
"""How many times the bound a difference is beyond which it is no minor one."""
PATIENCE_SESSIONS = 5
"""Sessions, a trading week, after each of which a break is one step graver."""


class Tolerance(NamedTuple):
    """How far claim and truth may lie apart: the larger of a share of truth and an amount."""

    pct: Decimal
    absolute: Decimal

    def bound(self, truth: Decimal) -> Decimal:
        """Return the largest difference from `truth` that is not yet a divergence."""
        share = EXACT.scaleb(EXACT.multiply(self.pct, truth.copy_abs()), -2)
        return max(share, self.absolute)


def diverges(amount: Decimal, truth: Decimal, tolerance: Tolerance) -> bool:
    """Return whether claim − truth = `amount` is too much. Exactly at the bound it is not."""
    return amount.copy_abs() > tolerance.bound(truth)


def severity(amount: Decimal, truth: Decimal, bound: Decimal, age_sessions: int) -> Severity:
    """Return how grave a difference is, by its size; a step graver for each week that it stands.

    Beyond ten times the bound it is major; if it is more than the truth itself as well, critical.
    """
    size = amount.copy_abs()
    is_large = size > EXACT.multiply(bound, Decimal(MAJOR_FROM))
    step = is_large + (is_large and size > truth.copy_abs()) + age_sessions // PATIENCE_SESSIONS
    return SEVERITIES[min(step, len(SEVERITIES) - 1)]


def account_status(
    coverage: Iterable[CoverageStatus],
    proofs: Iterable[ProofStatus],
    *,
    is_reached: bool,
    open_reasons: int,
) -> AccountStatus:
    """Return `proven` only where all evidence is whole, no proof is broken and nothing is open."""
    if not is_reached:
        return "failed"
    is_whole = all(status == "complete" for status in coverage)
    is_closed = all(status != "broken" for status in proofs)
    return "proven" if is_whole and is_closed and not open_reasons else "unproven"


def bot_status(
    spans: Iterable[tuple[Decimal | None, Decimal | None]],
    tolerance: Tolerance,
    *,
    is_proven: bool,
) -> BotStatus:
    """Judge one bot by its (amount, truth) over each span. What is unknown never agrees.

    `is_proven` says that the evidence of everything that the bot trades is whole and closes.
    """
    known: list[tuple[Decimal, Decimal]] = []
    for amount, truth in spans:
        if amount is None or truth is None:
            return "unproven"
        known.append((amount, truth))
    if not is_proven:
        return "unproven"
    return "diverged" if any(diverges(a, t, tolerance) for a, t in known) else "agreed"


def run_status(accounts: Iterable[AccountStatus], bots: Iterable[BotStatus]) -> BotStatus:
    """Return the worst: diverged, then unproven, then agreed."""
    of_bots = set(bots)
    if "diverged" in of_bots:
        return "diverged"
    if "unproven" in of_bots or any(status != "proven" for status in accounts):
        return "unproven"
    return "agreed"


EXIT_CODES: dict[BotStatus, ExitCode] = {
    "agreed": ExitCode.AGREED,
    "diverged": ExitCode.DIVERGED,
    "unproven": ExitCode.UNPROVEN,
}
