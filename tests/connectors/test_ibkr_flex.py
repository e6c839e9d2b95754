from __future__ import annotations

import asyncio
import json
import logging
import os
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest

from connectors.ibkr_flex.client import THROTTLE_FILE, Pauses
from connectors.ibkr_flex.connector import IbkrFlex, IbkrFlexFiles
from connectors.retry import RetryPolicy
from recon.core.calendars import calendar, window
from recon.core.records import Coverage, Record
from recon.demo.venues.flex_server import Fault, FlexServer
from recon.errors import ReconError, StatementError, VenueRefused

TOKEN = "canary-7f3a9c51d0"
NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)
XNYS = calendar("XNYS")
WINDOW = window(XNYS, date(2026, 1, 5), date(2026, 1, 6))
FAST = RetryPolicy(
    request_timeout_s=0.5, attempts=3, first_wait_s=0.01, longest_wait_s=0.02, total_s=5.0
)
QUICK = Pauses(between_requests_s=0.0, poll_s=(0.0, 0.01), throttled_s=0.05)

TRADE = (
    '<Trade transactionID="11" tradeID="1" levelOfDetail="EXECUTION" assetCategory="STK" '
    'symbol="X" quantity="1" tradePrice="2"/>'
)
SECTIONS = f"<Trades>{TRADE}</Trades><CashTransactions/><OpenPositions/>"
T = TypeVar("T")


def statement(
    inside: str = SECTIONS,
    *,
    account: str = "U1",
    start: str = "20260105",
    end: str = "20260106",
    generated: str = "20260107;050000",
) -> str:
    return (
        f'<FlexStatement accountId="{account}" fromDate="{start}" toDate="{end}" '
        f'whenGenerated="{generated}">{inside}</FlexStatement>'
    )


def document(*statements: str) -> str:
    inside = "".join(statements)
    return (
        f'<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="{len(statements)}">'
        f"{inside}</FlexStatements></FlexQueryResponse>"
    )


def served(tmp_path: Path, server: FlexServer, patience: RetryPolicy = FAST) -> IbkrFlex:
    return IbkrFlex(
        "ib",
        token=TOKEN,
        query_id="1",
        state_dir=tmp_path,
        calendar=XNYS,
        base_url=server.url,
        now=lambda: datetime.now(UTC),
        patience=patience,
        pauses=QUICK,
    )


async def everything(source: IbkrFlex | IbkrFlexFiles) -> list[Record | Coverage]:
    return [item async for item in source.fetch(WINDOW)]


def with_server(
    work: Callable[[FlexServer], Awaitable[T]], *faults: Fault, text: str | None = None
) -> T:
    async def run() -> T:
        statements = {"1": text or document(statement())}
        async with FlexServer(statements, token=TOKEN, faults=list(faults)) as server:
            return await work(server)

    return asyncio.run(run())


def fetched(
    tmp_path: Path, *faults: Fault, text: str | None = None, patience: RetryPolicy = FAST
) -> list[Record | Coverage]:
    return with_server(
        lambda server: everything(served(tmp_path, server, patience)), *faults, text=text
    )


def from_files(tmp_path: Path, *texts: str, broker: str | None = None) -> list[Record | Coverage]:
    for n, text in enumerate(texts):
        (tmp_path / f"{n}.xml").write_text(text)
    source = IbkrFlexFiles(
        "ib", patterns=[str(tmp_path / "*.xml")], calendar=XNYS, broker_account=broker
    )
    return asyncio.run(everything(source))


def coverage(items: list[Record | Coverage]) -> list[Coverage]:
    return [item for item in items if isinstance(item, Coverage)]


def records(items: list[Record | Coverage], kind: str) -> dict[str, dict[str, str]]:
    found = [item for item in items if isinstance(item, Record) and item.kind == kind]
    assert len({item.id for item in found}) == len(found)
    return {item.id: json.loads(item.payload) for item in found}


def test_the_whole_conversation_ends_in_rows_and_complete_coverage(tmp_path: Path) -> None:
    async def work(server: FlexServer) -> list[tuple[str, str]]:
        items = await everything(served(tmp_path, server))
        assert list(records(items, "Trade")) == ["11"]
        assert [(c.evidence, c.status, c.rows) for c in coverage(items)] == [
            ("fills", "complete", 1),
            ("ledger", "complete", 0),
            ("positions", "complete", 0),
        ]
        assert {(c.served_from, c.served_to) for c in coverage(items)} == {
            (WINDOW.start, WINDOW.end)
        }
        return server.requests

    requests = with_server(work)
    assert [step for step, _ in requests] == ["SendRequest"] + ["GetStatement"] * 3


def test_the_past_is_asked_for_by_its_days(tmp_path: Path) -> None:
    first, last = WINDOW.first.date, WINDOW.last.date

    async def past(period: str) -> list[Record | Coverage]:
        statements = {"1": document(), f"1/{period}": document(statement())}
        async with FlexServer(statements, token=TOKEN) as server:
            return [item async for item in served(tmp_path, server).history(WINDOW)]

    items = asyncio.run(past(f"{first:%Y%m%d}/{last:%Y%m%d}"))
    assert list(records(items, "Trade")) == ["11"]
    assert {(c.served_from, c.served_to) for c in coverage(items)} == {(WINDOW.start, WINDOW.end)}
    with pytest.raises(VenueRefused, match="1003"):
        asyncio.run(past("20200101/20200102"))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "502"),
        Fault("status", "500", "SendRequest"),
        Fault("html"),
        Fault("truncated"),
        Fault("empty"),
        Fault("dropped"),
        Fault("code", "1001"),
        Fault("code", "1004"),
        Fault("code", "1009", "SendRequest"),
        Fault("code", "1017"),
        Fault("code", "1021"),
        Fault("status", "429"),
        Fault("code", "1018"),
        Fault("hang"),
        Fault("drip"),
        Fault("empty", step="SendRequest"),
    ],
)
def test_what_passes_is_asked_again(tmp_path: Path, fault: Fault) -> None:
    assert list(records(fetched(tmp_path, fault), "Trade")) == ["11"]


@pytest.mark.parametrize(
    "kind", ["html", "truncated", "empty", "dropped", "hang", "drip", "status", "code"]
)
def test_what_does_not_pass_is_failed_coverage_and_never_no_trades(
    tmp_path: Path, kind: str
) -> None:
    value = {"status": "503", "code": "1009"}.get(kind, "")
    items = fetched(
        tmp_path,
        Fault(kind, value, times=None),
        patience=RetryPolicy(0.1, 3, 0.01, 0.02, 2.0),
    )
    assert [item for item in items if isinstance(item, Record)] == []
    assert [(c.evidence, c.status) for c in coverage(items)] == [
        ("fills", "failed"),
        ("ledger", "failed"),
        ("positions", "failed"),
    ]
    assert all(c.reason for c in coverage(items))


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_the_total_deadline_holds(tmp_path: Path, kind: str) -> None:
    start = time.monotonic()
    items = fetched(
        tmp_path, Fault(kind, times=None), patience=RetryPolicy(60.0, 100, 0.01, 0.02, 0.4)
    )
    assert time.monotonic() - start < 3.0
    assert {c.status for c in coverage(items)} == {"failed"}


def test_a_statement_that_is_never_ready_ends_with_the_deadline(tmp_path: Path) -> None:
    items = fetched(
        tmp_path,
        Fault("code", "1019", times=None),
        patience=RetryPolicy(0.5, 3, 0.01, 0.02, 0.5),
    )
    assert {c.status for c in coverage(items)} == {"failed"}


@pytest.mark.parametrize(
    "code", ["1003", "1010", "1011", "1012", "1013", "1014", "1015", "1016", "1020", "4711"]
)
def test_what_asking_again_cannot_help_is_refused_at_once(tmp_path: Path, code: str) -> None:
    async def work(server: FlexServer) -> int:
        with pytest.raises(VenueRefused, match=code):
            await everything(served(tmp_path, server))
        return len(server.requests)

    assert with_server(work, Fault("code", code, "SendRequest", None)) == 1


@pytest.mark.parametrize("kind", ["dtd", "bomb"])
def test_a_document_type_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(StatementError, match="document type"):
        fetched(tmp_path, Fault(kind, times=None))


@pytest.mark.parametrize("kind", ["redirect", "other_host"])
@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/x",
        "http://ndcdyn.interactivebrokers.com/x",
        "https://ndcdyn.interactivebrokers.com.evil.example/x",
        "http://127.0.0.1:1/x",
        "https://u:p@ndcdyn.interactivebrokers.com/x",
        "nonsense",
        "https://[::1",
    ],
)
def test_the_token_goes_to_no_other_host(tmp_path: Path, kind: str, target: str) -> None:
    async def work(server: FlexServer) -> int:
        with pytest.raises(VenueRefused):
            await everything(served(tmp_path, server))
        return sum(step == "GetStatement" for step, _ in server.requests)

    assert with_server(work, Fault(kind, target, "SendRequest", None)) == 0


def test_an_answer_larger_than_a_fetch_may_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VenueRefused, match=r"more than 900 bytes .* max_fetch_mb"):
        fetched(
            tmp_path,
            text=document(statement("<Trades/>" + " " * 900)),
            patience=replace(FAST, most_bytes=900),
        )


def test_a_throttled_token_is_left_alone_by_the_next_process_too(tmp_path: Path) -> None:
    async def work(server: FlexServer) -> int:
        await everything(served(tmp_path, server))
        until = datetime.fromisoformat(
            json.loads((tmp_path / THROTTLE_FILE).read_text())["throttled_until"]
        )
        assert until > datetime.now(UTC) - timedelta(seconds=5)
        far = {"throttled_until": (datetime.now(UTC) + timedelta(seconds=900)).isoformat()}
        (tmp_path / THROTTLE_FILE).write_text(json.dumps(far))
        before = len(server.requests)
        items = await everything(served(tmp_path, server))
        assert {c.status for c in coverage(items)} == {"failed"}
        assert "throttles this token" in coverage(items)[0].reason
        return len(server.requests) - before

    assert with_server(work, Fault("code", "1018", "SendRequest")) == 0
    assert (tmp_path / THROTTLE_FILE).stat().st_size


def test_the_server_throttles_as_configured(tmp_path: Path) -> None:
    async def work(server: FlexServer) -> list[Coverage]:
        server.requests_per_s = 0
        return coverage(await everything(served(tmp_path, server)))

    assert {c.status for c in with_server(work)} == {"failed"}


FAULTS = [
    "html",
    "truncated",
    "empty",
    "dropped",
    "hang",
    "drip",
    "dtd",
    "bomb",
    "redirect",
    "other_host",
    "status",
    "code",
]


@pytest.mark.parametrize("step", ["SendRequest", "GetStatement"])
@pytest.mark.parametrize("kind", FAULTS)
def test_the_token_is_in_no_log_message_cause_or_repr(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, step: str
) -> None:
    caplog.set_level(logging.DEBUG)
    target = f"https://evil.example/{TOKEN}"
    value = {"status": "404", "code": "1015"}.get(kind, target)
    seen: list[str] = []
    try:
        items = fetched(
            tmp_path,
            Fault(kind, value, step, None),
            patience=RetryPolicy(0.1, 2, 0.01, 0.02, 0.5),
        )
        seen += [c.reason for c in coverage(items)]
    except ReconError as error:
        seen.append("".join(traceback.format_exception(error)))
        cause: BaseException | None = error
        while cause is not None:
            seen += [str(cause), repr(cause), repr(cause.args)]
            cause = cause.__cause__ or cause.__context__
    assert seen or kind == "other_host"
    assert all(TOKEN not in text for text in [*seen, caplog.text])
    for file in tmp_path.iterdir():
        assert TOKEN not in file.read_text()


def test_repr_and_an_unreachable_host_do_not_show_the_token(tmp_path: Path) -> None:
    source = IbkrFlex(
        "ib",
        token=TOKEN,
        query_id="1",
        state_dir=tmp_path,
        calendar=XNYS,
        base_url="http://127.0.0.1:9",
        patience=FAST,
        pauses=QUICK,
    )
    assert TOKEN not in repr(source) + repr(source._service)
    reasons = [c.reason for c in coverage(asyncio.run(everything(source)))]
    assert all("could not be reached" in reason and TOKEN not in reason for reason in reasons)


def test_check_says_what_to_do(tmp_path: Path) -> None:
    good = with_server(lambda server: served(tmp_path, server).check())
    assert [item.is_ok for item in good] == [True]
    bad = with_server(
        lambda server: served(tmp_path, server).check(), Fault("code", "1012", "SendRequest")
    )
    assert [item.is_ok for item in bad] == [False]
    assert "generate a new one" in bad[0].detail


def test_no_file_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StatementError, match="no file matches"):
        from_files(tmp_path)


def test_a_pipe_or_a_device_among_the_files_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.xml")
    with pytest.raises(StatementError, match=r"a\.xml is not a regular file"):
        from_files(tmp_path)
    (tmp_path / "a.xml").unlink()
    (tmp_path / "a.xml").symlink_to("/dev/zero")
    with pytest.raises(StatementError, match=r"a\.xml is not a regular file"):
        from_files(tmp_path)


def test_check_of_files_names_the_missing_sections(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(document(statement("<Trades/>")))
    source = IbkrFlexFiles("ib", patterns=[str(tmp_path / "*.xml")], calendar=XNYS)
    items = asyncio.run(source.check())
    assert [(item.is_ok, item.subject) for item in items] == [
        (True, "ib"),
        (False, "ib: ledger"),
        (False, "ib: positions"),
        (True, "ib: cash"),
        (True, "ib: equity"),
        (True, "ib: corporate actions"),
    ]


def test_check_of_files_says_which_proofs_there_cannot_be(tmp_path: Path) -> None:
    trade = '<Trades><Trade levelOfDetail="EXECUTION" symbol="X"/></Trades>'
    (tmp_path / "a.xml").write_text(document(statement(trade + "<StmtFunds/><CorporateActions/>")))
    source = IbkrFlexFiles("ib", patterns=[str(tmp_path / "*.xml")], calendar=XNYS)
    detail_of = {item.subject: item.detail for item in asyncio.run(source.check()) if item.is_ok}
    assert detail_of.keys() == {"ib", "ib: equity", "ib: broker_pnl"}
    assert "EquitySummaryInBase or ChangeInNAV" in detail_of["ib: equity"]
    assert "Realized P/L" in detail_of["ib: broker_pnl"]


def test_a_section_that_no_statement_has_is_failed_and_named(tmp_path: Path) -> None:
    items = from_files(tmp_path, document(statement("<Trades/>")))
    found = {c.evidence: c for c in coverage(items)}
    assert found["fills"].status == "complete"
    assert found["ledger"].status == found["positions"].status == "failed"
    assert "CashTransactions" in found["ledger"].reason


def test_two_accounts_need_a_name(tmp_path: Path) -> None:
    two = document(statement(), statement(account="U2"))
    with pytest.raises(StatementError, match='broker_account = "U1"'):
        from_files(tmp_path, two)
    items = from_files(tmp_path, two, broker="U2")
    assert len(records(items, "FlexStatement")) == 1
    with pytest.raises(StatementError, match="no statement is of U3"):
        from_files(tmp_path, two, broker="U3")


def test_a_stale_statement_is_partial_for_what_is_missing(tmp_path: Path) -> None:
    items = from_files(tmp_path, document(statement(end="20260105", generated="20260106;050000")))
    fills = [c for c in coverage(items) if c.evidence == "fills"]
    assert [c.status for c in fills] == ["complete", "partial"]
    assert fills[0].served_to == XNYS.session(date(2026, 1, 5)).end
    assert "ends 2026-01-05; it lacks session 2026-01-06" in fills[1].reason


def test_a_statement_from_before_its_last_session_ended_does_not_know_that_session(
    tmp_path: Path,
) -> None:
    items = from_files(tmp_path, document(statement(generated="20260106;150000")))
    fills = [c for c in coverage(items) if c.evidence == "fills"]
    assert [c.status for c in fills] == ["complete", "partial"]
    assert fills[0].served_to == XNYS.session(date(2026, 1, 5)).end


def test_a_statement_without_its_time_proves_nothing(tmp_path: Path) -> None:
    items = from_files(tmp_path, document(statement(generated="")))
    assert [c.status for c in coverage(items)] == ["partial"] * 3
    assert "whenGenerated" in coverage(items)[0].reason


def test_statements_by_day_join_without_a_gap_over_a_weekend_and_a_holiday(
    tmp_path: Path,
) -> None:
    days = [date(2025, 12, 31) + timedelta(days=n) for n in range(7)]
    texts = [
        document(statement(start=f"{d:%Y%m%d}", end=f"{d:%Y%m%d}", generated="20260107;050000"))
        for d in days
        if d.weekday() < 5
    ]
    fills = [c for c in coverage(from_files(tmp_path, *texts)) if c.evidence == "fills"]
    assert {c.status for c in fills} == {"complete"}
    for left, right in pairwise(fills):
        assert left.served_to == right.served_from


def test_the_same_row_in_overlapping_statements_is_one_record_and_the_last_one_wins(
    tmp_path: Path,
) -> None:
    old = document(statement(f"<Trades>{TRADE}{TRADE.replace('11', 'N/A')}</Trades>"))
    restated = TRADE.replace("/>", ' fxRateToBase="1.2"/>')
    new = document(
        statement(
            f"<Trades>{restated}{restated.replace('11', 'N/A')}</Trades>",
            start="20260102",
            generated="20260108;050000",
        )
    )
    trades = records(from_files(tmp_path, new, old), "Trade")
    assert len(trades) == 2
    assert {row["fxRateToBase"] for row in trades.values()} == {"1.2"}


def test_identical_rows_without_an_id_are_two_and_stay_two(tmp_path: Path) -> None:
    fee = '<CashTransaction type="Other Fees" dateTime="20260105" amount="-1" currency="USD"/>'
    text = document(statement(f"<CashTransactions>{fee}{fee}</CashTransactions>"))
    first = records(from_files(tmp_path, text), "CashTransaction")
    again = records(from_files(tmp_path, text, text), "CashTransaction")
    assert len(first) == 2
    assert first == again


def test_a_lot_with_its_opening_trades_number_does_not_replace_that_trade(tmp_path: Path) -> None:
    lot = TRADE.replace("EXECUTION", "CLOSED_LOT").replace('quantity="1"', 'quantity="7"')
    trades = records(
        from_files(tmp_path, document(statement(f"<Trades>{TRADE}{lot}</Trades>"))), "Trade"
    )
    assert len(trades) == 2
    assert trades["11"]["quantity"] == "1"
