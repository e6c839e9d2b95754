from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.ibkr_flex import statement
from connectors.ibkr_flex.statement import (
    Answer,
    CutOffError,
    day,
    instant,
    read_document,
    read_statements,
)
from recon.core.calendars import NEW_YORK
from recon.demo.venues.flex_server import BOMB, DTD
from recon.errors import StatementError

HEAD = 'accountId="U1" fromDate="20260105" toDate="20260106" whenGenerated="20260107;050000"'


def document(inside: str, head: str = HEAD, count: str = "1") -> bytes:
    return (
        f'<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="{count}">'
        f"<FlexStatement {head}>{inside}</FlexStatement></FlexStatements></FlexQueryResponse>"
    ).encode()


def test_a_statement_keeps_every_attribute_as_text_and_every_section() -> None:
    found = read_statements(
        document(
            '<AccountInformation currency="USD"/><Trades><Trade quantity="1.50" new="x"/></Trades>'
            '<CashTransactions/><Novelty><Thing a="1"><Part b="2"/></Thing></Novelty>'
        ),
        "f.xml",
    )
    (statement,) = found
    assert statement.account_id == "U1"
    assert (statement.from_date, statement.to_date) == (date(2026, 1, 5), date(2026, 1, 6))
    assert statement.generated_at == datetime(2026, 1, 7, 10, tzinfo=UTC)
    assert statement.sections == {
        "AccountInformation": [("AccountInformation", {"currency": "USD"})],
        "Trades": [("Trade", {"quantity": "1.50", "new": "x"})],
        "CashTransactions": [],
        "Novelty": [("Thing", {"a": "1"}), ("Part", {"b": "2"})],
    }


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"<html><body/></html>", "root is <html>"),
        (document("")[:-20], "not well-formed"),
        (DTD, "document type"),
        (BOMB, "document type"),
        (document("", count="2"), "announces 2 statements and holds 1"),
        (document("", count="x"), "not a number"),
        (document("<Trade/>"), "<Trade> is in <FlexStatement>"),
        (document("<Trades><CashTransaction/></Trades>"), "is in <Trades>"),
        (document("<Trades><AccountInformation/></Trades>"), "is in <Trades>"),
        (document("<Trades><Trade><Trade/></Trade></Trades>"), "is in <Trade>"),
        (document("<Trades><CashTransactions/></Trades>"), "is in <Trades>"),
        (document("<Trades/><Trades/>"), "occurs twice"),
        (document("<Trades>oops</Trades>"), "contains text"),
        (document("", head='accountId="U1" toDate="20260106"'), "no fromDate"),
        (document("", head=HEAD.replace("20260106", "01/06/2026")), "toDate: '01/06/2026'"),
        (document("", head=HEAD.replace("20260106", "20260104")), "before fromDate"),
        (document("", head=HEAD.replace("U1", "")), "no accountId"),
        (document("", head=HEAD + ' toDate="20260106"'), "not well-formed"),
        (
            document("<A>" * 20 + "</A>" * 20),
            "nesting of elements is 17, more than the limit of 16",
        ),
        (b'<FlexQueryResponse><FlexStatements count="0"/></FlexQueryResponse>', "no statement"),
        (b"<FlexQueryResponse/>", "no FlexStatements"),
        (b"<FlexQueryResponse><Trades/></FlexQueryResponse>", "is in <FlexQueryResponse>"),
        (b'<?xml version="1.0" encoding="no-such"?><FlexQueryResponse/>', "f.xml"),
    ],
)
def test_what_is_no_whole_statement_is_an_error_that_names_its_source(
    data: bytes, says: str
) -> None:
    with pytest.raises(StatementError) as caught:
        read_statements(data, "f.xml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("f.xml")


def test_an_error_document_is_never_an_empty_statement() -> None:
    data = (
        b"<FlexStatementResponse><Status>Fail</Status><ErrorCode>1003</ErrorCode>"
        b"<ErrorMessage>Statement is not available.</ErrorMessage></FlexStatementResponse>"
    )
    with pytest.raises(StatementError, match="Fail 1003"):
        read_statements(data, "f.xml")
    answer = read_document(data, "f.xml")
    assert answer == Answer("Fail", "1003", "Statement is not available.", "", "")


@pytest.mark.parametrize("tag", ["url", "Url"])
def test_the_url_is_read_in_both_spellings(tag: str) -> None:
    data = (
        f"<FlexStatementResponse><Status>Success</Status><ReferenceCode>9</ReferenceCode>"
        f"<{tag}>https://a.b/c</{tag}></FlexStatementResponse>"
    ).encode()
    answer = read_document(data, "web service")
    assert isinstance(answer, Answer)
    assert (answer.reference, answer.url) == ("9", "https://a.b/c")


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    with pytest.raises(StatementError):
        read_statements(data, "f.xml")


@given(st.integers(min_value=1, max_value=100))
def test_a_document_cut_anywhere_is_an_error(percent: int) -> None:
    whole = document('<Trades><Trade a="1"/></Trades>')
    with pytest.raises(CutOffError):
        read_statements(whole[: (len(whole) - 1) * percent // 100], "f.xml")


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
        lambda at: at.replace(microsecond=0)
    ),
    st.sampled_from(
        [
            "%Y%m%d;%H%M%S",
            "%Y-%m-%d;%H:%M:%S",
            "%Y%m%d %H:%M:%S",
            "%Y-%m-%d, %H:%M:%S",
            "%Y-%m-%dT%H:%M:%S",
        ]
    ),
)
def test_every_format_reads_back_as_written(at: datetime, pattern: str) -> None:
    text = at.strftime(pattern)
    assert day(text) == at.date()
    try:
        found = instant(text)
    except ValueError as error:
        assert "exist" in str(error)  # noqa: PT017 - the two hours a year that name no instant
    else:
        assert found is not None
        assert found.astimezone(NEW_YORK).replace(tzinfo=None) == at
    summer = instant(text + " EDT")
    assert summer == (at + timedelta(hours=4)).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "--", " "])
def test_blanks_are_no_date(text: str) -> None:
    assert day(text) is None
    assert instant(text) is None


def test_a_date_alone_names_no_instant() -> None:
    assert instant("20260105") is None


@pytest.mark.parametrize("text", ["20261101;013000", "20260308;023000", "20260230", "1/2/2026"])
def test_times_that_name_no_one_instant_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"exist|date|day|unconverted"):
        instant(text)


def test_a_zone_settles_the_hour_that_exists_twice() -> None:
    assert instant("20261101;013000 EST") == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("most", "too_much", "says"),
    [
        (
            "<a " + " ".join(f'a{n}="1"' for n in range(1_000)) + "/>",
            "<a " + " ".join(f'a{n}="1"' for n in range(1_001)) + "/>",
            "of <a>'s attributes is 1001, more than the limit of 1000",
        ),
        (
            f'<a a="{"x" * 65_536}"/>',
            f'<a a="{"x" * 65_537}"/>',
            "is 65537, more than the limit of 65536",
        ),
        (
            "<!--" + "x" * 1_000_000 + "-->",
            "<!--" + "x" * 1_200_000 + "-->",
            "more than 1048576 bytes",
        ),
    ],
)
def test_each_limit_is_named_with_the_value(most: str, too_much: str, says: str) -> None:
    read_statements(document(f"<Novelty>{most}</Novelty>"), "f.xml")
    with pytest.raises(StatementError, match=says):
        read_statements(document(f"<Novelty>{too_much}</Novelty>"), "f.xml")


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("MAX_ELEMENTS", "number of elements is 6, more than the limit of 5"),
        ("MAX_VALUES", "number of attributes is 7, more than the limit of 5"),
        ("MAX_NAMES", "number of different attributes is 7, more than the limit of 5"),
    ],
)
def test_the_whole_document_is_limited(
    limit: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement, limit, 5)
    with pytest.raises(StatementError, match=says):
        read_statements(document('<Novelty><a a="1"/><a b="1"/><a/></Novelty>', HEAD), "f.xml")
