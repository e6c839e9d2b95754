"""Paging through an exchange's history by proof of completeness, and never by `timestamp - 1`.

ccxt's own paging continues from the last row's time, and loses rows that share a millisecond across
two pages. Here a full page proves nothing: its span is requested again in parts, down to a single
millisecond. Neighbouring parts share an instant, so it does not matter which of their ends an
exchange leaves out. Rows that cannot be proven complete are reported as lacking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from connectors.ccxt_exchange.client import CcxtClient, Row
from connectors.ccxt_exchange.exchanges import Paging
from recon.errors import VenueBusy, VenueError
from recon.outside_text import excerpt

MAX_PAGES = 20_000
PASSES = 3
"""The most counts of rows while their number changes."""
KEPT = (
    "id",
    "order",
    "symbol",
    "side",
    "amount",
    "price",
    "timestamp",
    "code",
    "fee",
    "fees",
    "info",
)
"""The fields of a row that records use. The others are dropped to save memory."""
DIGITS = 30
"""More digits than any id, count or time of an exchange has."""
LONGEST_NAME = 60
"""The most characters of a symbol or an id that an error repeats."""
SLACK_MS = 1_000
"""How far an exchange may round the times of a request."""
MILLISECOND = timedelta(milliseconds=1)


@dataclass(slots=True)
class Chain:
    """Rows by their own keys, and the interval (ms, half-open) in which they are complete."""

    whole_from: int
    whole_to: int
    rows: dict[str, Row] = field(default_factory=dict)
    pages: int = 0
    reason: str = ""

    def lacks(self, reason: str, *, before: int | None = None, since: int | None = None) -> None:
        """Store the reason why rows before an instant, or from one on, may be missing."""
        self.whole_from = max(self.whole_from, before if before is not None else self.whole_from)
        self.whole_to = min(self.whole_to, since if since is not None else self.whole_to)
        self.reason = self.reason or reason


class Pages:
    """Reads all rows of one call of an exchange between two instants."""

    def __init__(
        self, client: CcxtClient, call: str, paging: Paging, key: Callable[[Row], str]
    ) -> None:
        self._client = client
        self._call = call
        self._paging = paging
        self._key = key

    async def read(self, symbols: Sequence[str | None], since: int, until: int) -> Chain:
        """Return the rows of these symbols (None: of all) from `since` through `until` (ms).

        Raises VenueError for an invalid answer.
        """
        chain = Chain(since, until + 1)
        if self._paging.back is not None:
            served_from = until - self._paging.back // MILLISECOND
            if since < served_from:
                days = self._paging.back.days
                chain.lacks(
                    f"the exchange is known to serve only {days} days: set `since` later",
                    before=served_from,
                )
                since = served_from
        for symbol in symbols:
            for variant in self._paging.variants:
                part = _Part(self._client, self._call, self._paging, self._key, symbol, variant)
                await part.read(chain, since, until)
        newest = self._paging.newest
        if newest is not None and len(chain.rows) >= newest:
            stamps = [stamp for row in chain.rows.values() if (stamp := stamp_of(row))]
            oldest = min(stamps, default=until)
            chain.lacks(
                f"the exchange serves only the newest {newest}, from {_shown(oldest)}: "
                "run every night, and keep the state folder",
                before=oldest + 1,
            )
        return chain


@dataclass(slots=True)
class _Part:
    """Adds the rows of one symbol and one variant to a chain."""

    client: CcxtClient
    call: str
    paging: Paging
    key: Callable[[Row], str]
    symbol: str | None
    variant: Mapping[str, object]

    async def read(self, chain: Chain, since: int, until: int) -> None:
        if self.paging.style == "offset":
            await self._by_offset(chain, since, until)
            return
        for first, last in pairwise(_edges(since, until, self.paging.longest)):
            if self.paging.style == "cursor":
                await self._by_cursor(chain, first, last)
            else:
                await self._by_spans(chain, first, last)

    async def _by_spans(self, chain: Chain, since: int, until: int) -> None:
        spans = [(since, until)]
        known: dict[str, Row] = {}
        while spans:
            first, last = spans.pop()
            page = await self._page(chain, first, last, {"until": last})
            seen = set(self._add(known, page))
            if self.paging.page is None or len(page) < self.paging.page:
                if any(first <= (stamp_of(known[key]) or 0) <= last for key in known.keys() - seen):
                    raise VenueError(f"{self._named()}: rows of one page are missing in the next")
                if self.paging.page is None and page:
                    chain.lacks(
                        f"{self._named()}: the page size of this exchange is unknown, so no page "
                        "is known to be complete",
                        since=chain.whole_from,
                    )
                if self.paging.is_declared_alone and page and first < last:
                    await self._hold_against_parts(chain, known, page, (first, last))
            elif first == last:
                await self._overfull(chain, known, first)
            else:
                middle = _middle(page, first, last)
                spans += [(middle[1], last), (first, middle[0])]
        self._add(chain.rows, known.values())

    async def _hold_against_parts(
        self, chain: Chain, known: dict[str, Row], page: Sequence[Row], span: tuple[int, int]
    ) -> None:
        """Raise VenueError if a page that is not full lacks a row of its parts."""
        middle = _middle(page, *span)
        for first, last in ((span[0], middle[0]), (middle[1], span[1])):
            part = await self._page(chain, first, last, {"until": last})
            if any(self.key(row) not in known for row in part):
                raise VenueError(
                    f"{self._named()}: a page of {len(page)} rows is not whole, though "
                    f"{self.paging.page} are declared for one"
                )

    async def _overfull(self, chain: Chain, known: dict[str, Row], stamp: int) -> None:
        """Add the rows of a millisecond with more rows than a page: by id, or not at all."""
        earlier = [
            self._id(row)
            for row in (*chain.rows.values(), *known.values())
            if row["symbol"] == self.symbol and (stamp_of(row) or stamp) < stamp
        ]
        if not self.paging.from_id or not earlier:
            chain.lacks(
                f"{self._named()}: more rows share the millisecond {_shown(stamp)} than a page "
                "holds, so some of them cannot be read",
                since=stamp,
            )
            return
        next_id = max(earlier) + 1
        for _ in range(MAX_PAGES):
            page = await self._page(chain, None, None, {self.paging.from_id: next_id})
            here = [row for row in page if stamp_of(row) == stamp]
            self._add(known, here)
            ids = [self._id(row) for row in page]
            if len(page) < (self.paging.page or 1) or len(here) < len(page):
                return
            if max(ids) < next_id:
                raise VenueError(f"{self._named()}: ids do not rise")
            next_id = max(ids) + 1

    async def _by_cursor(self, chain: Chain, since: int, until: int) -> None:
        cursors: set[str] = set()
        query: dict[str, object] = {"until": until}
        for _ in range(MAX_PAGES):
            page = await self._page(chain, since, until, query)
            self._add(chain.rows, page)
            cursor = str(self.client.found(self.paging.next_at) or "")
            if not page or not cursor:
                return
            if cursor in cursors:
                raise VenueBusy(f"{self._named()}: two pages name the same next page")
            cursors.add(cursor)
            query["cursor"] = cursor
        raise VenueBusy(f"{self._named()}: more than {MAX_PAGES} pages: the cursor does not end")

    async def _by_offset(self, chain: Chain, since: int, until: int) -> None:
        """Add rows by their offset, newest first, until their number matches the exchange's count.

        A row that arrives meanwhile shifts the others: then they are counted again.
        """
        for _ in range(PASSES):
            rows: dict[str, Row] = {}
            taken = count = 0
            while not taken or taken < count:
                page = await self._page(
                    chain, since - SLACK_MS, until, {"until": until, "ofs": taken}
                )
                count = self._counted()
                self._add(rows, page)
                taken += len(page)
                if not page:
                    break
            if len(rows) == count:
                self._add(chain.rows, rows.values())
                return
        raise VenueBusy(f"{self._named()}: the exchange counts {count} rows and serves {len(rows)}")

    def _id(self, row: Row) -> int:
        """Return the id of a row as a number. Raises VenueError for any other id."""
        text = str(row.get("id"))
        if not _is_number(text):
            raise VenueError(f"{self._named()}: the id {excerpt(text, 60)!r} is not a number")
        return int(text)

    def _counted(self) -> int:
        text = str(self.client.found(self.paging.next_at))
        if not _is_number(text):
            raise VenueBusy(f"{self._named()}: the answer lacks the number of all rows")
        return int(text)

    async def _page(
        self, chain: Chain, since: int | None, until: int | None, query: Mapping[str, object]
    ) -> list[Row]:
        if chain.pages >= MAX_PAGES:
            raise VenueBusy(f"{self._named()}: more than {MAX_PAGES} pages")
        chain.pages += 1
        page = await self.client.rows(
            self.call,
            *(self.symbol, since, self.paging.page, {**self.variant, **query}),
            at=self.paging.at,
        )
        at = self.paging.at
        if at is not None and len(self.client.found(at.names)) != len(page):
            raise VenueBusy(f"{self._named()}: ccxt could not parse some rows")
        page = [{name: row[name] for name in KEPT if name in row} for row in page]
        if since is None or until is None:
            return page
        stamps = [stamp for row in page if (stamp := stamp_of(row)) is not None]
        if any(not since - SLACK_MS <= stamp <= until + 2 * SLACK_MS for stamp in stamps):
            raise VenueError(f"{self._named()}: the answer has rows outside the requested times")
        return page

    def _add(self, rows: dict[str, Row], page: object) -> list[str]:
        """Add a page's rows. Raises VenueBusy for a row that differs from its earlier copy."""
        keys = []
        for row in page:  # type: ignore[attr-defined]  # dict views and lists alike
            key = self.key(row)
            # ccxt writes bybit's next page into a row: it is no part of the record.
            row["info"].pop("nextPageCursor", None)
            if rows.setdefault(key, row)["info"] != row["info"]:
                said = f"{excerpt(str(key), 2 * LONGEST_NAME)} differs between two pages"
                raise VenueBusy(f"{self._named()}: {said}")
            keys.append(key)
        return keys

    def _named(self) -> str:
        return f"{self.call} {excerpt(self.symbol, LONGEST_NAME)}" if self.symbol else self.call


def stamp_of(row: Row) -> int | None:
    """Return the exchange's time of a row, in ms."""
    stamp = row.get("timestamp")
    return int(stamp) if stamp is not None else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= DIGITS


def _edges(since: int, until: int, longest: timedelta | None) -> list[int]:
    """Return the edges of the spans of requests; neighbours share an edge."""
    step = longest // MILLISECOND if longest is not None else max(1, until - since)
    return [*range(since, until, step), until]


def _middle(page: Sequence[Row], first: int, last: int) -> tuple[int, int]:
    """Return where a span is split: (end of the earlier part, start of the later one)."""
    if last - first == 1:
        return first, last
    stamps = sorted(stamp for row in page if (stamp := stamp_of(row)) is not None)
    median = stamps[len(stamps) // 2] if stamps else (first + last) // 2
    middle = min(max(median, first + 1), last - 1)
    return middle, middle


def _shown(stamp: int) -> str:
    return f"{datetime.fromtimestamp(stamp / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"
