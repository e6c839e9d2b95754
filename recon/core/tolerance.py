"""Tolerance, severity, statuses and exit codes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from recon.core.numbers import EXACT
from recon.core.records import AccountStatus, BotStatus, CoverageStatus, ProofStatus, Severity
from recon.errors import ExitCode

SEVERITIES: tuple[Severity, ...] = ("minor", "major", "critical")
MAJOR_FROM = 10
"""A divergence larger than this many times the bound is major."""
PATIENCE_SESSIONS = 5
"""The sessions (a trading week) after which a break becomes one step graver."""


class Tolerance(NamedTuple):
    """The tolerated divergence: the larger of a share of the broker PnL and an amount."""

    pct: Decimal
    absolute: Decimal

    def bound(self, broker: Decimal) -> Decimal:
        """Return the largest |claimed − `broker`| with which a bot still agrees."""
        share = EXACT.scaleb(EXACT.multiply(self.pct, broker.copy_abs()), -2)
        return max(share, self.absolute)


def diverges(divergence: Decimal, broker: Decimal, tolerance: Tolerance) -> bool:
    """Return whether |`divergence`| exceeds the tolerance. Exactly at the bound it does not."""
    return divergence.copy_abs() > tolerance.bound(broker)


def severity(divergence: Decimal, broker: Decimal, bound: Decimal, age_sessions: int) -> Severity:
    """Return the severity of a divergence: by its size, and one step graver for each week of age.

    It is major beyond ten times the bound, and critical if it also exceeds the broker PnL.
    """
    size = divergence.copy_abs()
    is_large = size > EXACT.multiply(bound, Decimal(MAJOR_FROM))
    step = is_large + (is_large and size > broker.copy_abs()) + age_sessions // PATIENCE_SESSIONS
    return SEVERITIES[min(step, len(SEVERITIES) - 1)]


def account_status(
    coverage: Iterable[CoverageStatus],
    proofs: Iterable[ProofStatus],
    *,
    is_reached: bool,
    open_reasons: int,
) -> AccountStatus:
    """Return `proven` only if all evidence is complete, no proof broken and no reason open."""
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
    """Return a bot's status from its (divergence, broker PnL) over each span. Unknown never agrees.

    `is_proven` says that the evidence of all its instruments is complete and every proof closes.
    """
    known: list[tuple[Decimal, Decimal]] = []
    for divergence, broker in spans:
        if divergence is None or broker is None:
            return "unproven"
        known.append((divergence, broker))
    if not is_proven:
        return "unproven"
    return "diverged" if any(diverges(a, t, tolerance) for a, t in known) else "agreed"


def run_status(accounts: Iterable[AccountStatus], bots: Iterable[BotStatus]) -> BotStatus:
    """Return the worst status: diverged, then unproven, then agreed."""
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
