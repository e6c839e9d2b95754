"""Nights as the control ledger sees them: what was found off, and who was judged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time

from recon.control.breaks import Break, BreakObservation
from recon.control.ledger import Ledger
from recon.core.records import Span

BOTH = (("okx", "btc"), ("okx", "eth"))
AGREES = "the evidence agrees"


def off_by(
    amount: str, kind: Span = "window", *, bot: str = "btc", truth: str = "100", session: str = ""
) -> Break:
    """Return a break of a bot at okx, of which 1.00 would have been none."""
    return Break("okx", bot, kind, amount, truth, "1.00", session)


def sighting(
    session: date, found: Sequence[Break], judged: Collection[tuple[str, str]] = BOTH
) -> BreakObservation:
    """Return what a run as of a session saw, of an account whose sessions are days."""
    return BreakObservation(
        run=f"of-{session}",
        at=datetime.combine(session, time(11), UTC),
        session=session,
        accounts={"okx"},
        judged=dict.fromkeys(judged, AGREES),
        found=found,
        age=lambda _account, first: max(0, (session - first).days),
    )


def told(ledger: Ledger, session: date, run: str) -> None:
    """Record a run that told of the account, so that an earlier session is only looked back at."""
    at = datetime.combine(session, time(11), UTC)
    ledger.begin_run(run, session, at)
    accounts = [{"account": "okx", "status": "proven"}]
    ledger.end_run(run, at, {"status": "agreed", "accounts": accounts, "bots": []})
