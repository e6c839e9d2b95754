"""Interactive Brokers' Flex statements as evidence: downloaded files, or the web service.

Each row of a statement is landed verbatim. This module defines the ids of records, so that the same
row in two overlapping statements is one record. SQL interprets the rows. A statement covers, for
the sections that it contains, the sessions from its first date through its last that had ended when
it was generated.
"""

from __future__ import annotations

import asyncio
import glob
import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final

from connectors.ibkr_flex.client import BASE_URL, FLEX_PATIENCE, FlexService, Pauses
from connectors.ibkr_flex.statement import BLANK, Row, Statement, day, read_statements
from connectors.payload import payload_text
from connectors.retry import MOST_BYTES, RetryPolicy
from recon.core.calendars import Calendar
from recon.core.records import (
    CheckItem,
    Coverage,
    CoverageStatus,
    Evidence,
    EvidenceSpec,
    Record,
    Window,
)
from recon.errors import ConfigError, StatementError, VenueError, VenueRefused
from recon.system.file_text import NotRegularError, open_regular

VENUE: Final = "ibkr-flex"
NO_ID: Final = BLANK | {"N/A", "-"}

SECTIONS_OF: Final[Mapping[Evidence, tuple[str, ...]]] = {
    "fills": ("Trades", "TradeConfirms"),
    "ledger": ("CashTransactions",),
    "positions": ("OpenPositions",),
}
KINDS_OF: Final[Mapping[Evidence, tuple[str, ...]]] = {
    "fills": ("Trade", "TradeConfirm"),
    "ledger": ("CashTransaction",),
    "positions": ("OpenPosition",),
}

PROVING: Final[Mapping[str, tuple[str, ...]]] = {
    "cash": ("StmtFunds", "CashReport", "ChangeInNAV"),
    "equity": ("EquitySummaryInBase", "ChangeInNAV"),
    "corporate actions": ("CorporateActions",),
}
"""The sections of each proof: any one is enough. Without one the proof is absent."""

IDENTITY: Final = (
    "accountId", "levelOfDetail", "assetCategory", "symbol", "conid", "currency", "type",
    "transactionType", "buySell", "dateTime", "tradeDate", "tradeTime", "quantity", "tradePrice",
    "price", "amount", "description", "tradeID", "origTradeID", "ibOrderID", "orderID",
    "ibExecID", "execID", "direction", "date",
)  # fmt: skip
"""The columns that identify a row without an id of IBKR's. Columns that IBKR restates later (rates,
marks) and columns that depend on the query's settings are left out: they would double the row."""

IDENTIFIED: Final = frozenset({"Trade", "TradeConfirm", "CashTransaction", "Transfer"})
STANDING: Final = frozenset({"OpenPosition", "AccountInformation"})
"""Rows that state a balance or a setting, not an event."""
PERIODIC: Final = {
    "ConversionRate": ("reportDate", "fromCurrency", "toCurrency"),
    "CashReportCurrency": ("fromDate", "toDate", "levelOfDetail", "currency"),
    "ChangeInNAV": ("fromDate", "toDate", "currency"),
    "EquitySummaryByReportDateInBase": ("reportDate", "currency"),
}
"""Rows of a day or a period, with its columns: a later statement restates their figures."""
OWN_LEVELS: Final = frozenset({"", "EXECUTION", "DETAIL"})
BASE_CURRENCY: Final = {
    "AccountInformation": "currency",
    "ConversionRate": "toCurrency",
    "EquitySummaryByReportDateInBase": "currency",
    "ChangeInNAV": "currency",
    "CashReportCurrency": "currency",
    "StatementOfFundsLine": "currency",
}
"""Rows that state the base currency of a statement, and the field of it."""
IN_BASE_LEVEL: Final = frozenset({"CashReportCurrency", "StatementOfFundsLine"})
"""Those that state it only at the level BaseCurrency."""
NO_CURRENCY: Final = BLANK | {"BASE_SUMMARY"}


class _FlexConnector(ABC):
    """The shared part of both sources: yields the rows, and the coverage of the statements."""

    venue = VENUE
    promises: tuple[EvidenceSpec, ...] = tuple(
        EvidenceSpec(evidence, kind) for evidence, kinds in KINDS_OF.items() for kind in kinds
    )

    _remedy: str
    """The remedy for a source that cannot be read."""

    def __init__(self, account: str, calendar: Calendar, broker_account: str | None) -> None:
        self.account = account
        self._calendar = calendar
        self._broker_account = broker_account

    async def fetch(self, window: Window) -> AsyncGenerator[Record | Coverage, None]:
        """Yield the rows of every statement, then the coverage of each statement.

        Raises StatementError for an invalid document or one of several accounts, and VenueRefused
        if another request to the web service would not help.
        """
        async for item in self._items(window, self._statements()):
            yield item

    async def _items(
        self, window: Window, asked: Awaitable[tuple[Statement, ...]]
    ) -> AsyncGenerator[Record | Coverage, None]:
        """Yield the rows and coverage of statements, or failed coverage if they are missing."""
        try:
            statements = self._of_one_account(await asked)
        except VenueRefused:
            raise
        except VenueError as error:
            for evidence in SECTIONS_OF:
                yield _uncovered(evidence, window, "failed", str(error))
            return
        for record in records(statements):
            yield record
        for evidence in SECTIONS_OF:
            for statement in self._coverage(evidence, statements, window):
                yield statement

    async def check(self) -> list[CheckItem]:
        """Return the result of one request, and the sections that the statements lack."""
        try:
            return await self._check()
        except (VenueError, StatementError) as error:
            return [CheckItem(self.account, is_ok=False, detail=str(error), remedy=self._remedy)]

    @abstractmethod
    async def _statements(self) -> tuple[Statement, ...]: ...

    @abstractmethod
    async def _check(self) -> list[CheckItem]: ...

    def _of_one_account(self, statements: Sequence[Statement]) -> list[Statement]:
        accounts = sorted({statement.account_id for statement in statements})
        wanted = self._broker_account
        if wanted is None and len(accounts) > 1:
            raise StatementError(
                f"account {self.account}: the statements are of several accounts, "
                f'{", ".join(accounts)}: set broker_account = "{accounts[0]}", or another of them, '
                "in that [[accounts]] entry"
            )
        if wanted is not None and wanted not in accounts:
            raise StatementError(
                f"account {self.account}: no statement is of {wanted}, they are of "
                f"{', '.join(accounts)}: correct broker_account, or the Flex query's accounts"
            )
        return [found for found in statements if wanted in {None, found.account_id}]

    def _coverage(
        self, evidence: Evidence, statements: Sequence[Statement], window: Window
    ) -> Iterator[Coverage]:
        names = SECTIONS_OF[evidence]
        having = [found for found in statements if not found.sections.keys().isdisjoint(names)]
        if not having:
            yield _uncovered(
                evidence,
                window,
                "failed",
                f"no statement has the section {' or '.join(names)}: "
                "add it to the Flex query in Client Portal",
            )
            return
        served = [(found, *self._served(found)) for found in having]
        # Of statements with the same first date only the longest counts.
        whole = {start: (found, end) for found, start, end in sorted(served, key=_end)}
        for start, (found, end) in sorted(whole.items()):
            if start < end:
                yield Coverage(
                    evidence,
                    KINDS_OF[evidence],
                    "complete",
                    window.start,
                    window.end,
                    start,
                    end,
                    pages=1,
                    rows=_row_count(found, evidence),
                )
        newest = max(end for _, _, end in served)
        if newest < window.end:
            reason = self._short_of(served, window)
            yield _uncovered(evidence, window, "partial", reason, served_to=newest)

    def _served(self, statement: Statement) -> tuple[datetime, datetime]:
        """Return the interval that the statement covers completely; start = end if there is none.

        A statement that was generated before its last session ended does not cover that session.
        """
        try:
            start = self._calendar.session_on_or_after(statement.from_date).start
            last = self._calendar.session(statement.to_date)
            generated_at = statement.generated_at
            if generated_at is None:
                return start, start
            if generated_at < last.end:
                # The session open at generation starts where the last complete session ends.
                under_way = self._calendar.session_of(generated_at)
                return start, max(start, min(under_way.start, last.end))
        except (ValueError, ConfigError) as error:
            raise StatementError(
                f"account {self.account}: the calendar has no sessions for the statement from "
                f"{statement.from_date} to {statement.to_date} ({error})"
            ) from error
        return start, max(start, last.end)

    def _short_of(
        self, served: Sequence[tuple[Statement, datetime, datetime]], window: Window
    ) -> str:
        newest, _, end = max(served, key=lambda found: (found[0].to_date, found[2]))
        due = window.last.date
        if newest.generated_at is None:
            why = "it lacks whenGenerated, the time when it was generated, so it proves nothing"
        elif newest.to_date >= due and end < window.end:
            why = (
                f"generated at {newest.generated_at:%Y-%m-%d %H:%M} UTC, before that session ended"
            )
        else:
            why = "IBKR renews statements once a day, generally by 05:00 ET"
        return f"the newest statement ends {newest.to_date}; it lacks session {due} ({why})"


class IbkrFlex(_FlexConnector):
    """The Flex Web Service, for one token and one Activity Flex query.

    `patience` and `pauses` bound and space the requests.
    """

    piece = timedelta(days=90)
    _remedy = "check token, query_id and base_url, and run again"

    def __init__(  # noqa: PLR0913 - one plain value for each thing that the configuration names
        self,
        account: str,
        *,
        token: str,
        query_id: str,
        state_dir: Path,
        calendar: Calendar,
        broker_account: str | None = None,
        base_url: str = BASE_URL,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        patience: RetryPolicy = FLEX_PATIENCE,
        pauses: Pauses | None = None,
    ) -> None:
        super().__init__(account, calendar, broker_account)
        self._service = FlexService(
            token=token,
            query_id=query_id,
            state_dir=state_dir,
            now=now,
            base_url=base_url,
            patience=patience,
            pauses=pauses,
        )

    async def history(self, window: Window) -> AsyncGenerator[Record | Coverage, None]:
        """Yield the rows of a statement of only the window's dates, and its coverage."""
        days = window.first.date, window.last.date
        async for item in self._items(window, self._service.statements(days)):
            yield item

    async def _statements(self) -> tuple[Statement, ...]:
        return await self._service.statements()

    async def _check(self) -> list[CheckItem]:
        await self._service.reach()
        return [
            CheckItem(self.account, is_ok=True, detail="the Flex Web Service accepts the query")
        ]


class IbkrFlexFiles(_FlexConnector):
    """Downloaded statements. `patterns` are globs, absolute or relative to the working folder."""

    _remedy = "correct `files` or broker_account, or download the statements again"

    def __init__(
        self,
        account: str,
        *,
        patterns: Sequence[str],
        calendar: Calendar,
        broker_account: str | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        super().__init__(account, calendar, broker_account)
        self._patterns = tuple(patterns)
        self._most_bytes = most_bytes

    async def _statements(self) -> tuple[Statement, ...]:
        return await asyncio.to_thread(self._read)

    async def _check(self) -> list[CheckItem]:
        statements = self._of_one_account(await self._statements())
        present = {name for found in statements for name in found.sections}
        items = [
            CheckItem(self.account, is_ok=True, detail=f"{len(statements)} statements can be read")
        ]
        for evidence, names in SECTIONS_OF.items():
            if present.isdisjoint(names):
                section = " or ".join(names)
                items.append(
                    CheckItem(
                        f"{self.account}: {evidence}",
                        is_ok=False,
                        detail=f"no statement has the section {section}",
                        remedy=f"add {section} to the Flex query, and download again",
                    )
                )
        return items + self._unprovable(statements)

    def _unprovable(self, statements: Sequence[Statement]) -> list[CheckItem]:
        """Return an item for each proof that the statements do not allow. It is not a failure."""
        present = {name for found in statements for name in found.sections}
        lacking = [
            (what, f"add the section {' or '.join(names)} to the Flex query")
            for what, names in PROVING.items()
            if present.isdisjoint(names)
        ]
        trades = [row for found in statements for _, row in found.sections.get("Trades", [])]
        if trades and not any("fifoPnlRealized" in row for row in trades):
            lacking.append(("broker_pnl", "tick Realized P/L in the Flex query's section Trades"))
        return [
            CheckItem(
                f"{self.account}: {what}", is_ok=True, detail=f"the proof is absent: {remedy}"
            )
            for what, remedy in lacking
        ]

    def _read(self) -> tuple[Statement, ...]:
        paths = sorted({path for pattern in self._patterns for path in glob.glob(pattern)})
        if not paths:
            raise StatementError(
                f"account {self.account}: no file matches {', '.join(self._patterns)}: "
                "download the Flex statements there, or correct `files`"
            )
        found: list[Statement] = []
        room = self._most_bytes
        for path in map(Path, paths):
            data = self._read_file(path, room)
            room -= len(data)
            found += read_statements(data, path.name)
        return tuple(found)

    def _read_file(self, path: Path, most_bytes: int) -> bytes:
        """Return the content of a file. Raises StatementError for more than `most_bytes`.

        It never blocks: a pipe or a device is refused.
        """
        try:
            with open_regular(path) as file:
                data = file.read(most_bytes + 1)
        except NotRegularError as error:
            raise StatementError(
                f"account {self.account}: {path.name} is not a regular file: "
                "move it elsewhere, or correct `files`"
            ) from error
        except OSError as error:
            raise StatementError(
                f"account {self.account}: {path.name} cannot be read ({error.strerror}): "
                "give recon's user read permission on it"
            ) from error
        if len(data) > most_bytes:
            raise StatementError(
                f"account {self.account}: with {path.name} its files have more than the "
                f"{self._most_bytes} bytes that recon reads of one account: name fewer in `files`, "
                "or set a larger max_fetch_mb for it"
            )
        return data


def records(statements: Sequence[Statement]) -> Iterator[Record]:
    """Yield each record once. If several statements have it, the last generated one counts."""
    unknown = datetime.min.replace(tzinfo=UTC)
    found: dict[tuple[str, str], Record] = {}
    for statement in sorted(
        statements, key=lambda each: (each.generated_at or unknown, each.to_date)
    ):
        for record in _landed(statement):
            found[record.kind, record.id] = record
    yield from found.values()


def _landed(statement: Statement) -> Iterator[Record]:
    seen: Counter[tuple[str, str]] = Counter()
    whole: set[tuple[str, str, str]] = set()
    listed: dict[str, list[str]] = {"OpenPosition": [], "StatementOfFundsLine": []}
    for rows in statement.sections.values():
        is_levelled = any(attributes.get("levelOfDetail") for _, attributes in rows)
        for kind, attributes in rows:
            key = _row_id((kind, attributes), statement, is_levelled=is_levelled)
            payload = payload_text(attributes)
            if _has_own_id(kind, attributes) and (kind, key, payload) in whole:
                continue  # IBKR wrote one record twice
            whole.add((kind, key, payload))
            seen[kind, key] += 1
            count = seen[kind, key]
            identity = key if count == 1 else f"{key}#{count}"
            if kind in listed:
                listed[kind].append(identity)
            yield Record(kind, identity, payload, _happened_at(kind, attributes))
    yield _statement_record(statement, listed["OpenPosition"], listed["StatementOfFundsLine"])


def _statement_record(statement: Statement, positions: list[str], funds: list[str]) -> Record:
    """Return the record of a statement: its attributes, sections, positions and lines of funds.

    Positions that a renewed statement of the same date no longer states are thereby removed. The
    lines of funds are in the statement's order: each follows from the one before.
    """
    content = {
        "attributes": dict(statement.attributes),
        "sections": list(statement.sections),
        "from_date": statement.from_date.isoformat(),
        "to_date": statement.to_date.isoformat(),
        "positions": positions,
        "base_currencies": _base_currencies(statement),
        **({"funds": funds} if "StmtFunds" in statement.sections else {}),
    }
    key = f"{statement.from_date}/{statement.to_date}/{'+'.join(sorted(_evident(statement)))}"
    return Record("FlexStatement", key, payload_text(content))


def _base_currencies(statement: Statement) -> list[dict[str, str]]:
    """Return the base currencies that the statement's sections name, one row for each."""
    said = {
        (section, _text(attributes, BASE_CURRENCY[kind]))
        for section, rows in statement.sections.items()
        for kind, attributes in rows
        if kind in BASE_CURRENCY
        and (kind not in IN_BASE_LEVEL or attributes.get("levelOfDetail") == "BaseCurrency")
    }
    return [
        {"section": section, "currency": currency}
        for section, currency in sorted(said)
        if currency not in NO_CURRENCY
    ]


def _evident(statement: Statement) -> set[str]:
    names = {name for sections in SECTIONS_OF.values() for name in sections}
    return names & statement.sections.keys()


def _has_own_id(kind: str, attributes: Mapping[str, str]) -> bool:
    """Return whether the row has an id of IBKR's. A lot has only that of its opening trade."""
    if kind not in IDENTIFIED or attributes.get("levelOfDetail", "").upper() not in OWN_LEVELS:
        return False
    if kind == "TradeConfirm":
        return (
            _text(attributes, "tradeID") not in NO_ID and _text(attributes, "execID") not in NO_ID
        )
    return _text(attributes, "transactionID") not in NO_ID


def _row_id(row: Row, statement: Statement, *, is_levelled: bool) -> str:
    kind, attributes = row
    level = attributes.get("levelOfDetail", "")
    if kind == "OpenPosition":
        what = _text(attributes, "conid") or _text(attributes, "symbol") or "unnamed"
        return f"{statement.to_date}/{what}/{level}"
    if kind in PERIODIC:
        texts = {"fromDate": str(statement.from_date), "toDate": str(statement.to_date)}
        return "/".join(_text(attributes, name) or texts.get(name, "") for name in PERIODIC[kind])
    if kind == "AccountInformation":
        return "AccountInformation"
    # A row without a level may restate rows with a level: SQL needs to distinguish them.
    prefix = "unlevelled/" if is_levelled and not level and kind == "CashTransaction" else ""
    if _has_own_id(kind, attributes):
        if kind == "TradeConfirm":
            return f"{_text(attributes, 'tradeID')}/{_text(attributes, 'execID')}"
        return prefix + _text(attributes, "transactionID")
    named = IDENTITY if kind in IDENTIFIED else tuple(sorted(attributes))
    content = json.dumps([(name, attributes[name]) for name in named if name in attributes])
    return f"{prefix}sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def _happened_at(kind: str, attributes: Mapping[str, str]) -> datetime | None:
    """Return the date of an event, at midnight UTC; None for a row without a date or no event."""
    if kind in STANDING:
        return None
    for name in ("tradeDate", "reportDate", "dateTime", "date", "toDate"):
        try:
            found = day(attributes.get(name, ""))
        except ValueError:
            return None
        if found is not None:
            return datetime.combine(found, time(), UTC)
    return None


def _text(attributes: Mapping[str, str], name: str) -> str:
    return attributes.get(name, "").strip()


def _row_count(statement: Statement, evidence: Evidence) -> int:
    rows = (row for name in SECTIONS_OF[evidence] for row in statement.sections.get(name, []))
    return sum(kind in KINDS_OF[evidence] for kind, _ in rows)


def _end(served: tuple[Statement, datetime, datetime]) -> datetime:
    return served[2]


def _uncovered(
    evidence: Evidence,
    window: Window,
    status: CoverageStatus,
    reason: str,
    *,
    served_to: datetime | None = None,
) -> Coverage:
    """Return coverage of an empty interval, with the reason."""
    at = served_to or window.start
    return Coverage(
        evidence,
        KINDS_OF[evidence],
        status,
        window.start,
        window.end,
        at,
        at,
        reason=reason,
    )
