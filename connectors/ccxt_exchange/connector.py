"""The connector of all exchanges whose account trades ccxt can read.

ccxt knows the requests of an exchange and the meaning of its rows. This module and `paging.py`
decide which pages are requested, whether they are complete and what remains unknown. A record is
the exchange's own row (`info`, numbers as text) with the few fields that ccxt parses from it: the
shapes of rows differ by exchange, and staging reads one shape.

An exchange's ledger is not read, because ccxt loses the types of its entries: the cash proof stays
absent. Such an account can still be proven by its positions. The exchange states holdings apart
from trades, each contract as an open position and each traded coin as a balance, and a missing fill
leaves a difference there. No other evidence here is independent of the fills, so this proof must
close. If an exchange shows no positions, or no funding, although contracts were traded, the account
is unproven. A round trip that lacks all of its fills is not detected.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from difflib import get_close_matches

from connectors.ccxt_exchange.client import CcxtClient, ExchangeKey, ExchangeSettings, open_client
from connectors.ccxt_exchange.exchanges import Exchange, Paging, exchange_facts
from connectors.ccxt_exchange.paging import LONGEST_NAME, MILLISECOND, Chain, Pages
from connectors.ccxt_exchange.records import (
    EPOCH,
    coin_record,
    funding_key,
    funding_record,
    instant_of,
    instrument_record,
    position_record,
    trade_key,
    trade_record,
    unlisted_record,
)
from connectors.exchange_session import CLOCK_UNKNOWN
from connectors.retry import RetryPolicy
from recon.core.records import (
    CheckItem,
    Coverage,
    CoverageStatus,
    Evidence,
    EvidenceSpec,
    Listing,
    Record,
    Window,
)
from recon.errors import VenueError, VenueRefused
from recon.outside_text import excerpt

MOST_NAMED = 5
"""The most instruments that a reason names."""
MAX_AHEAD = timedelta(minutes=1)
"""How far the exchange's clock may run ahead of this machine's."""
ASTRIDE = timedelta(minutes=1)
"""How far back trades are requested again that arrived while a snapshot was taken."""
SNAPSHOT_TRIES = 3
_log = logging.getLogger(__name__)
NOT_ZERO = frozenset("123456789")
SYMBOLS_REMEDY = 'name them: symbols = ["BTC/USDT:USDT"]'


class CcxtExchange:
    """One account at one exchange of ccxt. All requests only read."""

    def __init__(
        self,
        account: str,
        key: ExchangeKey,
        settings: ExchangeSettings,
        *,
        symbols: Sequence[str] = (),
        owned: Collection[str] = (),
        now: Callable[[], datetime],
        patience: RetryPolicy | None = None,
    ) -> None:
        self.venue = settings.exchange
        self.account = account
        self._key = key
        self._settings = settings
        self._symbols = tuple(symbols)
        self._owned = frozenset(owned)
        self._now = now
        self._patience = patience or RetryPolicy()
        self._exchange = exchange_facts(settings.exchange, settings.market_type, settings.sub_type)
        self.promises: tuple[EvidenceSpec, ...] = (
            EvidenceSpec("fills", "trade"),
            EvidenceSpec("ledger", "funding"),
            EvidenceSpec("positions", "position", is_snapshot=True),
            EvidenceSpec("positions", "coin", is_snapshot=True),
            EvidenceSpec("instruments", "instrument"),
            EvidenceSpec("instruments", "unlisted", is_snapshot=True),
        )

    def lacks(self) -> list[str]:
        """Return the missing settings that the exchange needs, by their configuration keys."""
        given = {
            "apiKey": ("api_key", self._key.api_key),
            "secret": ("api_secret", self._key.secret),
            "password": ("passphrase", self._key.passphrase),
            "walletAddress": ("wallet_address", self._key.wallet_address),
        }
        missing = [given[name][0] for name in self._exchange.needs if not given[name][1]]
        if self._exchange.is_by_symbol and not self._symbols:
            missing.append(f"symbols, as it serves trades by symbol only: {SYMBOLS_REMEDY}")
        return missing

    async def fetch(self, window: Window) -> AsyncGenerator[Record | Coverage, None]:
        """Yield trades, positions, coins, funding and instruments, each with its coverage.

        Raises VenueRefused if the exchange rejects the key or does not serve trades.
        """
        async with self._opened() as client:
            visit = _Visit(client, self._exchange, window, self._symbols, self._now, self._owned)
            async for item in visit.everything():
                yield item
            if not client.is_clock_known:
                _log.warning("%s: %s", self.account, CLOCK_UNKNOWN)

    async def check(self) -> list[CheckItem]:
        """Return the result of a test of reach and key, by the markets and the balance."""
        subject = f"account {self.account}"
        try:
            async with self._opened() as client:
                if strange := [name for name in self._symbols if client.market(name) is None]:
                    detail = f"{self.venue} lists no {strange[0]}"
                    return [CheckItem(subject, detail, remedy="write symbols as ccxt does")]
                await client.totals(self._exchange.stated.balances_at)
                is_clock_known = client.is_clock_known
        except VenueError as error:
            remedy = (
                "correct key, mode (live or demo), base_url or the key's address list"
                if isinstance(error, VenueRefused)
                else "correct base_url, or connect this machine to it"
            )
            return [CheckItem(subject, str(error), remedy=remedy)]
        note = "ccxt does not show the key's permissions: use a key that can only read"
        notes = [] if self._exchange.needs == ("walletAddress",) else [note]
        notes += [] if is_clock_known else [CLOCK_UNKNOWN]
        return [CheckItem(subject, "reached; the key can read", is_ok=True, notes=tuple(notes))]

    async def listing(self) -> Listing:
        """Return all markets of the exchange, and their currencies."""
        async with self._opened() as client:
            return Listing(client.symbols(), client.currencies())

    def serves_from(self) -> datetime:
        """Return the instant from which on both trades and funding are served."""
        kinds = (self._exchange.trades, self._exchange.funding)
        limits = [kind.back for kind in kinds if kind is not None and kind.back is not None]
        return self._now() - min(limits) if limits else EPOCH

    def _opened(self) -> AbstractAsyncContextManager[CcxtClient]:
        if not self._exchange.has_trades:
            raise VenueRefused(
                f"{self.account}: ccxt cannot read an account's trades at {self.venue}"
            )
        settles_in = self._exchange.stated.settles_in
        options = {settles_in: self._settings.currency} if settles_in else {}
        return open_client(self._key, self._settings, options, self._patience)


class _Visit:
    """One fetch: the order of its requests, and the coverage of each answer."""

    def __init__(
        self,
        client: CcxtClient,
        exchange: Exchange,
        window: Window,
        symbols: Sequence[str],
        now: Callable[[], datetime],
        owned: Collection[str],
    ) -> None:
        self._client = client
        self._exchange = exchange
        self._window = window
        self._symbols = symbols
        self._now = now
        self._asked: tuple[str | None, ...] = tuple(symbols) if exchange.is_by_symbol else (None,)
        self._known: set[str] = set()
        self._owned = frozenset(owned)
        self._named: set[str] = {*symbols, *owned}
        self._traded: set[str] = set()
        self._newest = EPOCH

    async def everything(self) -> AsyncIterator[Record | Coverage]:
        for step in (self._trades, self._snapshots, self._funding, self._instruments):
            async for item in step():
                yield item

    async def _trades(self) -> AsyncIterator[Record | Coverage]:
        """Yield every trade since the start of the window."""
        asked_to = self._now()
        try:
            chain = await self._read_trades(self._window.start, asked_to)
            records = self._fresh(chain)
        except VenueRefused:
            raise
        except VenueError as error:
            yield self._statement("fills", "trade", "failed", to=asked_to, reason=str(error))
            return
        for record in records:
            yield record
        yield self._of_chain("fills", "trade", chain)

    async def _read_trades(self, since: datetime, until: datetime) -> Chain:
        pages = Pages(self._client, "fetch_my_trades", self._exchange.trades, trade_key)
        return await pages.read(self._asked, _ms(since), _ms(until))

    def _fresh(self, chain: Chain) -> list[Record]:
        """Return a record for each new trade, which is known from then on."""
        rows = {key: row for key, row in chain.rows.items() if key not in self._known}
        self._known |= rows.keys()
        for row in rows.values():
            self._traded.add(str(row["symbol"]))
            self._newest = max(self._newest, instant_of(row) or EPOCH)
        return [trade_record(key, row) for key, row in rows.items()]

    async def _snapshots(self) -> AsyncIterator[Record | Coverage]:
        """Yield positions and coins that match exactly the fetched trades.

        They are valid if no trade arrived during the request. Otherwise the new trades are fetched,
        and the positions and coins are requested again.
        """
        reason = "the account traded during each request for its positions: run in a quieter minute"
        records: list[Record] = []
        taken: datetime | None = None
        try:
            for _ in range(SNAPSHOT_TRIES):
                before = self._now()
                records = [*await self._positions(), *await self._coins()]
                chain = await self._read_trades(before - ASTRIDE, self._now() + MILLISECOND)
                if chain.reason:
                    raise VenueError(chain.reason)
                late = self._fresh(chain)
                for record in late:
                    yield record
                if late:
                    yield self._statement(
                        "fills",
                        "trade",
                        "complete",
                        since=before,
                        rows=len(late),
                        pages=chain.pages,
                    )
                else:
                    # The exchange's clock may run ahead: known trades were before the snapshot.
                    ahead = min(self._newest + MILLISECOND, before + MAX_AHEAD)
                    taken = max(before, ahead)
                    break
        except VenueRefused:
            raise
        except VenueError as error:
            reason = str(error)
        for kind in ("position", "coin"):
            mine = [record for record in records if record.kind == kind and taken is not None]
            for record in mine:
                yield record
            yield self._statement(
                "positions",
                kind,
                "failed" if taken is None else "complete",
                to=taken,
                pages=1,
                rows=len(mine),
                is_snapshot=True,
                reason=reason if taken is None else "",
            )

    async def _positions(self) -> list[Record]:
        """Return the open positions, if the exchange shows any.

        Spot trades have none. For contracts, an exchange that shows none raises VenueError.
        """
        if not self._exchange.has_positions:
            if contracts := sorted(name for name in self._traded if self._is_of(name, "contract")):
                raise VenueError(
                    f"ccxt shows no open positions at {self._exchange.id}: the positions in "
                    f"{_listed(contracts)} are unknown"
                )
            return []
        rows = await self._client.rows("fetch_positions", at=self._exchange.stated.positions_at)
        page = self._exchange.stated.positions_page
        if page is not None and len(rows) >= page:
            raise VenueError(f"fetch_positions: recon does not page {page} positions or more")
        self._traded |= {
            str(row["symbol"]) for row in rows if set(str(row.get("contracts"))) & NOT_ZERO
        }
        self._named |= {str(row["symbol"]) for row in rows}
        return [position_record(row) for row in rows]

    async def _coins(self) -> list[Record]:
        totals = await self._client.totals(self._exchange.stated.balances_at)
        return [coin_record(code, total) for code, total in totals.items()]

    async def _funding(self) -> AsyncIterator[Record | Coverage]:
        """Yield the funding payments of perpetuals.

        They are complete without any if no perpetual was traded or held. If one was and its
        payments are unknown, the coverage is `failed`, and the payments are not 0.
        """
        asked_to = self._now()
        paging = self._exchange.funding
        swaps = sorted(name for name in self._traded if self._is_of(name, "swap"))
        if not swaps and (paging is None or paging.page is None):
            yield self._statement("ledger", "funding", "complete", to=asked_to)
            return
        try:
            chain = await self._read_funding(paging, asked_to)
            if paging is not None and paging.page is None and not chain.rows:
                raise VenueError(chain.reason)
            records = [funding_record(key, row) for key, row in chain.rows.items()]
        except VenueRefused:
            raise
        except VenueError as error:
            reason = f"{error}: funding of {_listed(swaps) or 'perpetuals'} is unknown"
            yield self._statement("ledger", "funding", "failed", to=asked_to, reason=reason)
            return
        strangers = {str(row["symbol"]) for row in chain.rows.values()} - set(self._symbols)
        if self._exchange.is_by_symbol and strangers:
            name = min(strangers)
            reason = (
                f"funding was paid for {_listed([name])}, but its trades are not read: "
                "add it to symbols"
            )
            chain.lacks(reason, since=chain.whole_from)
        self._named |= strangers
        for record in records:
            yield record
        yield self._of_chain("ledger", "funding", chain)

    async def _read_funding(self, paging: Paging | None, until: datetime) -> Chain:
        if paging is None:
            raise VenueError(f"ccxt shows no funding payments at {self._exchange.id}")
        pages = Pages(self._client, "fetch_funding_history", paging, funding_key)
        chain = await pages.read((None,), _ms(self._window.start), _ms(until))
        if paging.page is None:
            chain.lacks(
                f"recon does not know how {self._exchange.id} pages its funding payments",
                since=chain.whole_from,
            )
        return chain

    def _is_of(self, symbol: str, kind: str) -> bool:
        """Return whether a symbol is a `swap`, a `contract`, …; an unlisted one may be any."""
        market = self._client.market(symbol)
        return market is None or bool(market.get(kind))

    async def _instruments(self) -> AsyncIterator[Record | Coverage]:
        """Yield the specification of each instrument that was traded, held or named.

        A bot's name that the exchange does not list is a separate record, with the instruments of
        the most similar names.
        """
        listed = self._client.symbols()
        unlisted = sorted(self._owned - listed)
        near = {one for name in unlisted for one in get_close_matches(name, sorted(listed))}
        names = sorted(self._named | self._traded | near)
        rows = [(name, self._client.market(name)) for name in names]
        try:
            records = [instrument_record(name, row) for name, row in rows if row is not None]
            records += [unlisted_record(name) for name in unlisted]
        except VenueError as error:
            for kind in ("instrument", "unlisted"):
                yield self._statement("instruments", kind, "failed", reason=str(error))
            return
        for record in records:
            yield record
        rows_of = len(records) - len(unlisted)
        yield self._statement("instruments", "instrument", "complete", pages=1, rows=rows_of)
        yield self._statement(
            "instruments", "unlisted", "complete", rows=len(unlisted), is_snapshot=True
        )

    def _of_chain(self, evidence: Evidence, kind: str, chain: Chain) -> Coverage:
        """Return the coverage of a chain, with its number of rows even if no part is complete."""
        is_any = chain.rows or chain.whole_from < chain.whole_to
        status: CoverageStatus = "partial" if is_any else "failed"
        return self._statement(
            evidence,
            kind,
            status if chain.reason else "complete",
            since=_utc(chain.whole_from),
            to=_utc(max(chain.whole_from, chain.whole_to)),
            pages=chain.pages,
            rows=len(chain.rows),
            reason=chain.reason,
        )

    def _statement(  # noqa: PLR0913 - a coverage statement, with this visit's defaults
        self,
        evidence: Evidence,
        kind: str,
        status: CoverageStatus,
        *,
        to: datetime | None = None,
        since: datetime | None = None,
        pages: int = 0,
        rows: int = 0,
        is_snapshot: bool = False,
        reason: str = "",
    ) -> Coverage:
        end = to or self._now()
        return Coverage(
            evidence=evidence,
            kinds=(kind,),
            status=status,
            asked_from=self._window.start,
            asked_to=end,
            served_from=since or self._window.start,
            served_to=end,
            pages=pages,
            rows=rows,
            is_snapshot=is_snapshot,
            reason=reason,
        )


def _listed(names: Sequence[str]) -> str:
    """Return the first of the exchange's names, each shortened."""
    shown = [excerpt(name, LONGEST_NAME) for name in names[:MOST_NAMED]]
    return ", ".join(shown) + (", …" if len(names) > MOST_NAMED else "")


def _ms(at: datetime) -> int:
    return (at - EPOCH) // MILLISECOND


def _utc(stamp: int) -> datetime:
    return EPOCH + stamp * MILLISECOND
