"""TWS or IB Gateway: what an account of Interactive Brokers has done today. Provisional.

TWS tells executions since midnight of its own clock and nothing older, commissions a moment after
them, and no movements of cash at all. So it is same-day evidence: what it says is landed word for
word, each message a record, and the Flex statements of the same account are what proves it.
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
"""Of some hundred values that change with every tick: the cash, by currency."""
SNAPSHOT_TRIES: Final = 3
MOST_NAMED: Final = 10


@dataclass(slots=True)
class _Told:
    """What one visit brought: the tape, and why which evidence is not on it."""

    account: str
    tape: TwsTape
    asked_at: datetime
    told_at: datetime
    missing: dict[Evidence, str] = field(default_factory=dict)


class IbkrTws:
    """One account of one TWS or IB Gateway that runs and is logged in. Only reads leave here.

    `broker_account` (U…, DU…) names the account where the login manages several. `timezone` is
    TWS's: its midnight is where today begins, and times that name no zone are in it.
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
        """Yield today's executions and their commissions, positions and cash, then what they cover.

        Raises VenueRefused where asking again would not help: the client id is taken, the account
        is not among those of the login.
        """
        asked_at = self._now()
        try:
            told = await self._visits()
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
        yield Record("account", "account", payload_text({"account": told.account}))
        for evidence in KINDS_OF:
            found = [] if evidence in told.missing else list(self._records(evidence, told))
            for record in found:
                yield record
            yield self._coverage(evidence, told, window, len(found))

    async def check(self) -> list[CheckItem]:
        """Open the connection, and see that the account is there and answers."""
        subject = f"account {self.account}"
        try:
            told = await self._visits()
        except VenueError as error:
            return [CheckItem(subject, str(error), remedy="see the message")]
        if told.missing:
            return [
                CheckItem(subject, reason, remedy="see the message")
                for reason in told.missing.values()
            ]
        note = (
            f"only TWS knows whether client id {self._address.client_id} is its Master API client "
            "ID; without that, other clients' commissions are not reported"
        )
        detail = f"{self._address} tells of {told.account}; its word is provisional"
        return [CheckItem(subject, detail, is_ok=True, notes=(note,))]

    async def _visits(self) -> _Told:
        """Visit until one visit ends with its connection whole, as far as patience goes."""
        limit_s = self._patience.total_s
        try:
            async with asyncio.timeout(limit_s):
                async for attempt in self._patience.retrying():
                    with attempt:
                        async with self._opened() as client:
                            return await self._visit(client)
        except TimeoutError:
            raise VenueBusy(f"{self._address}: not done within {limit_s:g} s") from None
        raise AssertionError("tenacity returns or raises")

    def _opened(self) -> AbstractAsyncContextManager[TwsClient]:
        return open_client(self._address, self._zone.key, self._patience)

    async def _visit(self, client: TwsClient) -> _Told:
        """Ask every question once. A question without an answer leaves the others theirs."""
        account = self._mine(client.accounts)
        told = _Told(account, client.tape, self._now(), self._now())
        await self._ask(client, told, "fills", lambda: client.executions(account))
        await self._ask(client, told, "positions", lambda: self._settled(client, told))
        await self._ask(client, told, "balances", lambda: self._cash(client, account))
        if "fills" not in told.missing:
            await client.commissions(account)
            if not client.is_connected:
                raise VenueBusy(f"{self._address}: the connection was lost while commissions came")
        told.told_at = self._now()
        if midnight(told.told_at, self._zone) != midnight(told.asked_at, self._zone):
            raise VenueBusy(f"{self._address}: midnight passed between question and answer")
        return told

    async def _ask(
        self,
        client: TwsClient,
        told: _Told,
        evidence: Evidence,
        question: Callable[[], Awaitable[None]],
    ) -> None:
        """Put one question; note why it has no answer, unless the connection itself has gone."""
        try:
            await question()
        except VenueBusy as error:
            if not client.is_connected:
                raise
            told.missing[evidence] = str(error)

    async def _settled(self, client: TwsClient, told: _Told) -> None:
        """Ask for the positions until no execution came in while they were told."""
        for _ in range(SNAPSHOT_TRIES):
            before = set(client.tape.executions)
            await client.positions()
            if "fills" in told.missing:
                return
            await client.executions(told.account)
            if before == set(client.tape.executions):
                return
        raise VenueBusy(
            "positions: the account traded each time its positions were asked for: run again in a "
            "quieter minute"
        )

    async def _cash(self, client: TwsClient, account: str) -> None:
        await client.account_values(account)
        if any(
            value["key"] == "AccountReady" and value["value"] == "false"
            for value in client.tape.values.values()
        ):
            raise VenueBusy("account values: TWS says that they are not ready: ask later")

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

    def _records(self, evidence: Evidence, told: _Told) -> Iterator[Record]:
        tape = told.tape
        if evidence == "fills":
            for exec_id, execution in tape.executions.items():
                if execution["acctNumber"] == told.account:
                    yield from self._execution(exec_id, execution, tape.commissions.get(exec_id))
        elif evidence == "positions":
            for (account, con_id), position in tape.positions.items():
                if account == told.account:
                    yield Record("position", con_id, payload_text(position))
        else:
            for (account, key, currency), value in tape.values.items():
                if account == told.account and key in KEPT_VALUES:
                    yield Record("account-value", f"{key}/{currency}", payload_text(value))

    def _execution(
        self, exec_id: str, execution: Fields, commission: Fields | None
    ) -> Iterator[Record]:
        """Yield an execution and its commission, which are dated alike: staged together."""
        at = happened_at(execution["time"], self._zone)
        yield Record("execution", exec_id, payload_text(execution), at)
        if commission is not None:
            yield Record("commission", exec_id, payload_text(commission), at)

    def _coverage(self, evidence: Evidence, told: _Told, window: Window, rows: int) -> Coverage:
        kinds, missing = KINDS_OF[evidence], told.missing.get(evidence, "")
        since = told.told_at if evidence in SNAPSHOTS else midnight(told.asked_at, self._zone)
        until = told.told_at if evidence in SNAPSHOTS else told.asked_at
        is_whole = evidence in SNAPSHOTS or window.start >= since
        reason = missing or (
            ""
            if is_whole
            else f"TWS tells of today alone: nothing before {since:%Y-%m-%d %H:%M} UTC can be had "
            "from it now; a Flex statement has what came before"
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
    """Return the names of a login's accounts, of many the first ones."""
    more = [f"and {len(accounts) - MOST_NAMED} more"] if len(accounts) > MOST_NAMED else []
    return ", ".join([name[:40] for name in accounts[:MOST_NAMED]] + more)
