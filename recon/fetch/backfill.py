"""`recon backfill`: read the past of accounts piece by piece, and keep each piece as it comes.

A nightly run reads the rest of a window in one fetch. A backfill reads a long past: accounts
concurrently, each in pieces. A piece is landed as soon as it is complete. After an interruption,
the next backfill continues with the pieces that have not landed.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from connectors.protocol import Historian
from connectors.retry import RetryPolicy
from recon.config.settings import Config
from recon.control.ledger import Ledger
from recon.core.coverage import reach
from recon.core.records import Clock, Coverage, Record, Table, Window
from recon.errors import DefectError, EvidenceError
from recon.fetch.boundary import contained, is_of_one_source, reason
from recon.fetch.plan import AccountPlan, make_plan
from recon.system.outside_evidence import without_secrets
from recon.system.progress import Progress
from recon.system.state_folder import locked_state, storing
from recon.warehouse.commit import commit_with_manifest, known_ledger, open_verified
from recon.warehouse.database import Warehouse


@dataclass(slots=True)
class Filled:
    """The result for one account: its pieces, how many were read now, and the problems."""

    account: str
    pieces: int = 0
    known: int = 0
    read: int = 0
    rows: int = 0
    problems: list[str] = field(default_factory=list)


def backfill(
    config: Config,
    *,
    since: date | None,
    accounts: Sequence[str],
    now: Clock,
    progress: Progress,
    patience: RetryPolicy | None = None,
) -> list[Filled]:
    """Read the missing evidence of each account from `since` (default: the account's) until now.

    Raises UsageError, ConfigError, LockedError, StateError.
    """
    plan = make_plan(config, as_of=None, accounts=accounts, now=now, patience=patience)
    with (
        storing(config.state),
        locked_state(config.state) as state,
        known_ledger(state) as ledger,
        open_verified(state, ledger) as (warehouse, lost),
    ):
        if lost:
            progress.note(lost)
        filler = _Filler(warehouse, ledger, now, progress)
        return asyncio.run(filler.fill(plan.accounts, since))


class _Filler:
    def __init__(
        self, warehouse: Warehouse, ledger: Ledger, now: Clock, progress: Progress
    ) -> None:
        self._warehouse, self._ledger = warehouse, ledger
        self._now, self._progress = now, progress
        self._run = uuid.uuid4().hex[:16]

    async def fill(self, accounts: Sequence[AccountPlan], since: date | None) -> list[Filled]:
        return list(await asyncio.gather(*(self._fill(one, since) for one in accounts)))

    async def _fill(self, plan: AccountPlan, since: date | None) -> Filled:
        name = plan.account.id
        filled = Filled(name)
        if not isinstance(plan.source, Historian):
            filled.problems.append(
                f"{plan.source.venue} does not serve its past in pieces: "
                "use `recon run`, which reads all that the venue serves"
            )
            return filled
        pieces = list(pieces_of(plan, since or plan.account.since, plan.source.piece))
        missing = [piece for piece in pieces if not self._is_known(plan, piece)]
        filled.pieces, filled.known = len(pieces), len(pieces) - len(missing)
        try:
            # The newest first: pieces next to the evidence of nightly runs are proven at once. The
            # oldest evidence, which the venue is about to drop, is lost sooner or later anyway.
            for number, piece in enumerate(reversed(missing), 1):
                said = f"{piece.first.date} to {piece.last.date}, {number} of {len(missing)}"
                self._progress.note(f"{name}: {said}")
                filled.problems += await self._piece(plan, plan.source, piece, filled)
        except EvidenceError as error:
            filled.problems.append(reason(error, f"{plan.source.venue} {name}"))
        return filled

    async def _piece(
        self, plan: AccountPlan, source: Historian, piece: Window, filled: Filled
    ) -> list[str]:
        """Read one piece and land it. Return the reasons why it is incomplete."""
        items: list[Record | Table | Coverage] = []
        name = f"{source.venue} {plan.account.id}"
        with contained(name):
            async for item in source.history(piece):
                items.append(item)
                filled.rows += isinstance(item, Record)
                self._progress.count(name, filled.rows)
            items = without_secrets(items)
        try:
            with commit_with_manifest(self._warehouse, self._ledger, self._run, self._now()):
                self._warehouse.land(self._run, source.venue, plan.account.id, items, self._now())
                # The next run rebuilds the tables that derive from the account's records.
                self._warehouse.run(
                    "delete from raw.build_fingerprints where account = ?", [plan.account.id]
                )
        except Exception as error:
            if not is_of_one_source(error):
                raise
            raise DefectError(reason(error, name)) from error
        filled.read += 1
        return [
            f"{piece.first.date} to {piece.last.date}: {', '.join(item.kinds)}: {item.reason}"
            for item in items
            if isinstance(item, Coverage) and item.status != "complete"
        ]

    def _is_known(self, plan: AccountPlan, piece: Window) -> bool:
        """Return whether all evidence that the source promises is complete over the piece."""
        source = plan.source
        known = [
            reach(self._warehouse.served(source.venue, source.account, *promise[:2]), piece.start)
            for promise in source.promises
            if promise.is_of_the_past
        ]
        return all(instant is not None and instant >= piece.end for instant in known)


def pieces_of(plan: AccountPlan, since: date, piece: timedelta) -> Iterator[Window]:
    """Yield the sessions from `since` through the last ended one, in windows of length `piece`."""
    days, last = plan.days, plan.window.last
    first = days.session_on_or_after(since)
    while first.date <= last.date:
        end = min(days.session(first.date + piece - timedelta(days=1)), last, key=lambda s: s.date)
        yield Window(first, end)
        first = days.session_on_or_after(end.date + timedelta(days=1))
