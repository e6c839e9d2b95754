"""Flex statements and answers, spoilt: each is read right, or refused by an error that says why."""

from __future__ import annotations

import asyncio
import random
import tempfile
from contextlib import suppress
from datetime import date
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from connectors.ibkr_flex.connector import IbkrFlexFiles
from connectors.ibkr_flex.statement import read_document
from recon.core.calendars import calendar, window
from recon.errors import StatementError
from tests.fuzz.door import fuzzed
from tests.fuzz.hostile import Items, check_sound, gathered

WINDOW = window(calendar("XNYS"), date(2026, 1, 5), date(2026, 1, 6))
STATEMENT = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1">'
    '<FlexStatement accountId="U1" fromDate="20260105" toDate="20260106" '
    'whenGenerated="20260107;050000">'
    '<AccountInformation currency="USD"/>'
    '<Trades><Trade transactionID="11" tradeID="1" levelOfDetail="EXECUTION" symbol="X" '
    'assetCategory="STK" quantity="1.50" tradePrice="2" tradeDate="20260105"/>'
    '<Trade transactionID="12" tradeID="2" levelOfDetail="EXECUTION" symbol="É" quantity="-1"/>'
    '</Trades><CashTransactions><CashTransaction transactionID="13" type="Dividends" '
    'amount="0.10" dateTime="20260106;202000"/></CashTransactions>'
    '<OpenPositions><OpenPosition conid="7" symbol="X" position="0.5"/></OpenPositions>'
    "</FlexStatement></FlexStatements></FlexQueryResponse>"
)
ANSWER = (
    "<FlexStatementResponse timestamp='1'><Status>Success</Status>"
    "<ReferenceCode>123</ReferenceCode><Url>https://127.0.0.1/x</Url></FlexStatementResponse>"
)
VALUES = (
    "", "--", "x", "9" * 5_000, "1e999999999", "NaN", "٣", "²", "-1", "00010101", "99991231",
    "99991231;235959 UTC", "00010101;000000 JST", "20260105;000000 ../../etc/passwd",
    "20260105;000000 " + "x" * 300, "20261101;013000", "20260230", "x" * 70_000, "&#0;", "&#xD800;",
    "&#x1F600;", "&lt;", "&e;", "\x00", "\x1b[2J", "<", '" a="1', "2026-01-05, 10:00:00 EST",
)  # fmt: skip
PIECES = (
    "<!DOCTYPE x [<!ENTITY e 'ha'>]>",
    "<!-- " + "x" * 3_000_000 + " -->",
    "<![CDATA[x]]>",
    "x",
    "<?pi x?>",
    "<a>" * 30,
    "<a " + " ".join(f'a{n}="1"' for n in range(1_500)) + "/>",
    "<a" + " " * 3_000_000 + "/>",
    "<Trade/>",
    "<Trades/>",
    "<FlexStatement/>",
    "</Trades>",
    "<Trade a='1' a='2'/>",
    "<\u00e9 \u00e9='1'/>",
    "&e;",
    "\x00",
    "\ufeff",
    "<a:b xmlns:a=''/>",
)
ENCODINGS = (
    "UTF-16",
    "latin-1",
    "ascii",
    "utf-7",
    "zlib",
    "idna",
    "undefined",
    "cp037",
    "x" * 999,
    "utf-32",
    "rot13",
    "unicode_escape",
    "big5",
)


def spoilt(  # noqa: PLR0911 - one for each way
    document: str, chance: random.Random
) -> tuple[bytes, bool]:
    """Return a document with one thing spoilt, and whether no true statement can be so."""
    text, kind = document, chance.randrange(7)
    place = chance.randrange(len(text))
    if kind == 0:
        return text[:place].encode(), True
    if kind == 1:
        quotes = [at for at, sign in enumerate(text) if sign == '"']
        first = chance.randrange(0, len(quotes) - 1, 2) if quotes else 0
        begin, end = (quotes[first] + 1, quotes[first + 1]) if quotes else (place, place)
        return (text[:begin] + chance.choice(VALUES) + text[end:]).encode(), False
    if kind == 2:
        gaps = [at for at, sign in enumerate(text) if sign == "<"]
        gap = chance.choice(gaps)
        return (text[:gap] + chance.choice(PIECES) + text[gap:]).encode(), False
    if kind == 3:
        name = chance.choice(ENCODINGS)
        return text.replace("UTF-8", name, 1).encode(), False
    if kind == 4:
        return chance.choice([b"\xff\xfe", b"\xef\xbb\xbf", b"\xfe\xff"]) + text.encode(), False
    if kind == 5:
        encoded = text.encode()
        return encoded[:place] + b"\xff\x00\xfe" + encoded[place:], True
    return (text + text).encode(), True


def _fetched(data: bytes) -> Items:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "s.xml").write_bytes(data)
        files = IbkrFlexFiles("ib", patterns=[f"{folder}/*.xml"], calendar=calendar("XNYS"))
        return asyncio.run(gathered(files.fetch(WINDOW)))


TRUE = _fetched(STATEMENT.encode())


@fuzzed
@given(st.integers(0, 2**32))
def test_a_spoilt_statement_is_read_right_or_refused(seed: int) -> None:
    data, is_noticed = spoilt(STATEMENT, random.Random(seed))
    check_sound(_fetched(data), TRUE, is_noticed=is_noticed)


@fuzzed
@given(st.integers(0, 2**32))
def test_a_spoilt_answer_of_the_service_is_read_or_refused(seed: int) -> None:
    data, _ = spoilt(ANSWER, random.Random(seed))
    with suppress(StatementError):
        read_document(data, "web service")


@fuzzed
@given(st.binary(max_size=200))
def test_bytes_are_no_statement(data: bytes) -> None:
    assert _fetched(data) == []
