"""OKX, read through ccxt's async client and its implicit endpoints, with recon's own paging.

ccxt's unified calls are not used: `fetch_my_trades` requests SPOT by default, pages by time, drops
rows that share a millisecond, and returns an empty list for a broken page. Here the envelope of
every answer is checked before ccxt sees it, and every number stays the venue's text. Pages are
chained by billId down to an empty page. A chain that repeats, overlaps or is out of order is an
error and never data.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial

from connectors.exchange_session import CLOCK_UNKNOWN
from connectors.okx.candles import MinutesWanted, candles
from connectors.okx.client import OkxClient, OkxKey, Row, open_client
from connectors.payload import payload_text
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
from recon.errors import KeyRefused, VenueBusy, VenueError, VenueRefused
from recon.outside_text import excerpt

_log = logging.getLogger(__name__)
READ_ONLY = frozenset({"read_only"})
FAR_FUTURE_MS = 10**14
MAX_AHEAD = timedelta(minutes=1)
"""How far the venue's clock may run ahead of this machine's."""
SERVED_FOR = timedelta(days=89)
"""The shortest possible three months: the past that the venue certainly still serves."""
PAGE = 100
DIGITS = 30
"""Longer than any id or time of the venue's."""
MAX_FIELD = 200
"""The most characters of a field that names or numbers a row."""
LISTS = frozenset({"details"})
MAX_PAGES = 20_000
SNAPSHOT_TRIES = 3
ASTRIDE = timedelta(minutes=1)
"""The longest time between a fill and its ledger entry, as the venue dates them."""
RESTING = timedelta(days=1)
"""The longest time before the window in which an order filled inside it may have been placed."""
AGREEING_KEYS = ("instId", "side", "fillSz", "fillPx", "fee", "feeCcy")
AGREEING_ORDER_KEYS = ("instId", "side", "clOrdId", "algoClOrdId")


@dataclass(frozen=True, slots=True)
class _Chain:
    """The combined pages of one endpoint, newest first."""

    rows: list[Row]
    pages: int


class OkxConnector:
    """One OKX account. All requests only read, and only a key with the Read permission is used."""

    venue = "okx"
    piece = timedelta(days=7)

    def __init__(  # noqa: PLR0913 - an account's settings, each named by the caller
        self,
        account: str,
        key: OkxKey,
        *,
        instrument_types: Sequence[str] = ("SWAP",),
        currency: str | None = None,
        reads_orders: bool = False,
        is_demo: bool = False,
        base_url: str | None = None,
        now: Callable[[], datetime],
        patience: RetryPolicy | None = None,
    ) -> None:
        self.account = account
        self._key = key
        self._types = tuple(instrument_types)
        self._currency = currency
        self._known: Collection[str] = ()
        self._is_demo = is_demo
        self._base_url = base_url
        self._now = now
        self._patience = patience or RetryPolicy()
        self._reads_orders = reads_orders
        self.promises = (
            *(EvidenceSpec("fills", f"fill/{name}") for name in self._types),
            *(EvidenceSpec("orders", f"order/{name}") for name in self._types if reads_orders),
            EvidenceSpec("ledger", "bill"),
            EvidenceSpec("positions", "position-history"),
            EvidenceSpec("positions", "position", is_snapshot=True),
            EvidenceSpec("balances", "balance", is_snapshot=True),
            EvidenceSpec("instruments", "instrument"),
            EvidenceSpec("rates", "candle"),
        )

    def remember(self, ids: Collection[str]) -> None:
        """Store the ids of the landed candles. They never change, and are not fetched again."""
        self._known = ids

    async def fetch(self, window: Window) -> AsyncGenerator[Record | Coverage, None]:
        """Yield config, fills, ledger, positions, instruments and rates, each with its coverage.

        The orders are included if the account's bots have order tags.

        Raises KeyRefused if the key can do more than read, VenueRefused if the venue rejects the
        key. Any other error becomes a `failed` coverage statement.
        """
        async with self._client() as client:
            yield await self._verified_config(client)
            minutes = MinutesWanted(self._currency)
            visit = _Visit(client, window, self._types, self._now, minutes, self._known)
            async for item in visit.everything(reads_orders=self._reads_orders):
                yield item
            if client.skew_ms is None:
                _log.warning("%s: %s", self.account, CLOCK_UNKNOWN)

    async def history(self, window: Window) -> AsyncGenerator[Record | Coverage, None]:
        """Yield fills, ledger and closed positions of a past window, each with its coverage.

        Every endpoint has its own rate limit, so each has its own client, and all are read
        concurrently. Errors are those of `fetch`.
        """
        async with self._client() as client:
            yield await self._verified_config(client)
            names = [promise.kind for promise in self.promises if promise.is_of_the_past]
        asked = [asyncio.create_task(self._past(window, name)) for name in names]
        try:
            for done in asyncio.as_completed(asked):
                for item in await done:
                    yield item
        finally:
            for task in asked:
                task.cancel()

    async def _past(self, window: Window, kind: str) -> list[Record | Coverage]:
        async with self._client() as client:
            minutes = MinutesWanted(self._currency)
            visit = _Visit(
                client, window, self._types, self._now, minutes, self._known, until=window.end
            )
            return [item async for item in visit.past(kind)]

    def _client(self) -> AbstractAsyncContextManager[OkxClient]:
        return open_client(
            self._key, self._patience, is_demo=self._is_demo, base_url=self._base_url
        )

    async def check(self) -> list[CheckItem]:
        """Return the result of a test of reach, key and permissions: configuration and balance."""
        subject = f"account {self.account}"
        try:
            async with self._client() as client:
                config = await self._verified_config(client)
                await client.get("account/balance")
                skew_ms = client.skew_ms
        except VenueError as error:
            return [CheckItem(subject, str(error), remedy=_remedy(error))]
        notes = []
        if '"ip":""' in config.payload:
            notes.append("the key has no address allow-list: add one at OKX")
        if skew_ms is None:
            notes.append(CLOCK_UNKNOWN)
        detail = "reached; the key can read, and nothing else"
        return [CheckItem(subject, detail, is_ok=True, notes=tuple(notes))]

    async def listing(self) -> Listing:
        """Return the instruments of the account's types, without options, and OKX's currencies."""
        names: set[str] = set()
        currencies: set[str] = set()
        async with self._client() as client:
            for query in _listings({*self._types, "SPOT"}, ()):
                path, check = "public/instruments", _has("instId")
                for row in await client.get(path, query, check=check):
                    currencies |= _currencies(row)
                    if query["instType"] in self._types:
                        names.add(str(row["instId"]))
        currencies.discard("")
        return Listing(frozenset(names), frozenset(currencies), " or ".join(self._types))

    def serves_from(self) -> datetime:
        """Return the start of the shortest possible three months before now."""
        return self._now() - SERVED_FOR

    async def _verified_config(self, client: OkxClient) -> Record:
        """Return the account's configuration. Raises KeyRefused for a key that can do more."""
        rows = await client.get("account/config")
        permissions = (
            frozenset(
                part.strip() for part in str(rows[0].get("perm") or "").split(",") if part.strip()
            )
            if rows
            else frozenset()
        )
        if permissions != READ_ONLY:
            said = ",".join(sorted(permissions)) or "no permissions"
            raise KeyRefused(
                f"{self.account}: the key has {said!r}; only exactly 'read_only' is accepted: "
                "make a key with only the Read permission, and delete this one"
            )
        return Record("config", "account", payload_text(rows[0]))


class _Visit:
    """One fetch: the order of its requests, and the coverage of each answer."""

    def __init__(
        self,
        client: OkxClient,
        window: Window,
        types: Sequence[str],
        now: Callable[[], datetime],
        minutes: MinutesWanted,
        known: Collection[str],
        *,
        until: datetime | None = None,
    ) -> None:
        self._minutes = minutes
        self._known = known
        self._settled_in: dict[str, str] = {}
        self._families: set[str] = set()
        self._client = client
        self._window = window
        self._types = types
        self._now = now
        self._until = until
        self._newest: dict[str, int] = {}
        self._newest_at = datetime.min.replace(tzinfo=UTC)

    async def everything(self, *, reads_orders: bool) -> AsyncIterator[Record | Coverage]:
        for kind in (*(f"fill/{name}" for name in self._types), "bill", "position-history"):
            async for item in self.past(kind):
                yield item
        async for item in self._snapshots():
            yield item
        async for item in self._instruments():
            yield item
        async for item in self._rates():
            yield item
        # After all fills: the order of each fill is then either resting or ended.
        for name in self._types if reads_orders else ():
            async for item in self.past(f"order/{name}"):
                yield item

    def past(self, kind: str) -> AsyncIterator[Record | Coverage]:
        """Yield one kind of past records, up to `until` if it is given, else up to now."""
        if kind == "bill":
            return self._interval("ledger", kind, self._bills)
        if kind == "position-history":
            return self._interval("positions", kind, self._closed_positions)
        noun, _, name = kind.partition("/")
        if noun == "order":
            orders = partial(self._orders, name)
            return self._interval("orders", kind, orders, (VenueBusy, VenueRefused))
        return self._interval("fills", kind, partial(self._fills, name))

    async def _interval(
        self,
        evidence: Evidence,
        kind: str,
        step: Callable[[], Awaitable[_Chain]],
        missing: tuple[type[VenueError], ...] = (VenueBusy,),
    ) -> AsyncIterator[Record | Coverage]:
        """Yield one evidence that covers an interval: rows by id, then its coverage.

        The part of `kind` after a slash distinguishes statements, not records. The errors `missing`
        become a `failed` statement; any other error ends the fetch.
        """
        now, retries = self._now(), self._client.retries
        asked_to = min(self._until or now, now)
        try:
            chain = await step()
        except missing as error:
            yield self._statement(evidence, kind, "failed", to=asked_to, reason=str(error))
            return
        noun = kind.partition("/")[0]
        dated = [(_happened_at(noun, row), _row_id(noun, row), row) for row in chain.rows]
        for at, number, row in dated:
            yield Record(noun, number, payload_text(row), at)
        known = sorted((at, len(number), number) for at, number, _ in dated if at is not None)
        oldest = now - SERVED_FOR
        is_whole = self._window.start >= oldest
        yield self._statement(
            evidence,
            kind,
            "complete" if is_whole else "partial",
            to=asked_to,
            since=self._window.start if is_whole else min(oldest, asked_to),
            pages=chain.pages,
            rows=len(chain.rows),
            reason=""
            if is_whole
            else "OKX serves three months: the first possible `since` is now "
            f"{_day_after(oldest)}; set that, or restore the state folder of earlier runs",
            first_id=known[0][-1] if known else "",
            last_id=known[-1][-1] if known else "",
            retries=self._client.retries - retries,
        )

    async def _fills(self, instrument_type: str) -> _Chain:
        """Return every fill of one type, each once, from both endpoints."""
        paths = ("trade/fills-history", "trade/fills")
        query = {"instType": instrument_type} | self._span()
        return await self._both(f"fill/{instrument_type}", paths, query)

    async def _bills(self) -> _Chain:
        """Return every entry of the cash ledger, and the last ones before it began.

        The balance of the first entry is checked against these earlier ones.
        """
        paths = ("account/bills-archive", "account/bills")
        chain = await self._both("bill", paths, self._span())
        known = {str(row["billId"]) for row in chain.rows}
        before = await self._client.get(
            paths[0], {"end": self._begin(), "limit": str(PAGE)}, check=_in_order("", {})
        )
        rows = [*chain.rows, *(row for row in before if str(row["billId"]) not in known)]
        return _Chain(rows, chain.pages + 1)

    async def _orders(self, instrument_type: str) -> _Chain:
        """Return the current state of every order of one type that may have been filled, each once.

        Resting orders are requested first: an order that ends meanwhile is then among the ended
        ones. An interval of the past has no resting orders.
        """
        query = {"instType": instrument_type}
        begin = int((self._window.start - RESTING).timestamp()) * 1000
        ended = query | self._span() | {"begin": str(begin)}
        asked = [("trade/orders-history-archive", ended)]
        if self._until is None:
            asked = [("trade/orders-pending", query), *asked, ("trade/orders-history", ended)]
        chains = [(path, await self._chain(path, one, key="ordId")) for path, one in asked]
        rows: dict[str, Row] = {}
        for path, chain in [*chains[1:], chains[0]]:
            _merge(rows, chain.rows, path, "ordId", AGREEING_ORDER_KEYS)
        return _Chain(list(rows.values()), sum(chain.pages for _, chain in chains))

    async def _both(self, kind: str, paths: Sequence[str], query: Mapping[str, str]) -> _Chain:
        """Return the rows of two endpoints, the long and the recent one, each row once.

        An interval of the past is read only from the long one.
        """
        rows: dict[str, Row] = {}
        pages = 0
        for path in paths[:1] if self._until else paths:
            chain = await self._chain(path, query)
            pages += chain.pages
            _merge(rows, chain.rows, path)
        self._remember(kind, rows)
        return _Chain(list(rows.values()), pages)

    async def _chain(
        self, path: str, query: Mapping[str, str], after: str = "", key: str = "billId"
    ) -> _Chain:
        """Return the pages by `key`, newest first, down to a page that is empty twice."""
        rows: dict[str, Row] = {}
        for pages in range(1, MAX_PAGES + 1):
            asked = {**query, **({"after": after} if after else {}), "limit": str(PAGE)}
            check = _in_order(after, rows, key)
            page = await self._client.get(path, asked, check=check)
            page = page or await self._client.get(path, asked, check=check)
            if not page:
                return _Chain(list(rows.values()), pages)
            rows.update((str(row[key]), row) for row in page)
            after = str(page[-1][key])
        raise VenueBusy(f"{path}: more than {MAX_PAGES} pages: the cursor does not end")

    async def _closed_positions(self) -> _Chain:
        """Return closed positions. The pages by uTime overlap: several rows may share one."""
        rows: dict[str, Row] = {}
        cursor: dict[str, str] = {"after": self._span()["end"]} if self._until else {}
        for page_number in range(MAX_PAGES):
            page = await self._client.get(
                "account/positions-history",
                {**cursor, "limit": str(PAGE)},
                check=_has("posId", "uTime", number="uTime"),
            )
            fresh = {_row_id("position-history", row): row for row in page}
            is_known = fresh.keys() <= rows.keys()
            rows.update(fresh)
            oldest = min((int(str(row["uTime"])) for row in page), default=0)
            if is_known and len(page) == PAGE and cursor.get("after") == str(oldest + 1):
                raise VenueBusy("account/positions-history: a full page within one millisecond")
            if is_known or oldest < int(self._begin()):
                return _Chain(list(rows.values()), page_number + 1)
            cursor = {"after": str(oldest + 1)}
        raise VenueBusy(f"account/positions-history: more than {MAX_PAGES} pages")

    async def _snapshots(self) -> AsyncIterator[Record | Coverage]:
        """Yield positions and balances that match exactly the fetched fills and bills.

        A snapshot is valid if no fill and no bill arrived while it was taken. Otherwise the new
        ones are fetched, and the snapshot is taken again.
        """
        reason = "the account traded during each request for its positions: run in a quieter minute"
        positions: list[Row] = []
        balances: list[Row] = []
        taken: datetime | None = None
        try:
            for _ in range(SNAPSHOT_TRIES):
                before = self._now()
                positions = await self._client.get("account/positions", check=_has("instId", "pos"))
                balances = await self._client.get("account/balance", check=_has("details"))
                late = [item async for item in self._late_arrivals(before)]
                for item in late:
                    yield item
                if not any(isinstance(item, Record) for item in late):
                    # The venue's clock may run ahead: known records were before the snapshot.
                    taken = max(before, min(self._newest_at, before + MAX_AHEAD))
                    break
        except VenueBusy as error:
            reason = str(error)
        if taken is not None:
            for row in positions:
                yield Record("position", _row_id("position", row), payload_text(row))
            for row in balances:
                yield Record("balance", "account", payload_text(row))
        snapshots: tuple[tuple[Evidence, str, list[Row]], ...] = (
            ("positions", "position", positions),
            ("balances", "balance", balances),
        )
        for evidence, kind, rows in snapshots:
            yield self._statement(
                evidence,
                kind,
                "failed" if taken is None else "complete",
                to=taken,
                pages=1,
                rows=0 if taken is None else len(rows),
                is_snapshot=True,
                reason=reason if taken is None else "",
            )

    async def _late_arrivals(self, asked_at: datetime) -> AsyncIterator[Record | Coverage]:
        """Yield fills and bills newer than the known ones, and their coverage."""
        queries: list[tuple[Evidence, str, str, dict[str, str]]] = [
            ("fills", f"fill/{name}", "trade/fills", {"instType": name}) for name in self._types
        ]
        known = dict(self._newest)
        for evidence, kind, path, query in [*queries, ("ledger", "bill", "account/bills", {})]:
            noun = kind.partition("/")[0]
            newest = known.get(kind, 0)
            asked = {**query, "begin": self._begin()}
            page = await self._client.get(
                path, {**asked, "limit": str(PAGE)}, check=_in_order("", {})
            )
            if page and all(_number(row) > newest for row in page):
                page += (await self._chain(path, asked, str(page[-1]["billId"]))).rows
            fresh = {str(row["billId"]): row for row in page if _number(row) > newest}
            for name, row in fresh.items():
                yield Record(noun, name, payload_text(row))
            self._remember(kind, fresh)
            if fresh:
                yield self._statement(
                    evidence, kind, "complete", since=asked_at, rows=len(fresh), pages=1
                )

    async def _instruments(self) -> AsyncIterator[Record | Coverage]:
        rows: dict[str, Row] = {}
        try:
            for query in _listings(self._types, self._families):
                for row in await self._client.get(
                    "public/instruments", query, check=_has("instId", "ctVal")
                ):
                    rows[str(row["instId"])] = row
        except VenueBusy as error:
            yield self._statement("instruments", "instrument", "failed", reason=str(error))
            return
        for name, row in rows.items():
            self._settled_in[name] = str(row.get("settleCcy") or "")
            yield Record("instrument", name, payload_text(row))
        yield self._statement(
            "instruments", "instrument", "complete", pages=len(self._types), rows=len(rows)
        )

    async def _rates(self) -> AsyncIterator[Record | Coverage]:
        """Yield the candles of the minutes with payments in another currency."""
        pages = rows = 0
        try:
            for currency, minutes in self._minutes.of(self._settled_in).items():
                found, asked = await candles(
                    self._client, str(self._minutes.currency), currency, minutes, self._known
                )
                for record in found:
                    yield record
                pages, rows = pages + asked, rows + len(found)
        except VenueBusy as error:
            yield self._statement("rates", "candle", "failed", reason=str(error))
            return
        yield self._statement("rates", "candle", "complete", pages=pages, rows=rows)

    def _remember(self, kind: str, rows: Mapping[str, Row]) -> None:
        newest = max(map(_number, rows.values()), default=0)
        self._newest[kind] = max(newest, self._newest.get(kind, 0))
        for row in rows.values():
            self._minutes.note(kind.partition("/")[0], row)
            if row.get("instType") == "OPTION":
                self._families.add("-".join(str(row.get("instId")).split("-")[:2]))
        times_ms = (int(row["ts"]) for row in rows.values() if _is_number(row.get("ts")))
        latest_ms = max((ms for ms in times_ms if ms < FAR_FUTURE_MS), default=0)
        latest = datetime.fromtimestamp((latest_ms + 1) / 1000, UTC)
        self._newest_at = max(latest, self._newest_at)

    def _begin(self) -> str:
        """Return the start of requests, in ms: a fill and its entry may be astride the window's."""
        return str(int((self._window.start - ASTRIDE).timestamp()) * 1000)

    def _span(self) -> dict[str, str]:
        """Return the interval of requests, in ms: up to now, unless there is an end."""
        span = {"begin": self._begin()}
        if self._until is not None:
            span["end"] = str(int((self._until + ASTRIDE).timestamp()) * 1000)
        return span

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
        first_id: str = "",
        last_id: str = "",
        retries: int = 0,
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
            first_id=first_id,
            last_id=last_id,
            retries=retries,
            skew_ms=self._client.skew_ms,
        )


def _listings(types: Collection[str], families: Collection[str]) -> list[dict[str, str]]:
    """Return the requests that list every instrument. OKX lists options by family."""
    return [
        *({"instType": name} for name in types if name != "OPTION"),
        *(
            {"instType": "OPTION", "instFamily": family}
            for family in sorted(families)
            if "OPTION" in types
        ),
    ]


def _currencies(row: Row) -> set[str]:
    """Return the currencies that an instrument consists of, is settled in or is named by."""
    named = str(row["instId"]).split("-")[:2]
    return {*named, *(str(row.get(key) or "") for key in ("settleCcy", "quoteCcy", "baseCcy"))}


def _row_id(kind: str, row: Row) -> str:
    if kind == "position":
        return "/".join(str(row.get(key, "")) for key in ("instId", "posSide", "mgnMode", "posId"))
    if kind == "position-history":
        return f"{row['posId']}/{row['uTime']}"
    return str(row["ordId" if kind == "order" else "billId"])


def _happened_at(kind: str, row: Row) -> datetime | None:
    """Return the venue's time of a row, or None if it is not a valid time."""
    text = str(row.get({"position-history": "uTime", "order": "cTime"}.get(kind, "ts")))
    if not _is_number(text) or int(text) >= FAR_FUTURE_MS:
        return None
    return datetime.fromtimestamp(int(text) // 1000, UTC)


def _day_after(at: datetime) -> date:
    """Return the first whole UTC day after an instant."""
    return (at + timedelta(days=1)).date()


def _number(row: Row) -> int:
    return int(str(row["billId"]))


def _is_number(value: object) -> bool:
    """Return whether `value` is the text of a whole number of at most `DIGITS` digits."""
    return isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= DIGITS


def _has(*keys: str, number: str = "") -> Callable[[list[Row]], None]:
    """Return a check that every row has text for each of `keys`, and a whole number as `number`.

    A null is allowed, except for the first key, which identifies the row. A value that `LISTS`
    names is not checked. The check raises VenueBusy for an answer of another shape.
    """

    def check(rows: list[Row]) -> None:
        for row in rows:
            if missing := [key for key in keys if key not in row]:
                raise VenueBusy(f"a row without {', '.join(missing)}")
            for key in set(keys) - LISTS:
                if row[key] is None and key != keys[0]:
                    continue
                if not isinstance(row[key], str) or len(row[key]) > MAX_FIELD:
                    raise VenueBusy(
                        f"a row whose {key} is not text: {excerpt(str(row[key]), 60)!r}"
                    )
            if number and not _is_number(row[number]):
                raise VenueBusy(
                    f"a row whose {number} is not a number: {excerpt(row[number], 60)!r}"
                )

    return check


def _in_order(
    after: str, known: Mapping[str, Row], key: str = "billId"
) -> Callable[[list[Row]], None]:
    """Return a check of one page of a chain: newer rows first, all older than `after`, none known.

    `key` is the id by which the chain is paged. The check raises VenueBusy for a page that is
    doubled, overlapping or in another order.
    """

    def check(rows: list[Row]) -> None:
        _has(key, *(AGREEING_ORDER_KEYS if key == "ordId" else ()), number=key)(rows)
        if len(rows) > PAGE:
            raise VenueBusy(f"a page of {len(rows)} rows, and {PAGE} were requested")
        last = int(after) if after else None
        for row in rows:
            number = int(str(row[key]))
            if str(row[key]) in known or (last is not None and number >= last):
                raise VenueBusy(f"pages overlap or are out of order at {key} {number}")
            last = number

    return check


def _merge(
    rows: dict[str, Row],
    more: Iterable[Row],
    path: str,
    key: str = "billId",
    agreeing: Sequence[str] = AGREEING_KEYS,
) -> None:
    """Add the unknown rows. Raises VenueBusy for a row that differs between the two endpoints."""
    for row in more:
        known = rows.setdefault(str(row[key]), row)
        if any(known.get(name) != row.get(name) for name in agreeing):
            raise VenueBusy(f"{path}: {key} {row[key]} differs between two endpoints")


def _remedy(error: VenueError) -> str:
    if isinstance(error, KeyRefused):
        return "make a key with only the Read permission"
    if isinstance(error, VenueRefused):
        return "correct key, passphrase, mode (live or demo), region (base_url) or its address list"
    return "correct base_url, or connect this machine to it"
