"""The reader of Interactive Brokers' Flex documents: attributes stay text, defects are named.

A document holds one statement per account and period. A misplaced element is an error and never an
empty statement: otherwise a broken download would look like "no trades". SQL checks the values, row
by row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from typing import Final, NoReturn
from xml.etree.ElementTree import ParseError
from zoneinfo import ZoneInfo, available_timezones

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from recon.core.calendars import NEW_YORK, to_utc
from recon.errors import StatementError
from recon.outside_text import excerpt

MAX_DEPTH: Final = 16
"""The most levels of nested elements."""
MAX_ELEMENTS: Final = 500_000
"""The most elements of one document: each row is one."""
MAX_VALUES: Final = 4_000_000
"""The most attributes of one document."""
MAX_ATTRIBUTES: Final = 1_000
"""The most attributes of one element."""
MAX_NAMES: Final = 10_000
"""The most different names of attributes in one document."""
MAX_TEXT: Final = 65_536
"""The most characters of one attribute, or of one field of an answer."""
MAX_TAG_BYTES: Final = 1024 * 1024
"""The most bytes of one tag, comment or other piece that the parser reads as a whole."""
MAX_COUNT_DIGITS: Final = 9
ANSWER_DEPTH: Final = 2
SECTION_DEPTH: Final = 4
CHUNK_BYTES: Final = 64 * 1024

ROOT: Final = "FlexQueryResponse"
ANSWER_ROOT: Final = "FlexStatementResponse"
BLANK: Final = frozenset({"", "--"})

SECTION_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "Trade": ("Trades",),
    "Order": ("Trades", "TradeConfirms"),
    "Lot": ("Trades",),
    "SymbolSummary": ("Trades", "TradeConfirms"),
    "AssetSummary": ("Trades", "TradeConfirms"),
    "WashSale": ("Trades",),
    "TradeConfirm": ("TradeConfirms",),
    "CashTransaction": ("CashTransactions",),
    "OpenPosition": ("OpenPositions",),
    "CorporateAction": ("CorporateActions",),
    "Transfer": ("Transfers",),
    "ConversionRate": ("ConversionRates",),
    "StatementOfFundsLine": ("StmtFunds",),
}
"""The sections of the rows that recon reads. Rows of other names may be in any section."""

EVIDENCE_SECTIONS: Final = frozenset(
    {"Trades", "TradeConfirms", "CashTransactions", "OpenPositions"}
)
SECTIONS: Final = frozenset(section for places in SECTION_OF.values() for section in places)
STATEMENT_ONLY: Final = SECTIONS | {"AccountInformation"}

ENCODINGS: Final = frozenset({"UTF-8", "UTF-16", "US-ASCII", "ISO-8859-1", "WINDOWS-1252"})
"""The encodings of a document. IBKR writes UTF-8; a saved copy may have another."""
_DECLARED = re.compile(rb"""[^<]{0,4}<\?xml\b[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._-]*)""")
_MOMENT = re.compile(
    r"(?P<day>\d{8}|\d{4}-\d{2}-\d{2})"
    r"(?:(?:;|T| |, ?)(?P<time>\d{6}|\d{2}:\d{2}:\d{2})(?: (?P<zone>\S+))?)?"
)
ZONES: Final[Mapping[str, float]] = {
    "UTC": 0, "GMT": 0, "WET": 0, "BST": 1, "WEST": 1, "CET": 1, "MET": 1, "CEST": 2, "MEST": 2,
    "EET": 2, "SAST": 2, "EEST": 3, "MSK": 3, "PKT": 5, "WIB": 7, "ICT": 7, "HKT": 8, "SGT": 8,
    "MYT": 8, "AWST": 8, "JST": 9, "KST": 9, "ACST": 9.5, "AEST": 10, "ACDT": 10.5, "AEDT": 11,
    "NZST": 12, "NZDT": 13, "NST": -3.5, "NDT": -2.5, "EDT": -4, "EST": -5,
    "CDT": -5, "MDT": -6, "MST": -7, "PDT": -7, "AKDT": -8, "AKST": -9, "HST": -10,
}  # fmt: skip
"""The hours east of UTC of a zone's abbreviation. AST, CST, IST and PST are ambiguous, and are
refused. The macro `zone_minutes` is the same table in SQL."""

Row = tuple[str, dict[str, str]]


class CutOffError(StatementError):
    """The document is not well-formed XML: cut off, garbled or edited by hand."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One account's statement of one period, as IBKR wrote it.

    `sections` has a key for each section that the statement contains, empty ones included. An empty
    section means "no events"; an absent one means "unknown".
    """

    account_id: str
    from_date: date
    to_date: date
    generated_at: datetime | None
    sections: Mapping[str, list[Row]]
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """The web service's answer in place of a statement."""

    status: str
    code: str
    message: str
    reference: str
    url: str


def read_document(data: bytes, source: str) -> Answer | tuple[Statement, ...]:
    """Return the statements of one document, or the web service's answer in their place.

    `source` names the document in errors: a file name, or "web service". Raises StatementError for
    an invalid document, CutOffError for one that is not well-formed.
    """
    document = _parse(data, source)
    return document.answer() if document.root == ANSWER_ROOT else document.statements()


def read_statements(data: bytes, source: str) -> tuple[Statement, ...]:
    """Return the statements of one document.

    Raises StatementError also for an answer in their place, and else as `read_document` does.
    """
    found = read_document(data, source)
    if isinstance(found, Answer):
        raise StatementError(
            f"{source}: IBKR answered {found.status} {found.code} ({found.message}) in place of "
            "a statement: run the Flex query again and save the statement itself"
        )
    return found


def day(text: str) -> date | None:
    """Return the date in `text`, with or without a time after it; None for a blank.

    Raises ValueError for any other format and for a date that does not exist.
    """
    if text.strip() in BLANK:
        return None
    return _moment(text)[0].date()


def instant(text: str) -> datetime | None:
    """Return the instant (UTC) in `text`; None for a blank and for a date alone.

    A time without a zone is US Eastern. Raises ValueError for another format, for an unknown zone,
    and for a local time that exists twice or not at all.
    """
    if text.strip() in BLANK:
        return None
    try:
        return _instant(text)
    except OverflowError:
        raise ValueError(f"{excerpt(text, 40)!r} is a time that does not exist") from None


def _instant(text: str) -> datetime | None:
    local, zone, has_time = _moment(text)
    if not has_time:
        return None
    if zone is None:
        return to_utc(local, NEW_YORK)
    if zone in ZONES:
        return local.replace(tzinfo=timezone(timedelta(hours=ZONES[zone]))).astimezone(UTC)
    if zone not in _known_zones() or zone.isupper():
        raise ValueError(
            f"the time zone {excerpt(zone, 40)} of {excerpt(text, 60)!r} is not known, "
            "or means several: set the time zone of the IBKR account's statements to New York's"
        )
    return to_utc(local, ZoneInfo(zone))


@cache
def _known_zones() -> set[str]:
    return available_timezones()


def _moment(text: str) -> tuple[datetime, str | None, bool]:
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{excerpt(text, 60)!r} is not a date in a known format: set the Flex query's "
            "date format to yyyyMMdd and its time format to HHmmss"
        )
    clock = (match["time"] or "000000").replace(":", "")
    local = datetime.strptime(match["day"].replace("-", "") + clock, "%Y%m%d%H%M%S")  # noqa: DTZ007 - the caller sets the zone
    return local, match["zone"], match["time"] is not None


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= MAX_COUNT_DIGITS


def _parse(data: bytes, source: str) -> _Document:
    if not data.strip():
        raise CutOffError(f"{source}: the document is empty: download it again")
    if (declared := _DECLARED.match(data[:400].replace(b"\0", b""))) and (
        declared[1].decode().upper() not in ENCODINGS
    ):
        raise CutOffError(
            f"{source}: it declares the encoding {declared[1][:40].decode()}, which recon does "
            "not read: download it again from IBKR"
        )
    document = _Document(source)
    parser = DefusedXMLParser(target=document, forbid_dtd=True)
    expat = parser.parser
    document.line = lambda: int(expat.CurrentLineNumber)
    try:
        for start in range(0, len(data), CHUNK_BYTES):
            parser.feed(data[start : start + CHUNK_BYTES])
            document.check_pending(start + CHUNK_BYTES - max(0, expat.CurrentByteIndex))
        parser.close()
    except DefusedXmlException as error:
        raise StatementError(
            f"{source}, line {document.line()}: it declares a document type or an entity, which "
            "IBKR never does: discard it, and download it again from IBKR"
        ) from error
    except ParseError as error:
        raise CutOffError(
            f"{source}: not well-formed XML ({error}): it was cut off or edited, download it again"
        ) from error
    except (LookupError, ValueError) as error:
        raise CutOffError(
            f"{source}: its encoding cannot be read ({error}): download it again"
        ) from error
    return document


@dataclass(slots=True)
class _Open:
    """A statement that is being read."""

    attributes: dict[str, str]
    line: int
    sections: dict[str, list[Row]] = field(default_factory=dict)


class _Document:
    """The parser's target. It checks the place of each element as it arrives."""

    def __init__(self, source: str) -> None:
        self.root = ""
        self.line: Callable[[], int] = lambda: 0
        self._source = source
        self._path: list[str] = []
        self._count: str | None = None
        self._lists = 0
        self._open: list[_Open] = []
        self._fields: dict[str, str] = {}
        self._elements = 0
        self._values = 0
        self._names: set[str] = set()

    # Called by the parser.

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Handle the start of an element."""
        self._check_size(tag, attributes)
        place = len(self._path)
        if place == 0:
            self._start_root(tag)
        elif self.root == ROOT:
            starts = (self._start_list, self._start_statement, self._start_section)
            start = starts[place - 1] if place <= len(starts) else self._start_row
            start(tag, attributes)
        self._path.append(tag)

    def end(self, _tag: str) -> None:
        """Handle the end of an element."""
        self._path.pop()

    def data(self, text: str) -> None:
        """Handle text: an answer consists of it, a statement has none."""
        if self.root == ANSWER_ROOT:
            if len(self._path) == ANSWER_DEPTH:
                name = self._path[1].lower()
                said = self._fields.get(name, "")
                self._check_limit(f"the text of <{name}>", len(said) + len(text), MAX_TEXT)
                self._fields[name] = said + text
        elif text.strip() and (len(self._path) < SECTION_DEPTH or self._path[3] in SECTIONS):
            self._fail(
                f"<{self._path[-1]}> contains text ({excerpt(text.strip(), 40)!r}), where only "
                "elements belong: the document was edited, download it again"
            )

    def close(self) -> None:
        """Handle the end of the document."""

    def check_pending(self, pending_bytes: int) -> None:
        """Check the number of bytes that the parser holds without an element or text of them."""
        if pending_bytes > MAX_TAG_BYTES + CHUNK_BYTES:
            self._fail(f"a tag or a comment has more than {MAX_TAG_BYTES} bytes: download it again")

    # Results.

    def answer(self) -> Answer:
        """Return the fields of a FlexStatementResponse, in either spelling of its URL."""
        found = {name: text.strip() for name, text in self._fields.items()}
        if not found.get("status"):
            raise CutOffError(f"{self._source}: the answer has no Status")
        return Answer(
            found["status"],
            found.get("errorcode", ""),
            found.get("errormessage", ""),
            found.get("referencecode", ""),
            found.get("url", ""),
        )

    def statements(self) -> tuple[Statement, ...]:
        """Return the statements. Their number must be the one that the document announces."""
        if not self._lists:
            self._fail("there is no FlexStatements element: download a Flex statement")
        if self._count is None or not _is_count(self._count):
            self._fail(
                f"FlexStatements has count={excerpt(str(self._count), 40)!r}, which is "
                "not a number: download it again"
            )
        if int(self._count) != len(self._open):
            self._fail(
                f"it announces {self._count} statements and holds {len(self._open)}: "
                "it is incomplete, download it again"
            )
        if not self._open:
            self._fail("it holds no statement: check the Flex query's accounts and period")
        return tuple(self._statement(found) for found in self._open)

    def _check_size(self, tag: str, attributes: dict[str, str]) -> None:
        """Check an element, and the sums of all elements so far, against this module's limits."""
        self._elements += 1
        self._values += len(attributes)
        self._names.update(attributes)
        self._check_limit("the nesting of elements", len(self._path) + 1, MAX_DEPTH)
        self._check_limit("the number of elements", self._elements, MAX_ELEMENTS)
        self._check_limit("the number of attributes", self._values, MAX_VALUES)
        self._check_limit(
            f"the number of <{excerpt(tag, 40)}>'s attributes", len(attributes), MAX_ATTRIBUTES
        )
        self._check_limit("the number of different attributes", len(self._names), MAX_NAMES)
        longest = max(map(len, (tag, *attributes, *attributes.values())))
        self._check_limit(f"the length of a text in <{excerpt(tag, 40)}>", longest, MAX_TEXT)

    def _check_limit(self, what: str, value: int, limit: int) -> None:
        if value > limit:
            self._fail(
                f"{what} is {value}, more than the limit of {limit}: shorten the period of the "
                "Flex query"
            )

    # One method for each level of elements.

    def _start_root(self, tag: str) -> None:
        if tag not in {ROOT, ANSWER_ROOT}:
            self._fail(f"the root is <{tag}> and not <{ROOT}>: download a Flex statement")
        self.root = tag

    def _start_list(self, tag: str, attributes: dict[str, str]) -> None:
        if tag != "FlexStatements":
            self._misplaced(tag)
        self._lists += 1
        if self._lists > 1:
            self._fail("there are two FlexStatements elements: keep each document in its own file")
        self._count = attributes.get("count")

    def _start_statement(self, tag: str, attributes: dict[str, str]) -> None:
        if tag != "FlexStatement":
            self._misplaced(tag)
        self._open.append(_Open(attributes, self.line()))

    def _start_section(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in SECTION_OF or tag in {"FlexStatement", "FlexStatements"}:
            self._misplaced(tag)
        sections = self._open[-1].sections
        if tag in sections and tag in EVIDENCE_SECTIONS:
            self._fail(f"the section {tag} occurs twice in one statement: download it again")
        rows = sections.setdefault(tag, [])
        if attributes:
            rows.append((tag, attributes))

    def _start_row(self, tag: str, attributes: dict[str, str]) -> None:
        section = self._path[3]
        is_own = section in SECTION_OF.get(tag, (section,))
        if tag in STATEMENT_ONLY or not is_own or tag.startswith("FlexStatement"):
            self._misplaced(tag)
        if len(self._path) > SECTION_DEPTH and (tag in SECTION_OF or self._path[-1] in SECTION_OF):
            self._misplaced(tag)
        self._open[-1].sections[section].append((tag, attributes))

    def _statement(self, found: _Open) -> Statement:
        account = found.attributes.get("accountId", "").strip()
        if account in BLANK:
            self._fail("a FlexStatement has no accountId: download it again", found.line)
        start, end = (self._day(found, name) for name in ("fromDate", "toDate"))
        if end < start:
            self._fail(f"toDate {end} is before fromDate {start}: download it again", found.line)
        return Statement(
            account, start, end, self._generated(found), found.sections, found.attributes
        )

    def _day(self, found: _Open, name: str) -> date:
        try:
            value = day(found.attributes.get(name, ""))
        except ValueError as error:
            self._fail(f"{name}: {error}", found.line)
        if value is None:
            self._fail(
                f"a FlexStatement has no {name}, so its coverage is unknown: download it again",
                found.line,
            )
        return value

    def _generated(self, found: _Open) -> datetime | None:
        text = found.attributes.get("whenGenerated", "")
        try:
            return instant(text)
        except ValueError as error:
            # In the hour that exists twice the instant is unknown; the statement is still valid.
            if "exists twice" in str(error):
                return None
            self._fail(f"whenGenerated: {error}", found.line)

    def _misplaced(self, tag: str) -> NoReturn:
        self._fail(
            f"<{tag}> is in <{self._path[-1]}>, where it does not belong: "
            "the document was edited or joined by hand, download it again"
        )

    def _fail(self, what: str, line: int | None = None) -> NoReturn:
        raise StatementError(f"{self._source}, line {line or self.line()}: {what}")
