"""TWS or IB Gateway: provisional evidence of an Interactive Brokers account, of today only.

TWS serves the executions since midnight of its own clock and no earlier ones, commissions shortly
after them, and no movements of cash. So this is same-day evidence: each message is landed verbatim
as a record, and the Flex statements of the same account prove it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from connectors.ibkr_tws.client import TwsAddress, TwsClient, open_client
from connectors.ibkr_tws.messages import Fields, TwsTape, happened_at, midnight
from connectors.payload import payload_text
from connectors.retry import RetryPolicy
from recon.core.records import CheckItem, Coverage, Evidence, EvidenceSpec, Record, Window
from recon.errors import VenueBusy, VenueError, VenueRefused

VENUE: Final = "ibkr-tws"
KINDS_OF: Final[dict[Evidence, tuple[str, ...]]] = {
    "fills": ("execution", "commission"),
    "positions": ("position",),
    "balances": ("account-value",),
}
SNAPSHOTS: Final = frozenset({"positions", "balances"})
KEPT_VALUES: Final = frozenset({"CashBalance"})
"""The account values that are kept: the cash, by currency. Most others change with every tick."""
SNAPSHOT_TRIES: Final = 3
MOST_NAMED: Final = 10
_REMEDY: Final = "start TWS, log in, correct host, port and client_id, and run again"


@dataclass(slots=True)
class _Visit:
    """The result of one visit: the tape, and the reason for each evidence that it lacks."""

    account: str
    tape: TwsTape
    asked_at: datetime
    answered_at: datetime
    missing: dict[Evidence, str] = field(default_factory=dict)


class IbkrTws:
    """One account of a running, logged-in TWS or IB Gateway. All requests only read.

    `broker_account` (U…, DU…) names the account of a login with several. `timezone` is that of TWS:
    today begins at its midnight, and times without a zone are in it.
    """

    venue = VENUE
    promises: tuple[EvidenceSpec, ...] = tuple(
        EvidenceSpec(evidence, kind, is_snapshot=evidence in SNAPSHOTS)
        for evidence, kinds in KINDS_OF.items()
        for kind in kinds
    )

    def __init__(
        self,
        account: str,
        address: TwsAddress,
        *,
        broker_account: str | None = None,
        timezone: str = "America/New_York",
        now: Callable[[], datetime],
        patience: RetryPolicy | None = None,
    ) -> None:
        self.account = account
        self._address = address
        self._broker_account = broker_account
        self._zone = ZoneInfo(timezone)
        self._now = now
        self._patience = patience or RetryPolicy()

    async def fetch(self, window: Window) -> AsyncGenerator[Record | Coverage, None]:
        """Yield today's executions and their commissions, positions and cash, then their coverage.

        Raises VenueRefused if another try would not help: the client id is in use, or the login
        does not manage the account.
        """
        asked_at = self._now()
        try:
            visit = await self._visits()
        except VenueRefused:
            raise
        except VenueError as error:
            for evidence, kinds in KINDS_OF.items():
                yield Coverage(
                    *(evidence, kinds, "failed", window.start, asked_at, asked_at, asked_at),
                    is_snapshot=evidence in SNAPSHOTS,
                    reason=str(error),
                )
            return
        yield Record("account", "account", payload_text({"account": visit.account}))
        for evidence in KINDS_OF:
            found = [] if evidence in visit.missing else list(self._records(evidence, visit))
            for record in found:
                yield record
            yield self._coverage(evidence, visit, window, len(found))

    async def check(self) -> list[CheckItem]:
        """Return whether TWS can be reached and answers for the account."""
        subject = f"account {self.account}"
        try:
            visit = await self._visits()
        except VenueError as error:
            return [CheckItem(subject, str(error), remedy=_REMEDY)]
        if visit.missing:
            return [CheckItem(subject, reason, remedy=_REMEDY) for reason in visit.missing.values()]
        note = (
            f"only TWS knows whether client id {self._address.client_id} is its Master API client "
            "ID; without that, other clients' commissions are not reported"
        )
        detail = f"{self._address} serves {visit.account}; its evidence is provisional"
        return [CheckItem(subject, detail, is_ok=True, notes=(note,))]

    async def _visits(self) -> _Visit:
        """Return the first visit without a connection error. Retry until the time limit."""
        limit_s = self._patience.total_s
        try:
            async with asyncio.timeout(limit_s):
                async for attempt in self._patience.retrying():
                    with attempt:
                        async with self._opened() as client:
                            return await self._visit(client)
        except TimeoutError:
            raise VenueBusy(f"{self._address}: the visit took longer than {limit_s:g} s") from None
        raise AssertionError("tenacity returns or raises")

    def _opened(self) -> AbstractAsyncContextManager[TwsClient]:
        return open_client(self._address, self._zone.key, self._patience)

    async def _visit(self, client: TwsClient) -> _Visit:
        """Send every request once. A request without an answer does not affect the others."""
        account = self._mine(client.accounts)
        visit = _Visit(account, client.tape, self._now(), self._now())
        await self._ask(client, visit, "fills", lambda: client.executions(account))
        await self._ask(client, visit, "positions", lambda: self._settled(client, visit))
        await self._ask(client, visit, "balances", lambda: self._cash(client, account))
        if "fills" not in visit.missing:
            await client.commissions(account)
            if not client.is_connected:
                raise VenueBusy(f"{self._address}: the connection was lost before all commissions")
        visit.answered_at = self._now()
        if midnight(visit.answered_at, self._zone) != midnight(visit.asked_at, self._zone):
            raise VenueBusy(f"{self._address}: midnight passed between request and answer")
        return visit

    async def _ask(
        self,
        client: TwsClient,
        visit: _Visit,
        evidence: Evidence,
        question: Callable[[], Awaitable[None]],
    ) -> None:
        """Send one request. Store the reason if it fails, unless the connection itself is lost."""
        try:
            await question()
        except VenueBusy as error:
            if not client.is_connected:
                raise
            visit.missing[evidence] = str(error)

    async def _settled(self, client: TwsClient, visit: _Visit) -> None:
        """Request the positions again until no execution arrives meanwhile."""
        for _ in range(SNAPSHOT_TRIES):
            before = set(client.tape.executions)
            await client.positions()
            if "fills" in visit.missing:
                return
            await client.executions(visit.account)
            if before == set(client.tape.executions):
                return
        raise VenueBusy(
            "positions: the account traded during each request for its positions: run again in a "
            "quieter minute"
        )

    async def _cash(self, client: TwsClient, account: str) -> None:
        await client.account_values(account)
        if any(
            value["key"] == "AccountReady" and value["value"] == "false"
            for value in client.tape.values.values()
        ):
            raise VenueBusy("account values: TWS reports that they are not ready: run again later")

    def _mine(self, accounts: list[str]) -> str:
        wanted = self._broker_account
        if wanted is None and len(accounts) > 1:
            raise VenueRefused(
                f"account {self.account}: the login manages {_named(accounts)}: name one by "
                f'broker_account = "{accounts[0]}" in that [[accounts]] entry'
            )
        if wanted is not None and wanted not in accounts:
            raise VenueRefused(
                f"account {self.account}: the login manages {_named(accounts)}, and not "
                f"{wanted}: correct broker_account, or log in as its user"
            )
        return wanted or accounts[0]

    def _records(self, evidence: Evidence, visit: _Visit) -> Iterator[Record]:
        tape = visit.tape
        if evidence == "fills":
            for exec_id, execution in tape.executions.items():
                if execution["acctNumber"] == visit.account:
                    yield from self._execution(exec_id, execution, tape.commissions.get(exec_id))
        elif evidence == "positions":
            for (account, con_id), position in tape.positions.items():
                if account == visit.account:
                    yield Record("position", con_id, payload_text(position))
        else:
            for (account, key, currency), value in tape.values.items():
                if account == visit.account and key in KEPT_VALUES:
                    yield Record("account-value", f"{key}/{currency}", payload_text(value))

    def _execution(
        self, exec_id: str, execution: Fields, commission: Fields | None
    ) -> Iterator[Record]:
        """Yield an execution and its commission, with equal times: they are staged together."""
        at = happened_at(execution["time"], self._zone)
        yield Record("execution", exec_id, payload_text(execution), at)
        if commission is not None:
            yield Record("commission", exec_id, payload_text(commission), at)

    def _coverage(self, evidence: Evidence, visit: _Visit, window: Window, rows: int) -> Coverage:
        kinds, missing = KINDS_OF[evidence], visit.missing.get(evidence, "")
        since = visit.answered_at if evidence in SNAPSHOTS else midnight(visit.asked_at, self._zone)
        until = visit.answered_at if evidence in SNAPSHOTS else visit.asked_at
        is_whole = evidence in SNAPSHOTS or window.start >= since
        reason = missing or (
            ""
            if is_whole
            else f"TWS serves only today, from {since:%Y-%m-%d %H:%M} UTC: earlier executions are "
            "in a Flex statement"
        )
        return Coverage(
            evidence,
            kinds,
            "failed" if missing else "complete" if is_whole else "partial",
            window.start,
            until,
            since,
            until,
            pages=1,
            rows=rows,
            is_snapshot=evidence in SNAPSHOTS,
            reason=reason,
        )


def _named(accounts: list[str]) -> str:
    """Return the names of a login's accounts; the first ones of many."""
    more = [f"and {len(accounts) - MOST_NAMED} more"] if len(accounts) > MOST_NAMED else []
    return ", ".join([name[:40] for name in accounts[:MOST_NAMED]] + more)
