"""What every connector promises, tested alike for all of them: see connectors/protocol.py."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from datetime import UTC, date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from connectors.bot_databases.csv_files import parse_csv
from connectors.bot_databases.files import FileReader
from connectors.bot_databases.json_files import parse_json
from connectors.bot_databases.parquet_files import parse_parquet
from connectors.bot_databases.postgres import PostgresReader
from connectors.bot_databases.snapshot import WholeBooks
from connectors.bot_databases.sqlite import SqliteDatabase
from connectors.ibkr_flex.client import Pauses
from connectors.ibkr_flex.connector import IbkrFlex, IbkrFlexFiles
from connectors.ibkr_tws.client import TwsAddress
from connectors.ibkr_tws.connector import IbkrTws
from connectors.okx.client import OkxKey
from connectors.okx.connector import OkxConnector
from connectors.protocol import Connector
from connectors.retry import RetryPolicy
from recon.core.calendars import UtcDays, calendar, window
from recon.core.records import CheckItem, Coverage, Record, Table, Window
from recon.demo.venues.flex_server import Fault as FlexFault
from recon.demo.venues.flex_server import FlexServer
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_faults import Fault, FaultKind
from recon.demo.venues.okx_server import OkxServer
from recon.errors import EvidenceError
from tests.support.exchanges import SERVERS, busy_book, connector
from tests.support.fleet import AS_OF, BTC, NOW, SINCE, account, book_all, deals, round_trips
from tests.support.servers.ccxt_server import FaultKind as CcxtFaultKind
from tests.support.servers.postgres import PASSWORD, PostgresServer
from tests.support.servers.tws_server import (
    EXECUTIONS,
    POSITIONS,
    SPY,
    VALUES,
    TwsAccount,
    TwsServer,
    fill,
)
from tests.support.servers.tws_server import Faults as TwsFaults

XNYS = calendar("XNYS")
TOKEN = "contract-token"
HASTY = RetryPolicy(
    request_timeout_s=0.4,
    attempts=2,
    first_wait_s=0.01,
    longest_wait_s=0.02,
    total_s=3.0,
    is_rate_limited=False,
)
RHYTHM = Pauses(between_requests_s=0.0, poll_s=(0.0, 0.01), throttled_s=0.05)
STATEMENT = """<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1">
<FlexStatement accountId="U1" fromDate="20260504" toDate="20260514"
 whenGenerated="20260515;050000"><Trades>
<Trade transactionID="11" tradeID="1" levelOfDetail="EXECUTION" assetCategory="STK" symbol="X"
 quantity="1.50" tradePrice="2.000000000000000001" tradeDate="20260505" ibCommission="-1"/>
<Trade transactionID="12" tradeID="1" levelOfDetail="EXECUTION" assetCategory="STK" symbol="Y"
 quantity="-7" tradePrice="1E-3" tradeDate="20260506" ibCommission=""/>
<Trade levelOfDetail="EXECUTION" assetCategory="STK" symbol="Y" quantity="7" buySell="BUY (Ca.)"
 tradePrice="1E-3" tradeDate="20260506" notes="Ca" origTradeID="1"/>
</Trades><CashTransactions>
<CashTransaction transactionID="21" type="Dividends" amount="0.10" symbol="X" currency="USD"/>
</CashTransactions><OpenPositions>
<OpenPosition conid="9" symbol="X" position="1.50" levelOfDetail="SUMMARY"/>
</OpenPositions></FlexStatement></FlexStatements></FlexQueryResponse>"""

Item = Record | Table | Coverage
Opening = Callable[[Path], AbstractAsyncContextManager[Connector]]


def okx(*faults: tuple[str, FaultKind], book: Callable[[], OkxAccount] = account) -> Opening:
    @asynccontextmanager
    async def opened(_folder: Path) -> AsyncIterator[Connector]:
        async with OkxServer(book(), throttle=0) as server:
            for path, kind in faults:
                server.fault(path, Fault(kind, None))
            yield OkxConnector(
                "okx",
                OkxKey(server.api_key, server.secret, server.passphrase),
                is_demo=True,
                base_url=server.url,
                now=lambda: NOW,
                patience=HASTY,
            )
            assert server.violations == []

    return opened


def exchange(name: str, *faults: tuple[str, CcxtFaultKind], deals: int = 130) -> Opening:
    @asynccontextmanager
    async def opened(_folder: Path) -> AsyncIterator[Connector]:
        server = SERVERS[name](busy_book(SERVERS[name].symbols, deals))
        for path, kind in faults:
            server.fault(path, kind)
        async with server:
            yield connector(server, HASTY)
            assert server.violations == []

    return opened


def flex_files(text: str | None) -> Opening:
    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Connector]:
        if text is not None:
            (folder / "one.xml").write_text(text, encoding="utf-8")
        yield IbkrFlexFiles("ib", patterns=[str(folder / "*.xml")], calendar=XNYS)

    return opened


def flex_service(*faults: FlexFault) -> Opening:
    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Connector]:
        async with FlexServer({"1": STATEMENT}, token=TOKEN, faults=list(faults)) as server:
            yield IbkrFlex(
                "ib",
                token=TOKEN,
                query_id="1",
                state_dir=folder,
                calendar=XNYS,
                base_url=server.url,
                patience=HASTY,
                pauses=RHYTHM,
            )

    return opened


def sqlite_books(write: Callable[[Path], object]) -> Opening:
    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Connector]:
        path = folder / "books.sqlite"
        if not path.exists():
            write(path)
        yield SqliteDatabase(
            "bot", path, now=lambda: NOW, busy_timeout_s=0.2, scratch=folder / "tmp"
        )

    return opened


def file_books(name: str, content: str | bytes | None) -> Opening:
    """Open a bot database in one file, of the kind that the suffix of its name states."""
    parse = {"csv": parse_csv, "json": parse_json, "parquet": parse_parquet}[Path(name).suffix[1:]]

    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[Connector]:
        path = folder / name
        if content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        yield WholeBooks("bot", FileReader(path, parse, (path.suffix,)), now=lambda: NOW)

    return opened


@asynccontextmanager
async def postgres_books(_folder: Path) -> AsyncIterator[Connector]:
    with PostgresServer() as server:
        database = server.database(
            "create table t (id int primary key, pnl double precision, at timestamptz, raw bytea)",
            "insert into t values (1, 1e-9, '2026-05-14 12:00+02', '\\x00ff')",
            "insert into t values (2, 'nan', null, null)",
            "create table bare (a text)",
            "insert into bare values (''), (''), (null)",
        )
        yield WholeBooks("bot", PostgresReader(server.url(database), PASSWORD), now=lambda: NOW)


@asynccontextmanager
async def no_postgres(_folder: Path) -> AsyncIterator[Connector]:
    yield WholeBooks("bot", PostgresReader("postgresql://u@127.0.0.1:1/b"), now=lambda: NOW)


def parquet_file(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(rows, sink)
    return bytes(sink.getvalue().to_pybytes())


def tws(account: TwsAccount | None = None, faults: TwsFaults | None = None) -> Opening:
    @asynccontextmanager
    async def opened(_folder: Path) -> AsyncIterator[Connector]:
        server = TwsServer({"DU1": account or TwsAccount()})
        server.faults = faults or TwsFaults()
        async with server:
            address = TwsAddress("127.0.0.1", server.port, 900)
            yield IbkrTws("tws", address, now=lambda: NOW, patience=HASTY)
            assert server.violations == []

    return opened


def without(*questions: int) -> TwsFaults:
    return TwsFaults(mute=frozenset(questions))


TWS_DAY = TwsAccount(
    [fill("0000e0d5.66a4.01.01"), fill("0000e0d5.66a4.01.02", price="500.20")],
    positions=[(SPY, "100", "500.2")],
    cash={"USD": "10.5", "EUR": "-0.000000000000000001"},
)


def trades_of_every_type(path: Path) -> None:
    with closing(sqlite3.connect(path)) as books:
        books.execute("create table t (id integer primary key, pnl real, at text, raw blob, n int)")
        books.executemany(
            "insert into t values (?, ?, ?, ?, ?)",
            [
                (1, 0.1, "2026-05-01", b"\0\xff", 2**62),
                (2, None, "", None, -1),
                (3, 1e-9, "x", b"", 0),
            ],
        )
        books.execute("create table empty (only_column text)")
        books.commit()


def traded() -> OkxAccount:
    book = account()
    round_trips(book, 4)
    book_all(book, deals(130))
    book.trade(BTC, "buy", 5, 1_700, NOW)
    return book


SOUND: dict[str, Opening] = {
    "okx": okx(book=traded),
    "okx, nothing ever happened": okx(),
    **{name: exchange(name) for name in SERVERS},
    "bybit, nothing ever happened": exchange("bybit", deals=0),
    "flex files": flex_files(STATEMENT),
    "flex service": flex_service(),
    "tws": tws(TWS_DAY),
    "tws, nothing happened today": tws(),
    "tws, commissions come late": tws(TWS_DAY, TwsFaults(commission_delay_s=0.02)),
    "sqlite books": sqlite_books(trades_of_every_type),
    "postgres books": postgres_books,
    "csv books": file_books("trades.csv", 'id,pnl,note\n1,0.10,"a ""b""\n"\n1,0.10,\n1,0.10,\n'),
    "parquet books": file_books(
        "trades.parquet",
        parquet_file(pa.table({"id": [1, 2, 2], "pnl": [1e-9, None, float("nan")]})),
    ),
    "json books": file_books(
        "trades.json", '{"all": {"1": {"pnl": 1e-9, "fee": {"cost": 0.1}}, "2": {}}, "v": 3}'
    ),
}
BROKEN: dict[str, Opening] = {
    "okx down": okx(("*", "status_502")),
    "okx without fills": okx(("trade/fills-history", "html_200"), book=traded),
    "okx without bills": okx(("account/bills", "data_null"), book=traded),
    "okx without positions": okx(("account/positions", "truncated_json"), book=traded),
    "okx without balance": okx(("account/balance", "data_missing"), book=traded),
    "okx without history": okx(("account/positions-history", "empty_body"), book=traded),
    "okx without instruments": okx(("public/instruments", "status_503"), book=traded),
    "okx dripping": okx(("trade/fills", "dripping_body"), book=traded),
    "okx refuses the key": okx(("trade/fills", "code_50120"), book=traded),
    "bybit down": exchange("bybit", ("", "status_500")),
    "bybit without executions": exchange("bybit", ("execution", "no_rows")),
    "binanceusdm without income": exchange("binanceusdm", ("income", "html")),
    "kraken dripping": exchange("kraken", ("TradesHistory", "drip")),
    "kraken without balances": exchange("kraken", ("BalanceEx", "truncated")),
    "hyperliquid busy": exchange("hyperliquid", ("userFills", "busy")),
    "no flex file": flex_files(None),
    "flex file cut off": flex_files(STATEMENT[:900]),
    "flex file of an error": flex_files(
        "<FlexStatementResponse><Status>Fail</Status><ErrorCode>1012</ErrorCode>"
        "</FlexStatementResponse>"
    ),
    "flex file without trades": flex_files(STATEMENT.replace("Trades>", "Fees>")),
    "flex file too early": flex_files(STATEMENT.replace("20260515;", "20260512;")),
    "flex service down": flex_service(FlexFault("status", "503", times=None)),
    "flex service busy": flex_service(FlexFault("code", "1009", times=None)),
    "flex token expired": flex_service(FlexFault("code", "1012", times=None)),
    "flex service drips": flex_service(FlexFault("drip", times=None)),
    "flex cut off": flex_service(FlexFault("truncated", times=None)),
    "tws silent": tws(faults=TwsFaults(is_silent=True)),
    "tws without executions": tws(TWS_DAY, without(EXECUTIONS)),
    "tws without positions": tws(TWS_DAY, without(POSITIONS)),
    "tws without account values": tws(TWS_DAY, without(VALUES)),
    "tws drops": tws(TWS_DAY, TwsFaults(drop_in=frozenset({EXECUTIONS}))),
    "tws has lost IBKR": tws(TWS_DAY, TwsFaults(greeting=[("1100", "lost")])),
    "tws client id in use": tws(faults=TwsFaults(is_client_id_taken=True)),
    "tws of other versions": tws(TWS_DAY, TwsFaults(short=frozenset({11, 61}))),
    "no books": sqlite_books(lambda _path: None),
    "books are no database": sqlite_books(lambda path: path.write_text("not a database" * 99)),
    "books are empty": sqlite_books(lambda path: path.touch()),
    "no postgres": no_postgres,
    "no csv books": file_books("trades.csv", None),
    "csv books cut off": file_books("trades.csv", "id,pnl\n1,0.10\n2,0."),
    "parquet books cut off": file_books(
        "trades.parquet", parquet_file(pa.table({"id": [1, 2]}))[:-9]
    ),
    "json books cut off": file_books("trades.json", '{"all": {"1": {"pnl": 1e-9'),
}


def span(source: Connector) -> Window:
    if source.venue == "ibkr-flex":
        return window(XNYS, date(2026, 5, 4), AS_OF)
    if source.venue == "ibkr-tws":  # it serves only today
        return window(UtcDays(), NOW.date(), NOW.date())
    return window(UtcDays(), SINCE, AS_OF)


def fetched(opening: Opening, folder: Path) -> tuple[Connector, list[Item], EvidenceError | None]:
    async def conversation() -> tuple[Connector, list[Item], EvidenceError | None]:
        items: list[Item] = []
        async with opening(folder) as source:
            try:
                async for item in source.fetch(span(source)):
                    items.append(item)  # noqa: PERF401 - what came before an error counts too
            except EvidenceError as error:
                return source, items, error
        return source, items, None

    return asyncio.run(conversation())


def leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def said(items: list[Item]) -> list[Coverage]:
    return [item for item in items if isinstance(item, Coverage)]


def promised(source: Connector) -> set[tuple[str, str]]:
    return {(promise.evidence, promise.kind) for promise in source.promises}


def _columns(table: Table) -> list[list[str | None]]:
    return [column.to_pylist() for column in table.batches.columns]


def nouns(statement: Coverage) -> tuple[str, ...]:
    """Return the kinds of records: the part after a slash only distinguishes statements."""
    return tuple(kind.partition("/")[0] for kind in statement.kinds)


def check_form(source: Connector, items: list[Item]) -> None:
    """Hold what holds of every fetch, a good one and a bad one."""
    names = Counter((item.kind, item.id) for item in items if isinstance(item, Record))
    for table in items:
        if isinstance(table, Table):
            names.update((table.kind, key) for key in table.batches.column(0).to_pylist())
    assert [name for name, times in names.items() if times > 1] == []
    for item in items:
        if isinstance(item, Record):
            payload = json.loads(item.payload)
            assert isinstance(payload, dict), item
            assert {type(leaf) for leaf in leaves(payload)} <= {str, bool, type(None)}, item
            assert item.id
        elif isinstance(item, Table):
            item.batches.validate(full=True)
            assert item.batches.column_names[0] == "id"
            assert {str(field.type) for field in item.batches.schema} == {"string"}
            assert item.batches.column(0).null_count == 0
        else:
            times = (item.asked_from, item.asked_to, item.served_from, item.served_to)
            assert all(at.tzinfo is UTC for at in times)
            assert {(item.evidence, kind) for kind in item.kinds} & promised(source)
            assert item.kinds
            assert item.status == "complete" or item.reason


@pytest.mark.parametrize("opening", SOUND.values(), ids=SOUND)
def test_a_sound_source_gives_records_and_says_what_they_cover(
    opening: Opening, tmp_path: Path
) -> None:
    source, items, error = fetched(opening, tmp_path)
    assert error is None
    check_form(source, items)
    stated = {(item.evidence, kind) for item in said(items) for kind in item.kinds}
    assert promised(source) <= stated
    assert {item.status for item in said(items)} == {"complete"}


@pytest.mark.parametrize("opening", SOUND.values(), ids=SOUND)
def test_coverage_comes_after_the_records_it_counts(opening: Opening, tmp_path: Path) -> None:
    _, items, _ = fetched(opening, tmp_path)
    counted: Counter[str] = Counter()
    stated: Counter[tuple[str, ...]] = Counter()
    closed: set[str] = set()
    for item in items:
        if isinstance(item, Record):
            assert item.kind not in closed, f"{item.kind} {item.id} after its coverage"
            counted[item.kind] += 1
        elif isinstance(item, Table):
            assert item.kind not in closed, f"{item.kind} after its coverage"
            counted[item.kind] += item.batches.num_rows
        else:
            closed |= set(nouns(item))
            stated[nouns(item)] += item.rows
    assert dict(stated) == {kinds: sum(counted[k] for k in kinds) for kinds in stated}


@pytest.mark.parametrize("opening", SOUND.values(), ids=SOUND)
def test_a_second_fetch_gives_the_same(opening: Opening, tmp_path: Path) -> None:
    def records() -> set[Record | tuple[object, ...]]:
        items = fetched(opening, tmp_path)[1]
        singly = {item for item in items if isinstance(item, Record)}
        tables = [item for item in items if isinstance(item, Table)]
        rows = {(one.kind, *row) for one in tables for row in zip(*_columns(one), strict=True)}
        return singly | rows

    assert records() == records()


@pytest.mark.parametrize("opening", BROKEN.values(), ids=BROKEN)
def test_a_broken_source_says_so(opening: Opening, tmp_path: Path) -> None:
    source, items, error = fetched(opening, tmp_path)
    check_form(source, items)
    if error is not None:
        assert str(error)
        return
    short = [item for item in said(items) if item.status != "complete"]
    assert short
    stated = {(item.evidence, kind) for item in said(items) for kind in item.kinds}
    assert promised(source) <= stated


@pytest.mark.parametrize("opening", {**SOUND, **BROKEN}.values(), ids=[*SOUND, *BROKEN])
def test_check_never_raises_and_names_a_remedy(opening: Opening, tmp_path: Path) -> None:
    async def items() -> list[CheckItem]:
        async with opening(tmp_path) as source:
            return await source.check()

    found: list[Any] = asyncio.run(items())
    assert found
    assert all(item.is_ok or item.remedy for item in found)


@pytest.mark.parametrize("opening", SOUND.values(), ids=SOUND)
def test_check_is_content_with_a_sound_source(opening: Opening, tmp_path: Path) -> None:
    async def items() -> list[CheckItem]:
        async with opening(tmp_path) as source:
            return await source.check()

    assert all(item.is_ok for item in asyncio.run(items()))
