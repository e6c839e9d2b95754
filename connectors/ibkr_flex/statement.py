"""Read an Interactive Brokers Flex document: every attribute kept as text, every defect named.

A document holds one statement an account and period. What is not where it belongs is an error and
never an empty statement: a reader that shrugs at a misplaced row turns a broken download into "no
trades". Values are not judged here; SQL does that, row by row.
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
"""Elements within each other."""
MAX_ELEMENTS: Final = 500_000
"""Elements of one document: a row is one."""
MAX_VALUES: Final = 4_000_000
"""Attributes of one document."""
MAX_ATTRIBUTES: Final = 1_000
"""Attributes of one element."""
MAX_NAMES: Final = 10_000
"""Different names of attributes in one document."""
MAX_TEXT: Final = 65_536
"""Characters of one attribute, or of one field of an answer."""
MAX_TAG_BYTES: Final = 1024 * 1024
"""Bytes of one tag, comment or other piece that the parser takes as a whole."""
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
"""Where the rows that we read belong. Rows of other names may stand in sections of any name."""

EVIDENCE_SECTIONS: Final = frozenset(
    {"Trades", "TradeConfirms", "CashTransactions", "OpenPositions"}
)
SECTIONS: Final = frozenset(section for places in SECTION_OF.values() for section in places)
STATEMENT_ONLY: Final = SECTIONS | {"AccountInformation"}

ENCODINGS: Final = frozenset({"UTF-8", "UTF-16", "US-ASCII", "ISO-8859-1", "WINDOWS-1252"})
"""What a document may be written in. IBKR writes UTF-8; who saves one again may choose another."""
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
"""Hours east of UTC that an abbreviation stands for. AST, CST, IST and PST mean different times in
different parts of the world, and are not read. The macro `zone_minutes` says the same in SQL."""

Row = tuple[str, dict[str, str]]


class CutOffError(StatementError):
    """The document is not well-formed XML: cut off or garbled on the way, or written by hand."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One account's statement of one period, as IBKR wrote it.

    `sections` has a key for each section that the statement contains, also for an empty one: a
    section that is there and empty says "nothing happened", one that is absent says nothing.
    """

    account_id: str
    from_date: date
    to_date: date
    generated_at: datetime | None
    sections: Mapping[str, list[Row]]
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the web service answers when it does not answer with a statement."""

    status: str
    code: str
    message: str
    reference: str
    url: str


def read_document(data: bytes, source: str) -> Answer | tuple[Statement, ...]:
    """Return the statements of one document, or the web service's answer where it is one.

    `source` names it in errors: a file name, or "web service". Raises StatementError for anything
    that is not a whole document, CutOffError where it is not well-formed.
    """
    document = _parse(data, source)
    return document.answer() if document.root == ANSWER_ROOT else document.statements()


def read_statements(data: bytes, source: str) -> tuple[Statement, ...]:
    """Return the statements of one document; an answer in their place is an error, too.

    Raises as `read_document` does.
    """
    found = read_document(data, source)
    if isinstance(found, Answer):
        raise StatementError(
            f"{source}: IBKR answered {found.status} {found.code} ({found.message}) in place of "
            "a statement: run the Flex query again and save the statement itself"
        )
    return found


def day(text: str) -> date | None:
    """Return the date that `text` writes, with or without a time after it; None for a blank.

    Raises ValueError for any other format, for a day that does not exist, too.
    """
    if text.strip() in BLANK:
        return None
    return _moment(text)[0].date()


def instant(text: str) -> datetime | None:
    """Return the instant (UTC) that `text` writes; None for a blank and for a date alone.

    With no zone it is US Eastern. Raises ValueError for another format, for a zone that is not
    known, and for a local time that exists twice or not at all.
    """
    if text.strip() in BLANK:
        return None
    try:
        return _instant(text)
    except OverflowError:
        raise ValueError(f"{excerpt(text, 40)!r} is a time that no calendar has") from None


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
            f"{excerpt(text, 60)!r} is not a date that can be read: set the Flex query's "
            "date format to yyyyMMdd and its time format to HHmmss"
        )
    clock = (match["time"] or "000000").replace(":", "")
    local = datetime.strptime(match["day"].replace("-", "") + clock, "%Y%m%d%H%M%S")  # noqa: DTZ007 - the zone is decided by the caller
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
            f"{source}: it declares the encoding {declared[1][:40].decode()}, which is not read: "
            "download it again from IBKR"
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
            "IBKR never does: do not trust this document, download it again from IBKR"
        ) from error
    except ParseError as error:
        raise CutOffError(
            f"{source}: not well-formed XML ({error}): it was cut off or edited, download it again"
        ) from error
    except (LookupError, ValueError) as error:
        raise CutOffError(f"{source}: its encoding cannot be read ({error})") from error
    return document


@dataclass(slots=True)
class _Open:
    """A statement that is being read."""

    attributes: dict[str, str]
    line: int
    sections: dict[str, list[Row]] = field(default_factory=dict)


class _Document:
    """The parser's target: checks each element against its place as it arrives."""

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

    # What the parser calls.

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take an element's beginning."""
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
        """Take an element's end."""
        self._path.pop()

    def data(self, text: str) -> None:
        """Take text: an answer is made of it, a statement never is."""
        if self.root == ANSWER_ROOT:
            if len(self._path) == ANSWER_DEPTH:
                name = self._path[1].lower()
                said = self._fields.get(name, "")
                self._check_limit(f"the text of <{name}>", len(said) + len(text), MAX_TEXT)
                self._fields[name] = said + text
        elif text.strip() and (len(self._path) < SECTION_DEPTH or self._path[3] in SECTIONS):
            self._fail(
                f"there is text in <{self._path[-1]}> ({excerpt(text.strip(), 40)!r}), where only "
                "elements belong: the document was edited, download it again"
            )

    def close(self) -> None:
        """Take the document's end."""

    def check_pending(self, pending_bytes: int) -> None:
        """Take how many bytes the parser holds that it has not made an element or text of."""
        if pending_bytes > MAX_TAG_BYTES + CHUNK_BYTES:
            self._fail(f"a tag or a comment has more than the {MAX_TAG_BYTES} bytes that are read")

    # What it amounts to.

    def answer(self) -> Answer:
        """Return the fields of a FlexStatementResponse, in either spelling of its url."""
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
        """Return the statements, once their number is what the document says it is."""
        if not self._lists:
            self._fail("there is no FlexStatements element: this is no statement")
        if self._count is None or not _is_count(self._count):
            self._fail(
                f"FlexStatements has count={excerpt(str(self._count), 40)!r}, which is no number"
            )
        if int(self._count) != len(self._open):
            self._fail(
                f"it announces {self._count} statements and holds {len(self._open)}: "
                "it is not whole, download it again"
            )
        if not self._open:
            self._fail("it holds no statement at all: check the Flex query's accounts and period")
        return tuple(self._statement(found) for found in self._open)

    def _check_size(self, tag: str, attributes: dict[str, str]) -> None:
        """Hold an element, and all elements so far, against the limits of this module."""
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
                f"{what} is {value}, more than the {limit} that are read: is this a statement of "
                "IBKR's? If it is, shorten the period of the Flex query"
            )

    # Each element in its place.

    def _start_root(self, tag: str) -> None:
        if tag not in {ROOT, ANSWER_ROOT}:
            self._fail(f"the root is <{tag}> and not <{ROOT}>: this is no Flex statement")
        self.root = tag

    def _start_list(self, tag: str, attributes: dict[str, str]) -> None:
        if tag != "FlexStatements":
            self._misplaced(tag)
        self._lists += 1
        if self._lists > 1:
            self._fail("there are two FlexStatements elements: documents were joined by hand")
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
            self._fail(f"the section {tag} occurs twice in one statement: which one holds?")
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
            self._fail("a FlexStatement has no accountId", found.line)
        start, end = (self._day(found, name) for name in ("fromDate", "toDate"))
        if end < start:
            self._fail(f"toDate {end} is before fromDate {start}", found.line)
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
                f"a FlexStatement has no {name}: without it nobody can say what it covers, "
                "download it again",
                found.line,
            )
        return value

    def _generated(self, found: _Open) -> datetime | None:
        text = found.attributes.get("whenGenerated", "")
        try:
            return instant(text)
        except ValueError as error:
            # In the hour that exists twice the instant is unknown, and the statement is good.
            if "exists twice" in str(error):
                return None
            self._fail(f"whenGenerated: {error}", found.line)

    def _misplaced(self, tag: str) -> NoReturn:
        self._fail(
            f"<{tag}> stands in <{self._path[-1]}>, where it does not belong: "
            "the document was edited or joined by hand, download it again"
        )

    def _fail(self, what: str, line: int | None = None) -> NoReturn:
        raise StatementError(f"{self._source}, line {line or self.line()}: {what}")
