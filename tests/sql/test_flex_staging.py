from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.ibkr_flex.statement import ZONES, instant
from recon.warehouse.database import Warehouse
from tests.support.flex_staging import fetched, land, stage

SINCE = date(2026, 1, 5)
STOCK = {
    "levelOfDetail": "EXECUTION", "assetCategory": "STK", "symbol": "X", "currency": "USD",
    "fxRateToBase": "1", "transactionType": "ExchTrade", "notes": "", "multiplier": "1",
    "quantity": "10", "tradePrice": "2.5", "proceeds": "-25", "ibCommission": "-1",
    "ibCommissionCurrency": "USD", "taxes": "0", "netCash": "-26", "fifoPnlRealized": "0",
    "transactionID": "1", "tradeID": "T1", "ibOrderID": "O1", "orderReference": "bot-7",
    "dateTime": "20260105;100000", "tradeDate": "20260105", "reportDate": "20260105",
}  # fmt: skip
CANCEL = {
    "quantity": "-10",
    "proceeds": "25",
    "netCash": "25",
    "ibCommission": "0",
    "notes": "Ca",
    "transactionType": "TradeCancel",
    "tradeID": "",
    "origTradeID": "T1",
    "transactionID": "2",
    "reportDate": "20260106",
}
REBOOK = {"transactionID": "3", "reportDate": "20260106"}
CASH = {
    "type": "Other Fees",
    "dateTime": "20260105",
    "reportDate": "20260105",
    "amount": "-3",
    "currency": "USD",
    "fxRateToBase": "1",
    "levelOfDetail": "DETAIL",
    "transactionID": "1",
}
POSITION = {
    "levelOfDetail": "SUMMARY",
    "assetCategory": "STK",
    "symbol": "X",
    "conid": "7",
    "currency": "USD",
    "multiplier": "1",
    "position": "10",
    "markPrice": "3",
    "costBasisPrice": "2.6",
}
Changes = Mapping[str, str | None]


class Staged(NamedTuple):
    """The staging of one account among others."""

    warehouse: Warehouse
    account: str

    def table(self, name: str) -> list[dict[str, Any]]:
        rows = table(self.warehouse, name)
        return [row for row in rows if row["account"] == self.account]

    def reasons(self, name: str = "quarantine") -> str:
        return " | ".join(row["reason"] for row in self.table(name))


Among = Callable[[str, Sequence[str]], Staged]


@pytest.fixture(scope="module")
def among(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Among]:
    """Give the staging of one of several statements: all are staged at once, an account each."""
    with ExitStack() as stack:

        @cache
        def together(texts: tuple[str, ...]) -> Warehouse:
            folder = tmp_path_factory.mktemp("among")
            warehouse = stack.enter_context(Warehouse(folder / "warehouse.duckdb"))
            staged_apart(warehouse, folder, texts)
            return warehouse

        yield lambda text, texts: Staged(together(tuple(texts)), f"ib{texts.index(text)}")


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    with Warehouse(tmp_path / "warehouse.duckdb") as opened:
        yield opened


def utc(*parts: int) -> datetime:
    """Return an instant as the warehouse has it: UTC, and no zone."""
    year, month, day, hour, minute = (*parts, 0)[:5]
    return datetime(year, month, day, hour, minute, tzinfo=UTC).replace(tzinfo=None)


def element(tag: str, base: Mapping[str, str], changes: Changes) -> str:
    merged = {**base, **changes}
    text = " ".join(f'{name}="{value}"' for name, value in merged.items() if value is not None)
    return f"<{tag} {text}/>"


def statement(
    *trades: Changes,
    cash: tuple[Changes, ...] = (),
    positions: tuple[Changes, ...] = (),
    extra: str = "",
    generated: str = "20260107;050000",
) -> str:
    inside = "".join(
        f"<{section}>{''.join(element(tag, base, row) for row in rows)}</{section}>"
        for section, tag, base, rows in (
            ("Trades", "Trade", STOCK, trades),
            ("CashTransactions", "CashTransaction", CASH, cash),
            ("OpenPositions", "OpenPosition", POSITION, positions),
        )
    )
    return document(inside + extra, generated)


def document(inside: str, generated: str = "20260107;050000") -> str:
    return (
        '<FlexQueryResponse><FlexStatements count="1"><FlexStatement accountId="U1" '
        f'fromDate="20260105" toDate="20260106" whenGenerated="{generated}">{inside}'
        "</FlexStatement></FlexStatements></FlexQueryResponse>"
    )


def staged(warehouse: Warehouse, path: Path, *texts: str, currency: str = "USD") -> None:
    for n, text in enumerate(texts):
        file = path / f"{n}.xml"
        file.write_text(text)
        land(warehouse, fetched([file], SINCE), f"run-{n}")
    assert stage(warehouse, SINCE, currency) == []


def staged_apart(warehouse: Warehouse, path: Path, texts: Sequence[str]) -> None:
    """Stage each statement as an account of its own, named by its place."""
    names = [f"ib{number}" for number, _ in enumerate(texts)]
    for name, text in zip(names, texts, strict=True):
        file = path / f"{name}.xml"
        file.write_text(text)
        land(warehouse, fetched([file], SINCE, account=name), "run", name)
    assert stage(warehouse, SINCE, accounts=names) == []


def table(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    return warehouse.rows(f"select * from staging.flex_{name} order by all")


def reasons(warehouse: Warehouse, name: str = "quarantine") -> str:
    return " | ".join(row["reason"] for row in table(warehouse, name))


def test_a_fill_has_every_column_with_its_sign(warehouse: Warehouse, tmp_path: Path) -> None:
    staged(warehouse, tmp_path, statement({}))
    assert table(warehouse, "fills") == [
        {
            "account": "ib", "source_kind": "Trade", "source_id": "1", "fill_id": "1",
            "at": utc(2026, 1, 5, 15), "seq": 1,
            "session_date": date(2026, 1, 5), "instrument": "X", "instrument_kind": "stk",
            "position_side": "net", "qty": Decimal(10), "price": Decimal("2.5"),
            "multiplier": Decimal(1), "is_inverse": False, "currency": "USD",
            "fee": Decimal(-1), "fee_currency": "USD", "rate": Decimal(1), "order_id": "O1",
            "order_tag": "bot-7", "trade_id": "T1", "broker_pnl": Decimal(0), "is_system": False,
            "valuation": "exact", "proceeds": None, "to_instrument": None, "exercise_id": None,
        }
    ]  # fmt: skip
    assert table(warehouse, "quarantine") == table(warehouse, "findings") == []


UNREADABLE: list[tuple[Changes, str]] = [
    ({"levelOfDetail": None}, "levelOfDetail is missing: add the field"),
    ({"levelOfDetail": "NOVEL"}, "NOVEL is not known"),
    ({"symbol": ""}, "symbol"),
    ({"assetCategory": "XYZ"}, "XYZ is not known"),
    ({"quantity": ""}, "quantity"),
    ({"quantity": "ten"}, "quantity"),
    ({"tradePrice": None}, "price"),
    ({"ibCommission": ""}, "unknown, and never 0"),
    ({"ibCommission": "NaN"}, "unknown, and never 0"),
    ({"taxes": None}, "add the field Taxes"),
    ({"ibCommissionCurrency": ""}, "ibCommissionCurrency"),
    ({"multiplier": ""}, "multiplier"),
    ({"multiplier": None, "assetCategory": "OPT"}, "multiplier"),
    ({"multiplier": "0"}, "multiplier"),
    ({"proceeds": "-26"}, "proceeds -26"),
    ({"currency": ""}, "currency"),
    ({"fifoPnlRealized": "1,2"}, "fifoPnlRealized"),
    ({"dateTime": "05/01/2026"}, "not a date or time"),
    ({"dateTime": "20261101;013000"}, "exists twice in New York"),
    ({"dateTime": "20260308;023000"}, "does not exist in New York"),
    ({"dateTime": "20260105;100000 CST"}, "the time zone CST of"),
    ({"dateTime": "20260105;100000 XYZ"}, "the time zone XYZ of"),
    ({"dateTime": "20260105;100000 Asia/Nowhere"}, "the time zone Asia/Nowhere of"),
    ({"dateTime": "20260405;023000 Australia/Sydney"}, "exists twice in Australia/Sydney"),
    ({"dateTime": "", "tradeDate": ""}, "dateTime and tradeDate are missing"),
    ({"transactionType": "TradeCancel", "origTradeID": "T9"}, "a cancel without the trade"),
]


@pytest.mark.parametrize(("changes", "says"), UNREADABLE)
def test_what_cannot_be_read_is_quarantined_by_name(
    among: Among, changes: Changes, says: str
) -> None:
    one = among(statement(changes), [statement(changes) for changes, _ in UNREADABLE])
    assert one.table("fills") == []
    assert len(one.table("quarantine")) == 1
    assert says in one.reasons()


TIMES: list[tuple[Changes, datetime]] = [
    ({"dateTime": "2026-01-05;10:00:00 EST"}, utc(2026, 1, 5, 15)),
    ({"dateTime": "20261101;013000 EDT"}, utc(2026, 11, 1, 5, 30)),
    ({"dateTime": None, "tradeTime": "100000"}, utc(2026, 1, 5, 15)),
    ({"dateTime": "20260106;020000 AEDT"}, utc(2026, 1, 5, 15)),
    ({"dateTime": "2026-01-05, 23:00:00 HKT"}, utc(2026, 1, 5, 15)),
    ({"dateTime": "20260105;230000 Asia/Hong_Kong"}, utc(2026, 1, 5, 15)),
    ({"dateTime": "20260105;203000 ACST"}, utc(2026, 1, 5, 11)),
    ({"dateTime": ""}, utc(2026, 1, 3, 1, 20)),
    ({"dateTime": "20260705;100000"}, utc(2026, 7, 5, 14)),
]


@pytest.mark.parametrize(("changes", "at"), TIMES)
def test_times_are_utc_and_a_date_alone_is_its_sessions_start(
    among: Among, changes: Changes, at: datetime
) -> None:
    one = among(statement(changes), [statement(changes) for changes, _ in TIMES])
    assert [row["at"] for row in one.table("fills")] == [at]


def test_a_zone_means_the_same_to_the_connector_and_in_sql(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    zones = [*ZONES, "Asia/Kolkata", "Europe/Berlin", "Hongkong", "Australia/Adelaide"]
    rows = [{"dateTime": f"20260105;100000 {zone}", "transactionID": zone} for zone in zones]
    staged(warehouse, tmp_path, statement(*rows))
    found = {row["fill_id"]: row["at"].replace(tzinfo=UTC) for row in table(warehouse, "fills")}
    assert found == {zone: instant(f"20260105;100000 {zone}") for zone in zones}
    # The date in Sydney may be New York's next one: that is no disorder.
    assert table(warehouse, "findings") == []


DATES = [
    ("20260104", date(2026, 1, 5)),
    ("20260102", date(2026, 1, 2)),
    ("20260110", date(2026, 1, 12)),
]


@pytest.mark.parametrize(("day", "session"), DATES)
def test_a_date_that_is_no_session_belongs_to_the_next_one(
    among: Among, day: str, session: date
) -> None:
    one = among(statement({"tradeDate": day}), [statement({"tradeDate": day}) for day, _ in DATES])
    assert [row["session_date"] for row in one.table("fills")] == [session]


def test_only_executions_are_fills(warehouse: Warehouse, tmp_path: Path) -> None:
    levels = ("ORDER", "CLOSED_LOT", "SYMBOL_SUMMARY", "ASSET_SUMMARY", "WASH_SALE", "EXECUTION")
    staged(warehouse, tmp_path, statement(*({"levelOfDetail": level} for level in levels)))
    assert len(table(warehouse, "fills")) == 1
    assert table(warehouse, "quarantine") == []


def test_the_rebooking_carries_the_commission_of_the_booking_that_it_corrects(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    staged(warehouse, tmp_path, statement({}, CANCEL, REBOOK))
    assert [(row["fill_id"], row["fee"]) for row in table(warehouse, "fills")] == [
        ("3", Decimal(-2))
    ]
    assert table(warehouse, "ledger") == []


def test_of_an_order_that_is_gone_the_commission_is_a_cost_at_once(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    staged(warehouse, tmp_path, statement({}, CANCEL))
    assert table(warehouse, "fills") == []
    assert [(row["amount"], row["session_date"]) for row in table(warehouse, "ledger")] == [
        (Decimal(-1), date(2026, 1, 5))
    ]


def test_a_cancel_that_gives_the_commission_back_leaves_nothing(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    staged(warehouse, tmp_path, statement({}, {**CANCEL, "ibCommission": "1"}))
    assert table(warehouse, "fills") == table(warehouse, "ledger") == []


def test_a_cancel_without_a_trade_id_finds_its_order(warehouse: Warehouse, tmp_path: Path) -> None:
    staged(warehouse, tmp_path, statement({}, {**CANCEL, "origTradeID": ""}))
    assert table(warehouse, "fills") == table(warehouse, "quarantine") == []


TRADES = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(0, 3)), min_size=1, max_size=6
)


def booked(trades: list[tuple[int, int, int]], shuffle: Any) -> str:
    """Return a statement of trades that are cancelled and rebooked `times` times, in any order."""
    rows: list[dict[str, str]] = []
    for n, (qty, price, times) in enumerate(trades):
        value = {"quantity": str(qty), "tradePrice": str(price), "proceeds": str(-qty * price)}
        back = {"quantity": str(-qty), "tradePrice": str(price), "proceeds": str(qty * price)}
        for k in range(times + 1):
            moment = {"reportDate": f"2026010{5 + k}", "netCash": ""}
            number = str(100 * n + 10 * k)
            rows.append({**value, **moment, "tradeID": f"T{n}", "transactionID": number})
            if k < times:
                cancel = {"origTradeID": f"T{n}", "transactionID": number + "9"}
                rows.append({**CANCEL, **back, **moment, **cancel})
    shuffle.shuffle(rows)
    return statement(*rows)


@settings(max_examples=4, deadline=None)
@given(st.lists(TRADES, min_size=4, max_size=8), st.randoms(use_true_random=False))
def test_whatever_is_cancelled_the_sums_are_the_statements(
    tmp_path_factory: pytest.TempPathFactory,
    accounts: list[list[tuple[int, int, int]]],
    shuffle: Any,
) -> None:
    path = tmp_path_factory.mktemp("cancels")
    with Warehouse(path / "w.duckdb") as warehouse:
        staged_apart(warehouse, path, [booked(trades, shuffle) for trades in accounts])
        for number, trades in enumerate(accounts):
            one = Staged(warehouse, f"ib{number}")
            fills = one.table("fills")
            assert sum(row["qty"] for row in fills) == sum(qty for qty, _, _ in trades)
            assert len(fills) == len(trades)
            fees = sum(row["fee"] for row in fills)
            fees += sum(row["amount"] for row in one.table("ledger"))
            assert fees == -sum(times + 1 for _, _, times in trades)


def test_conversions_are_no_positions_but_their_commission_is_paid(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    forex = {"assetCategory": "CASH", "symbol": "EUR.USD", "ibCommission": "-2"}
    free = {**forex, "ibCommission": "0", "transactionID": "2"}
    staged(warehouse, tmp_path, statement(forex, free))
    assert table(warehouse, "fills") == []
    rows = [(row["kind"], row["currency"], row["amount"]) for row in table(warehouse, "ledger")]
    assert sorted(rows) == [
        ("conversion", "EUR", Decimal(10)),
        ("conversion", "EUR", Decimal(10)),
        ("conversion", "USD", Decimal(-25)),
        ("conversion", "USD", Decimal(-25)),
        ("fee", "USD", Decimal(-2)),
    ]
    assert table(warehouse, "findings") == []


NOT_VALUED: list[tuple[Changes, str]] = [
    ({"notes": "A;P"}, "without its other leg"),
    (
        {"assetCategory": "FUND", "proceeds": "", "netCash": ""},
        "proceeds of a FUND are missing",
    ),
    ({"assetCategory": "BOND", "proceeds": "-20", "netCash": "-21"}, "for this BOND"),
    ({"netCash": "-28"}, "a charge is missing"),
    ({"fxRateToBase": "0.9"}, "base currency is another"),
    ({"ibCommissionCurrency": "EUR", "taxes": "-1"}, "taxes are in USD"),
    ({"accountId": "U9"}, "rows of account U9"),
]


@pytest.mark.parametrize(("changes", "says"), NOT_VALUED)
def test_what_is_not_valued_yet_is_a_finding(among: Among, changes: Changes, says: str) -> None:
    one = among(statement(changes), [statement(changes) for changes, _ in NOT_VALUED])
    assert len(one.table("fills")) == 1
    assert says in one.reasons("findings")


def test_another_base_currency_makes_rates_unknown(warehouse: Warehouse, tmp_path: Path) -> None:
    text = statement({"currency": "CAD"}, extra='<AccountInformation currency="EUR"/>')
    staged(warehouse, tmp_path, text)
    assert [row["rate"] for row in table(warehouse, "fills")] == [None]
    assert "base currency is EUR" in reasons(warehouse, "findings")


def test_a_corporate_action_is_a_finding_by_symbol(warehouse: Warehouse, tmp_path: Path) -> None:
    action = '<CorporateActions><CorporateAction symbol="X" type="FS"/></CorporateActions>'
    staged(warehouse, tmp_path, statement(extra=action))
    assert [(row["instrument"], row["reason"]) for row in table(warehouse, "findings")] == [
        ("X", "corporate action not valued: FS")
    ]


def action(symbol: str, qty: str, headline: str, type_: str = "", proceeds: str = "0") -> str:
    return (
        f'<CorporateAction symbol="{symbol}" assetCategory="STK" currency="USD" fxRateToBase="1" '
        f'multiplier="1" type="{type_}" quantity="{qty}" proceeds="{proceeds}" '
        f'fifoPnlRealized="0" dateTime="20260105;202500" reportDate="20260106" '
        f'description="{headline} ({symbol}, A COMPANY, US0000000001)"/>'
    )


def acted(rows: Sequence[str]) -> str:
    """Return a statement of corporate actions."""
    return statement(extra=f"<CorporateActions>{''.join(rows)}</CorporateActions>")


SPLITS: list[tuple[list[str], list[tuple[object, ...]]]] = [
    ([action("X", "10", "X(US01) SPLIT 2 FOR 1", "FS")], [("split", "X", Decimal(10), None)]),
    (
        [
            action("X.OLD", "-10", "X(US01) SPLIT 1 FOR 5", "RS"),
            action("X", "2", "X(US01) SPLIT 1 FOR 5", "RS"),
        ],
        [("split", "X", Decimal(-8), None)],
    ),
    (
        [
            action("X", "-10", "X(US01) CUSIP/ISIN CHANGE TO (US02)", "IC"),
            action("Y", "10", "X(US01) CUSIP/ISIN CHANGE TO (US02)", "IC"),
        ],
        [("move", "X", Decimal(-10), "Y")],
    ),
    (
        [
            action("X", "10", "X(US01) TENDERED TO US02 1 FOR 1"),
            action("X.TEN", "-10", "X(US01) TENDERED TO US02 1 FOR 1"),
        ],
        [("move", "X", Decimal(10), "X.TEN")],
    ),
    (
        [
            action("X", "-10", "X(US01) SPLIT 3 FOR 1"),
            action("Y", "30", "X(US01) SPLIT 3 FOR 1"),
        ],
        [("move", "X", Decimal(-10), "Y"), ("split", "Y", Decimal(20), None)],
    ),
]


@pytest.mark.parametrize(("rows", "expected"), SPLITS)
def test_splits_and_other_names_change_lots(
    among: Among, rows: list[str], expected: list[tuple[object, ...]]
) -> None:
    one = among(
        acted(rows),
        [acted(rows) for rows, _ in SPLITS],
    )
    found = [
        (row["kind"], row["instrument"], row["qty"], row["to_instrument"])
        for row in one.table("lot_events")
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert one.table("findings") == []
    assert {row["session_date"] for row in one.table("lot_events")} == {date(2026, 1, 6)}


def test_a_merger_for_cash_is_a_fill_at_what_it_paid(warehouse: Warehouse, tmp_path: Path) -> None:
    row = action("X", "-10", "X(US01) MERGED(Acquisition) FOR USD 2.50 PER SHARE", "TC", "25")
    staged(warehouse, tmp_path, acted([row]))
    [fill] = table(warehouse, "fills")
    assert (fill["qty"], fill["price"], fill["proceeds"]) == (-10, Decimal("2.5"), 25)
    assert fill["is_system"]
    assert table(warehouse, "lot_events") == table(warehouse, "findings") == []


OTHER_ACTIONS: list[list[str]] = [
    [action("Z", "5", "X(US01) SPINOFF 1 FOR 2", "SO")],
    [action("X", "5", "X(US01) STOCK DIVIDEND 1 FOR 2", "SD")],
    [action("X", "-10", "X(US01) DELISTED", "DW")],
    [
        action("X", "-10", "X(US01) MERGED(Acquisition) WITH US02 1 FOR 2", "TC"),
        action("Y", "5", "X(US01) MERGED(Acquisition) WITH US02 1 FOR 2", "TC"),
    ],
    [
        action("X", "-10", "X(US01) TENDERED TO US02 1 FOR 2", "TO"),
        action("Y", "5", "X(US01) TENDERED TO US02 1 FOR 2", "TO"),
    ],
]


@pytest.mark.parametrize("rows", OTHER_ACTIONS)
def test_any_other_corporate_action_is_named(among: Among, rows: list[str]) -> None:
    one = among(
        acted(rows),
        [acted(rows) for rows in OTHER_ACTIONS],
    )
    # What the headline names first is concerned, too: of a spin-off no row is the old paper's.
    concerned = {"X", *(row.split('symbol="')[1][0] for row in rows)}
    assert {row["instrument"] for row in one.table("findings")} == concerned
    assert "corporate action not valued" in one.reasons("findings")
    assert one.table("lot_events") == []


OPTION = {
    "assetCategory": "OPT",
    "symbol": "X P50",
    "multiplier": "100",
    "quantity": "1",
    "tradePrice": "0",
    "proceeds": "0",
    "netCash": "0",
    "ibCommission": "0",
    "notes": "A",
    "transactionType": "BookTrade",
    "putCall": "P",
    "strike": "50",
    "underlyingSymbol": "X",
    "transactionID": "9",
    "tradeID": "T9",
    "dateTime": "20260106;162000",
    "tradeDate": "20260106",
    "reportDate": "20260106",
}
DELIVERED = {
    "quantity": "100",
    "tradePrice": "50",
    "proceeds": "-5000",
    "netCash": "-5000",
    "notes": "A",
    "ibCommission": "-2",
    "transactionType": "BookTrade",
    "transactionID": "8",
    "tradeID": "T8",
    "dateTime": "20260106;162000",
    "tradeDate": "20260106",
    "reportDate": "20260106",
}


def test_an_assignment_is_two_legs(warehouse: Warehouse, tmp_path: Path) -> None:
    staged(warehouse, tmp_path, statement(OPTION, DELIVERED))
    option, stock = sorted(
        table(warehouse, "fills"), key=lambda row: row["instrument"], reverse=True
    )
    assert (option["to_instrument"], stock["to_instrument"]) == ("X", None)
    assert option["exercise_id"] == stock["exercise_id"] is not None
    assert table(warehouse, "findings") == []


LEGS: list[Changes] = [
    {"quantity": "200", "proceeds": "-10000", "netCash": "-10000"},
    {"quantity": "-100", "proceeds": "5000", "netCash": "5000"},
    {"dateTime": "20260106;161000"},
    {"tradePrice": "49", "proceeds": "-4900", "netCash": "-4900"},
]


@pytest.mark.parametrize("changes", LEGS)
def test_legs_that_do_not_fit_are_named(among: Among, changes: Changes) -> None:
    one = among(
        statement(OPTION, {**DELIVERED, **changes}),
        [statement(OPTION, {**DELIVERED, **changes}) for changes in LEGS],
    )
    assert "without its other leg" in one.reasons("findings")
    assert {row["exercise_id"] for row in one.table("fills")} == {None}


def test_a_rate_is_the_trades_own_then_the_days_and_never_guessed(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    rates = (
        '<ConversionRates><ConversionRate reportDate="20260105" fromCurrency="EUR" '
        'toCurrency="USD" rate="1.08"/></ConversionRates>'
    )
    own = {"currency": "EUR", "ibCommissionCurrency": "EUR"}
    of_the_day = {**own, "fxRateToBase": "", "transactionID": "2"}
    none = {"currency": "CHF", "ibCommissionCurrency": "CHF", "fxRateToBase": ""}
    trades = ({**own, "fxRateToBase": "1.1"}, of_the_day, {**none, "transactionID": "3"})
    of_the_session = {**of_the_day, "transactionID": "4", "tradeDate": "20260104"}
    staged(warehouse, tmp_path, statement(*trades, of_the_session, extra=rates))
    rows = {row["fill_id"]: (row["rate"], row["valuation"]) for row in table(warehouse, "fills")}
    assert rows == {
        "1": (Decimal("1.1"), "converted"),
        "2": (Decimal("1.08"), "converted"),
        "3": (None, None),
        "4": (Decimal("1.08"), "estimated"),
    }


CONFIRM = (
    '<TradeConfirm levelOfDetail="EXECUTION" assetCategory="STK" symbol="X" currency="USD" '
    'multiplier="1" quantity="10" price="2.5" amount="25" proceeds="-25" commission="-1" '
    'commissionCurrency="USD" tax="0" netCash="-26" tradeID="T1" execID="E.01" orderID="O1" '
    'code="O;P" transactionType="ExchTrade" dateTime="2026-01-05;10:00:00 EST" '
    'tradeDate="2026-01-05" reportDate="2026-01-05"/>'
)


def test_confirmations_are_fills_until_an_activity_statement_covers_the_day(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    confirms = document(f"<TradeConfirms>{CONFIRM}</TradeConfirms>")
    staged(warehouse, tmp_path, confirms)
    (fill,) = table(warehouse, "fills")
    assert (fill["fill_id"], fill["fee"], fill["order_id"], fill["broker_pnl"]) == (
        "T1/E.01",
        Decimal(-1),
        "O1",
        None,
    )
    staged(warehouse, tmp_path, confirms, statement({}))
    assert [row["fill_id"] for row in table(warehouse, "fills")] == ["1"]


CASH_KINDS = [
    ("dividend", "Dividends"),
    ("dividend", "Payment In Lieu Of Dividends"),
    ("tax", "Withholding Tax"),
    ("tax", "871(m) Withholding"),
    ("interest", "Broker Interest Paid"),
    ("interest", "Bond Interest Received"),
    ("fee", "Advisor Fees"),
    ("fee", "Commission Adjustments"),
    ("transfer", "Deposits/Withdrawals"),
    ("transfer", "Deposits &amp; Withdrawals"),
]


@pytest.mark.parametrize(("kind", "type_"), CASH_KINDS)
def test_cash_has_a_kind(among: Among, kind: str, type_: str) -> None:
    one = among(
        statement(cash=({"type": type_},)),
        [statement(cash=({"type": type_},)) for _, type_ in CASH_KINDS],
    )
    assert [(row["kind"], row["amount"]) for row in one.table("ledger")] == [(kind, Decimal(-3))]


UNREADABLE_CASH: list[tuple[Changes, str]] = [
    ({"type": "Cash Receipts"}, '"Cash Receipts" is not known'),
    ({"type": None}, "type is missing"),
    ({"amount": ""}, "amount"),
    ({"amount": "1e400"}, "amount"),
    ({"dateTime": "", "reportDate": ""}, "dateTime and reportDate"),
    ({"levelOfDetail": "NOVEL"}, "NOVEL"),
    ({"currency": ""}, "currency"),
]


@pytest.mark.parametrize(("changes", "says"), UNREADABLE_CASH)
def test_cash_that_cannot_be_read_is_quarantined(among: Among, changes: Changes, says: str) -> None:
    one = among(
        statement(cash=(changes,)), [statement(cash=(changes,)) for changes, _ in UNREADABLE_CASH]
    )
    assert one.table("ledger") == []
    assert says in one.reasons()


def test_summaries_of_cash_restate(warehouse: Warehouse, tmp_path: Path) -> None:
    staged(warehouse, tmp_path, statement(cash=({}, {"levelOfDetail": "SUMMARY"})))
    assert len(table(warehouse, "ledger")) == 1


def test_cash_without_levels_counts_where_none_has_one(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    bare = {"levelOfDetail": None}
    staged(warehouse, tmp_path, statement(cash=(bare, {**bare, "transactionID": "2"})))
    assert len(table(warehouse, "ledger")) == 2
    mixed = statement(cash=({"transactionID": "8"}, {**bare, "transactionID": "9"}))
    staged(warehouse, tmp_path, mixed)
    assert "other rows of this statement have one" in reasons(warehouse)
    healed = statement(cash=({"transactionID": "8"}, {"transactionID": "9"}))
    staged(warehouse, tmp_path, healed)
    assert table(warehouse, "quarantine") == []


def test_positions_are_the_latest_statements(warehouse: Warehouse, tmp_path: Path) -> None:
    staged(warehouse, tmp_path, statement(positions=({}, {"levelOfDetail": "LOT"})))
    (position,) = table(warehouse, "positions")
    assert (position["qty"], position["avg_price"], position["mark_price"]) == (
        Decimal(10),
        Decimal("2.6"),
        Decimal(3),
    )
    assert position["taken_at"] == utc(2026, 1, 7, 10)
    assert position["session_date"] == date(2026, 1, 6)
    staged(warehouse, tmp_path, statement(positions=(), generated="20260108;050000"))
    assert table(warehouse, "positions") == []


def test_lots_are_added_up_where_there_is_no_summary(warehouse: Warehouse, tmp_path: Path) -> None:
    lot = {"levelOfDetail": "LOT"}
    staged(warehouse, tmp_path, statement(positions=(lot, {**lot, "costBasisPrice": "2.8"})))
    assert [(row["qty"], row["avg_price"]) for row in table(warehouse, "positions")] == [
        (Decimal(20), None)
    ]


UNREADABLE_POSITIONS: list[tuple[Changes, str]] = [
    ({"levelOfDetail": "CONTRACT"}, "CONTRACT is not known"),
    ({"levelOfDetail": None}, "levelOfDetail is missing"),
    ({"position": ""}, "position is missing"),
    ({"markPrice": "x"}, "markPrice"),
]


@pytest.mark.parametrize(("changes", "says"), UNREADABLE_POSITIONS)
def test_positions_that_cannot_be_read_are_quarantined(
    among: Among, changes: Changes, says: str
) -> None:
    one = among(
        statement(positions=(changes,)),
        [statement(positions=(changes,)) for changes, _ in UNREADABLE_POSITIONS],
    )
    assert one.table("positions") == []
    assert says in one.reasons()
