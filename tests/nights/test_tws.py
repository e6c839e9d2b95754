"""Whole nights of a TWS account: provisional in the evening, held against Flex in the morning."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from recon.config.settings import load
from recon.demo.venues.background import in_background
from recon.run.nightly import Night, run_night
from tests.support.fleet import MAPPING, QUICK, Document, rows
from tests.support.servers.tws_server import EXECUTIONS, SPY, Faults, TwsAccount, TwsServer, fill

AS_OF = date(2026, 5, 14)
EVENING = datetime(2026, 5, 15, 2, tzinfo=UTC)  # 22:00 of the 14th in New York
MORNING = datetime(2026, 5, 15, 11, tzinfo=UTC)
BUY, SELL = "0000e0d5.66a4.01.01", "0000e0d5.66a5.01.01"
TRADES = [
    fill(BUY, shares="100", price="500.25"),
    fill(SELL, side="SLD", shares="100", price="501.25", time="20260514 15:00:00 US/Eastern"),
]
NET = "97.999"  # 100 · (501.25 − 500.25) − 2 · 1.0005
STOCK = {
    "levelOfDetail": "EXECUTION",
    "assetCategory": "STK",
    "symbol": "SPY",
    "conid": "756733",
    "currency": "USD",
    "fxRateToBase": "1",
    "transactionType": "ExchTrade",
    "notes": "",
    "multiplier": "1",
    "taxes": "0",
    "ibCommission": "-1.0005",
    "ibCommissionCurrency": "USD",
    "tradeDate": "20260514",
    "reportDate": "20260514",
}
BOUGHT = {
    **STOCK,
    "transactionID": "11",
    "tradeID": "1",
    "ibExecID": BUY,
    "ibOrderID": "77",
    "dateTime": "20260514;103000",
    "quantity": "100",
    "tradePrice": "500.25",
    "proceeds": "-50025",
    "netCash": "-50026.0005",
    "fifoPnlRealized": "0",
}
SOLD = {
    **STOCK,
    "transactionID": "12",
    "tradeID": "2",
    "ibExecID": SELL,
    "ibOrderID": "77",
    "dateTime": "20260514;150000",
    "quantity": "-100",
    "tradePrice": "501.25",
    "proceeds": "50125",
    "netCash": "50123.9995",
    "fifoPnlRealized": "97.999",
}
DIVIDEND = {
    "type": "Dividends",
    "dateTime": "20260514",
    "reportDate": "20260514",
    "amount": "3.5",
    "currency": "USD",
    "fxRateToBase": "1",
    "levelOfDetail": "DETAIL",
    "transactionID": "21",
    "symbol": "SPY",
}
Row = Mapping[str, str]


def statement(*trades: Row, cash: tuple[Row, ...] = (), without: str = "") -> str:
    """Return the statement of the 14th, generated when it ended; `without` one of its sections."""
    sections = {
        "Trades": ("Trade", trades),
        "CashTransactions": ("CashTransaction", cash),
        "OpenPositions": ("OpenPosition", ()),
    }
    inside = "".join(
        f"<{name}>{''.join(_element(tag, row) for row in of)}</{name}>"
        for name, (tag, of) in sections.items()
        if name != without
    )
    return (
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1"><FlexStatement '
        'accountId="DU1" fromDate="20260514" toDate="20260514" whenGenerated="20260514;210000">'
        f"{inside}</FlexStatement></FlexStatements></FlexQueryResponse>"
    )


YESTERDAY = (
    '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1"><FlexStatement '
    'accountId="DU1" fromDate="20260513" toDate="20260513" whenGenerated="20260514;050000">'
    "<Trades/><CashTransactions/><OpenPositions/></FlexStatement></FlexStatements>"
    "</FlexQueryResponse>"
)


def _element(tag: str, row: Row) -> str:
    text = " ".join(f'{name}="{value}"' for name, value in row.items())
    return f"<{tag} {text}/>"


@contextmanager
def tws(*trades: Mapping[str, str], **account: Any) -> Iterator[TwsServer]:
    """Serve one account, and see that nothing but reads reached it."""
    served = TwsAccount([dict(one) for one in trades], **account)
    with in_background(TwsServer({"DU1": served})) as server:
        yield server
        assert server.violations == []


def night(
    folder: Path,
    server: TwsServer,
    *,
    flex: str = "",
    now: datetime = EVENING,
    settings: str = 'confirmed_by = "ib"',
    claim: str = NET,
    **options: Any,
) -> Document:
    """Run one night of the TWS account, its bot, and the account of its statements."""
    text = desk(folder, server, flex=flex, settings=settings, claim=claim)
    return night_of(folder, text, now, **options)


def desk(
    folder: Path, server: TwsServer, name: str = "", *, flex: str, settings: str, claim: str = NET
) -> str:
    """Write a bot's books and the statement; return the accounts and the bot of recon.toml."""
    (folder / f"one{name}.xml").write_text(flex or YESTERDAY, encoding="utf-8")
    vault = folder / f"vault{name}.sqlite"
    vault.unlink(missing_ok=True)
    with closing(sqlite3.connect(vault)) as books:
        books.execute("create table trades (id integer primary key, closed text, pnl text)")
        books.execute("insert into trades values (1, '2026-05-14 19:00:00', ?)", [claim])
        books.commit()
    return f"""
[[accounts]]
id = "tws{name}"
venue = "ibkr-tws"
mode = "paper"
currency = "USD"
since = 2026-05-14
port = {server.port}
{settings}

[[accounts]]
id = "ib{name}"
venue = "ibkr-flex"
currency = "USD"
since = 2026-05-14
files = "one{name}.xml"

[[bots]]
id = "spy{name}"
account = "tws{name}"
instruments = ["SPY"]
mapping = "mapping"
database = "sqlite:///vault{name}.sqlite"
"""


def night_of(folder: Path, config: str, now: datetime, **options: Any) -> Document:
    (folder / "mapping").mkdir(exist_ok=True)
    (folder / "mapping" / "trades.sql").write_text(
        MAPPING.replace("BTC-USDT-SWAP", "SPY"), encoding="utf-8"
    )
    (folder / "recon.toml").write_text(config, encoding="utf-8")
    return run_night(
        Night(
            load(folder / "recon.toml"),
            as_of=AS_OF,
            now=lambda: now,
            patience=QUICK,
            **{"is_paging": False, **options},
        )
    )


def entry(document: Document) -> dict[str, Any]:
    found = next(one for one in document["accounts"] if one["account"] == "tws")
    assert isinstance(found, dict)
    return found


def bot(document: Document) -> dict[str, Any]:
    [found] = document["bots"]
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Document]:
    """Give the folder of an evening over the two trades, and what it told."""
    folder = tmp_path_factory.mktemp("evening")
    with tws(*TRADES) as server:
        return folder, night(folder, server)


@pytest.fixture
def after_evening(evening: tuple[Path, Document], tmp_path: Path) -> Path:
    """Give a folder in which the evening has been: each test goes on from a copy of it."""
    shutil.copytree(evening[0], tmp_path / "nights")
    return tmp_path / "nights"


@pytest.fixture(scope="module")
def morning(
    evening: tuple[Path, Document], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Document]:
    """Give the folder of the morning after it, and what it told: TWS has forgotten the trades."""
    folder = tmp_path_factory.mktemp("morning") / "nights"
    shutil.copytree(evening[0], folder)
    with tws() as server:
        return folder, night(folder, server, flex=statement(BOUGHT, SOLD), now=MORNING)


def test_in_the_evening_it_is_provisional_and_says_so(evening: tuple[Path, Document]) -> None:
    _, document = evening
    found = entry(document)
    assert found["status"] == "unproven"
    assert found["proofs"]["confirmed"]["status"] == "absent"
    assert found["proofs"]["cash"]["status"] == "absent"
    assert found["proofs"]["positions"]["status"] == "closed"
    assert "provisional: TWS is the only source for session 2026-05-14" in str(found["reasons"])
    assert found["window"]["net"] == NET
    assert (bot(document)["status"], bot(document)["window"]["divergence"]) == ("unproven", "0")


def test_in_the_morning_the_statement_confirms_it(morning: tuple[Path, Document]) -> None:
    _, found = morning
    assert entry(found)["reasons"] == []
    assert entry(found)["status"] == "proven"
    assert entry(found)["proofs"]["confirmed"]["status"] == "closed"
    assert set(entry(found)["coverage"].values()) == {"complete"}
    assert entry(found)["window"]["net"] == NET
    assert bot(found)["status"] == "agreed"


def cancelled(row: Row) -> list[Row]:
    """Return a trade and its cancel, as statements have them."""
    reversal = {
        **row,
        "transactionType": "TradeCancel",
        "notes": "Ca",
        "quantity": f"-{row['quantity']}",
        "proceeds": "50025",
        "netCash": "50026.0005",
        "ibCommission": "1.0005",
        "tradeID": "",
        "ibExecID": "",
        "origTradeID": row["tradeID"],
        "transactionID": "13",
    }
    return [row, reversal]


REBOOKED = {**BOUGHT, "transactionID": "14", "ibExecID": "0000e0d5.66a4.01.02"}
DEARER = {**REBOOKED, "tradePrice": "500.35", "proceeds": "-50035", "netCash": "-50036.0005"}
EXTRA = {**BOUGHT, "transactionID": "15", "tradeID": "5", "ibExecID": "0000e0d5.6fff.01.01"}

BROKEN: dict[str, tuple[str, str, str]] = {
    "another commission": (
        statement({**BOUGHT, "ibCommission": "-1.5", "netCash": "-50026.5"}, SOLD),
        BUY, "another commission (0.4995)",
    ),
    "another price": (
        statement({**BOUGHT, "tradePrice": "500.26", "proceeds": "-50026",
                   "netCash": "-50027.0005"}, SOLD), BUY, "another price (-0.01)",
    ),
    "another quantity": (
        statement(BOUGHT, {**SOLD, "quantity": "-99", "proceeds": "49623.75",
                           "netCash": "49622.7495"}), SELL, "another quantity (-1.00)",
    ),
    "another instrument": (
        statement({**BOUGHT, "symbol": "VOO", "conid": "136155102"}, SOLD), BUY,
        "statement says VOO",
    ),
    "another multiplier": (
        statement({**BOUGHT, "multiplier": "10", "proceeds": "-500250", "netCash": "-500251.0005"},
                  SOLD), BUY, "another multiplier",
    ),
    "a commission in another currency": (
        statement({**BOUGHT, "ibCommissionCurrency": "CHF", "taxes": "0"}, SOLD),
        BUY, "commission is in another currency",
    ),
    "missing in the statement": (statement(SOLD), BUY, "the statement does not have it (100.00)"),
    "nothing in the statement": (statement(), SELL, "the statement does not have it"),
    "cancelled": (statement(*cancelled(BOUGHT), SOLD), BUY, "the statement has cancelled it"),
    "corrected": (
        statement(*cancelled(BOUGHT), DEARER, SOLD), BUY, "another price (-0.10)",
    ),
    "only in the statement": (
        statement(BOUGHT, SOLD, EXTRA), "0000e0d5.6fff.01.01", "only the statement has it",
    ),
    "without a name": (
        statement({**BOUGHT, "ibExecID": ""}, SOLD), "Flex 11", "add the field IB Exec ID",
    ),
    "twice": (
        statement(BOUGHT, {**BOUGHT, "transactionID": "15", "tradeID": "5"}, SOLD),
        BUY, "the statement has it 2 times",
    ),
}  # fmt: skip


NOT_WHOLE = {
    "no cash section": statement(BOUGHT, SOLD, without="CashTransactions"),
    "no trades section": statement(without="Trades"),
    "generated too early": statement(BOUGHT, SOLD).replace("20260514;210000", "20260514;180000"),
    "a row cannot be read": statement(BOUGHT, SOLD, {**EXTRA, "quantity": "?"}),
}


class Late(NamedTuple):
    """A night so late that the statement of the day is there already."""

    flex: str
    claim: str = NET
    is_confirmed: bool = True


EARLY = {**EXTRA, "dateTime": "20260513;210000"}
"""21:00 of the day before is of the session, and before the midnight that TWS begins at."""
LATE = {
    "a bot that is off": Late(statement(BOUGHT, SOLD), claim="150"),
    "no account is named": Late(statement(BOUGHT, SOLD), is_confirmed=False),
    "rebooked": Late(statement(*cancelled(BOUGHT), REBOOKED, SOLD)),
    "early": Late(statement(BOUGHT, SOLD, EARLY)),
    "a dividend": Late(statement(BOUGHT, SOLD, cash=(DIVIDEND,))),
    **{name: Late(flex) for name, (flex, *_) in BROKEN.items()},
    **{name: Late(flex) for name, flex in NOT_WHOLE.items()},
}


class Told(NamedTuple):
    """What a night tells of a TWS account and of its bot."""

    entry: dict[str, Any]
    bot: dict[str, Any]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """Give what one night tells of each statement, by its name: an account and a TWS for each."""
    folder = tmp_path_factory.mktemp("statements")
    with ExitStack() as stack:
        config = "".join(
            desk(
                folder,
                stack.enter_context(tws(*TRADES)),
                str(number),
                flex=one.flex,
                settings=f'confirmed_by = "ib{number}"' if one.is_confirmed else "",
                claim=one.claim,
            )
            for number, one in enumerate(LATE.values())
        )
        document = night_of(folder, config, EVENING)
    accounts = {one["account"]: one for one in document["accounts"]}
    return {
        name: Told(accounts[f"tws{number}"], document["bots"][number])
        for number, name in enumerate(LATE)
    }


@pytest.mark.parametrize("name", BROKEN)
def test_a_statement_that_says_otherwise_breaks_it(told: dict[str, Told], name: str) -> None:
    _, exec_id, says = BROKEN[name]
    found = told[name].entry
    assert (found["status"], found["proofs"]["confirmed"]["status"]) == ("unproven", "broken")
    assert exec_id in found["proofs"]["confirmed"]["differences"]
    assert any(exec_id in reason and says in reason for reason in found["reasons"]), found
    assert told[name].bot["status"] == "unproven"


def test_a_bot_that_is_off_diverges_once_its_account_is_confirmed(told: dict[str, Told]) -> None:
    found = told["a bot that is off"].bot
    assert found["status"] == "diverged"
    assert found["window"]["divergence"] == "52.001"


def test_nothing_is_confirmed_where_no_account_is_named(told: dict[str, Told]) -> None:
    found = told["no account is named"].entry
    assert (found["status"], found["proofs"]["confirmed"]["status"]) == ("unproven", "absent")
    assert "no statement confirms it" in str(found["reasons"])


def test_a_correction_that_changes_nothing_is_confirmed(told: dict[str, Told]) -> None:
    found = told["rebooked"].entry
    assert (found["status"], found["proofs"]["confirmed"]["status"]) == ("proven", "closed")


def test_what_happened_while_tws_was_not_asked_is_a_hole_and_no_contradiction(
    told: dict[str, Told],
) -> None:
    found = told["early"].entry
    assert found["proofs"]["confirmed"]["status"] == "closed"
    assert (found["status"], found["coverage"]["fills"]) == ("unproven", "partial")
    assert any("when TWS was not asked" in reason for reason in found["reasons"])


def test_cash_that_tws_cannot_know_of_leaves_the_account_unproven(told: dict[str, Told]) -> None:
    found = told["a dividend"].entry
    assert found["proofs"]["confirmed"]["status"] == "closed"
    assert (found["status"], found["coverage"]["ledger"]) == ("unproven", "partial")
    assert any("has dividend of 3.50 USD" in reason for reason in found["reasons"])


@pytest.mark.parametrize("name", NOT_WHOLE)
def test_a_statement_that_is_not_whole_confirms_nothing(told: dict[str, Told], name: str) -> None:
    found = told[name].entry
    assert (found["status"], found["proofs"]["confirmed"]["status"]) == ("unproven", "absent")
    assert any("provisional" in reason for reason in found["reasons"])


def test_a_commission_that_never_came_leaves_nothing_to_agree_with_until_a_later_run_has_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "nights").mkdir()
    with tws(*TRADES, commissions={SELL: None}) as server:
        found = entry(night(tmp_path / "nights", server))
    assert found["status"] == "unproven"
    assert found["window"]["net"] is None
    assert any("unknown, and never 0" in reason for reason in found["reasons"])
    shutil.copytree(tmp_path / "nights", tmp_path / "later")
    with tws() as server:
        found = entry(night(tmp_path / "nights", server, flex=statement(BOUGHT, SOLD), now=MORNING))
    assert found["status"] == "unproven"
    with tws(*TRADES) as server:
        found = entry(night(tmp_path / "later", server))
    assert found["window"]["net"] == NET
    assert not any("never 0" in reason for reason in found["reasons"])


def test_a_correction_that_comes_with_a_later_run_replaces_what_was(
    after_evening: Path, tmp_path: Path
) -> None:
    corrected = fill(
        "0000e0d5.66a5.01.02", side="SLD", price="502.25", time="20260514 15:00:00 US/Eastern"
    )
    with tws(*TRADES, corrected) as server:
        first = entry(night(after_evening, server))
    assert first["window"]["net"] == "197.999"
    with tws(*TRADES, corrected) as server:
        (tmp_path / "fresh").mkdir()
        fresh = entry(night(tmp_path / "fresh", server))
    assert {**first, "reasons": 0} == {**fresh, "reasons": 0}
    kept = rows(
        after_evening, "select fill_id from evidence.fills where account = 'tws' order by 1"
    )
    assert kept == [(BUY,), ("0000e0d5.66a5.01.02",)]


def test_a_position_that_the_executions_do_not_make_breaks(tmp_path: Path) -> None:
    with tws(*TRADES, positions=[(SPY, "7", "500")]) as server:
        found = entry(night(tmp_path, server))
    assert found["proofs"]["positions"]["status"] == "broken"
    assert found["proofs"]["positions"]["differences"] == {"SPY": "-7.00"}


def test_a_tws_that_does_not_answer_proves_nothing_of_what_is_known(after_evening: Path) -> None:
    with tws(*TRADES) as server:
        server.faults = Faults(mute=frozenset({EXECUTIONS}))
        found = entry(night(after_evening, server, flex=statement(BOUGHT, SOLD), now=MORNING))
    assert (found["status"], found["coverage"]["fills"]) == ("unproven", "failed")


def test_another_broker_s_account_under_the_same_name_is_noticed(after_evening: Path) -> None:
    other = TwsServer({"DU2": TwsAccount()})
    with in_background(other) as server:
        found = entry(night(after_evening, server, flex=statement(BOUGHT, SOLD), now=MORNING))
    assert any("(DU1, DU2)" in reason for reason in found["reasons"])


def test_alone_it_is_held_against_what_the_statements_said_before(
    morning: tuple[Path, Document], tmp_path: Path
) -> None:
    shutil.copytree(morning[0], tmp_path / "nights")
    with tws() as server:
        again = night(tmp_path / "nights", server, flex=statement(), now=MORNING, accounts=("tws",))
    assert entry(again)["status"] == "proven"


def test_no_number_of_it_was_a_float(tmp_path: Path) -> None:
    """0.1 + 0.2 is 0.30000000000000004 in floats, and these digits are more than a float has."""
    price = "500.123456789012345"
    trade = fill(BUY, shares="0.3", price=price)
    with tws(
        trade, commissions={BUY: ("0.100000000000000001", "USD")}, positions=[(SPY, "0.3", price)]
    ) as server:
        night(tmp_path, server)
    [found] = rows(tmp_path, "select qty, price, fee from evidence.fills where account = 'tws'")
    assert found == (Decimal("0.3"), Decimal(price), Decimal("-0.100000000000000001"))
