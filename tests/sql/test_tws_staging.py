"""TWS's records as fills, positions and balances: landed as fetched, staged by `sql/`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from connectors.ibkr_tws.messages import EXECUTION, happened_at
from recon.breaks.instrument_names import keep_names
from recon.core.calendars import NEW_YORK, calendar, window
from recon.core.records import Coverage, Record
from recon.run.pipeline import EVERYTHING
from recon.warehouse.database import Again, Warehouse, build_order
from tests.support.flex_staging import NOTHING
from tests.support.servers.tws_server import FILL, SPY

NOW = datetime(2026, 5, 15, 2, tzinfo=UTC)
DAYS = calendar("XNYS")
WHOLE = window(DAYS, date(2026, 5, 12), date(2026, 5, 14))
ACCOUNT = "tws"
ONE, TWO = "0000e0d5.66a4.01.01", "0000e0d5.66a4.01.02"
OTHER = "0000e0d5.66a5.01.01"
OPTION = {
    "secType": "OPT",
    "symbol": "SPY",
    "localSymbol": "SPY   260619C00500000",
    "multiplier": "100",
    "conId": "9",
}
Item = Record | Coverage


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    with Warehouse(tmp_path / "warehouse.duckdb") as opened:
        yield opened


def execution(
    exec_id: str = ONE, commission: Mapping[str, str] | None = None, **changes: str
) -> list[Item]:
    """Return an execution of 100 SPY and its commission: 1.0005 USD unless told otherwise."""
    values = dict(zip(EXECUTION, [*FILL.values(), "0"], strict=True))
    payload = {**values, "execId": exec_id, **changes}
    at = happened_at(payload["time"], NEW_YORK)
    report = {"execId": exec_id, "commission": "1.0005", "currency": "USD", "realizedPNL": "0.0"}
    return [
        Record("execution", exec_id, json.dumps(payload), at),
        Record("commission", exec_id, json.dumps({**report, **(commission or {})}), at),
    ]


def position(qty: str = "100", **changes: str) -> list[Item]:
    payload = {"account": "DU1", **SPY, "position": qty, "avgCost": "500.26", **changes}
    return [Record("position", payload["conId"], json.dumps(payload))]


def cash(amount: str, currency: str = "USD") -> list[Item]:
    payload = {"account": "DU1", "key": "CashBalance", "value": amount, "currency": currency}
    return [Record("account-value", f"CashBalance/{currency}", json.dumps(payload))]


def snapshot(kind: str) -> Coverage:
    evidence: Any = {"position": "positions", "account-value": "balances"}[kind]
    return Coverage(evidence, (kind,), "complete", WHOLE.start, NOW, NOW, NOW, is_snapshot=True)


def staged(
    warehouse: Warehouse, *items: list[Item], zone: str = "America/New_York", currency: str = "USD"
) -> None:
    """Land what one fetch gave, stage it, and see that each record has one place."""
    staged_apart(warehouse, {ACCOUNT: Fetch(items, zone)}, currency)


class Fetch(NamedTuple):
    """What one fetch gave, and the time zone that is configured for its account."""

    items: Sequence[list[Item]]
    zone: str = "America/New_York"


def staged_apart(
    warehouse: Warehouse, accounts: Mapping[str, Fetch], currency: str = "USD"
) -> None:
    """Land what each account's fetch gave, and stage all of it together."""
    with warehouse.transaction():
        for account, fetch in accounts.items():
            told = [one for group in fetch.items for one in group]
            everything = [*told, snapshot("position"), snapshot("account-value")]
            warehouse.land("r1", "ibkr-tws", account, everything, NOW)
    with warehouse.transaction():
        rows = [
            {
                "account": account,
                "venue": "ibkr-tws",
                "currency": currency,
                "lots": "fifo",
                "is_by_trade_date": True,
                "first_date": WHOLE.first.date,
                "last_date": WHOLE.last.date,
            }
            for account in accounts
        ]
        zones = [
            {"account": account, "timezone": fetch.zone, "confirmed_by": "ib"}
            for account, fetch in accounts.items()
        ]
        warehouse.store("config", "accounts", pa.Table.from_pylist(rows))
        warehouse.store("config", "tws", pa.Table.from_pylist(zones))
        warehouse.store("config", "sessions", _sessions(accounts))
        for name in ("owners", "opening"):
            warehouse.store("config", name, NOTHING)
        for row in warehouse.rows("select distinct run from raw.records"):
            keep_names(warehouse, row["run"])
        warehouse.select("", [Again("ibkr-tws", account, EVERYTHING) for account in accounts])
        texts = {
            name: text for name, text in warehouse.queries("staging") if name.startswith("tws_")
        }
        warehouse._execute("create schema if not exists staging")
        for name in build_order("staging", texts):
            warehouse._execute(f"create or replace table staging.{name} as {texts[name]}")
    assert warehouse.rows(dict(warehouse.queries("audits"))["tws_conservation"]) == []


def _sessions(accounts: Iterable[str]) -> pa.Table:
    rows, session = [], WHOLE.first
    while session.start < NOW:
        rows += [
            {
                "account": account,
                "session_date": session.date,
                "start_at": session.start.replace(tzinfo=None),
                "end_at": session.end.replace(tzinfo=None),
            }
            for account in accounts
        ]
        session = DAYS.session_on_or_after(session.date + timedelta(days=1))
    return pa.Table.from_pylist(rows)


class Staged(NamedTuple):
    """The staging of one account among others."""

    warehouse: Warehouse
    account: str

    def table(self, name: str) -> list[dict[str, Any]]:
        rows = table(self.warehouse, name)
        return [row for row in rows if row["account"] == self.account]

    def reasons(self) -> str:
        return " | ".join(row["reason"] for row in self.table("quarantine"))


Among = Callable[[str, Mapping[str, Fetch]], Staged]


@pytest.fixture(scope="module")
def among(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Among]:
    """Give the staging of one of several fetches: all are staged at once, an account each."""
    with ExitStack() as stack:
        there: dict[str, Warehouse] = {}

        def together(name: str, fetches: Mapping[str, Fetch]) -> Staged:
            key = str(fetches)
            if key not in there:
                path = tmp_path_factory.mktemp("among") / "warehouse.duckdb"
                there[key] = stack.enter_context(Warehouse(path))
                staged_apart(there[key], fetches)
            return Staged(there[key], name)

        yield together


def table(warehouse: Warehouse, name: str) -> list[dict[str, Any]]:
    return warehouse.rows(f"select * from staging.tws_{name} order by all")


def reasons(warehouse: Warehouse) -> str:
    return " | ".join(row["reason"] for row in table(warehouse, "quarantine"))


def utc(*parts: int) -> datetime:
    year, month, day, hour, minute = (*parts, 0)[:5]
    return datetime(year, month, day, hour, minute, tzinfo=UTC).replace(tzinfo=None)


def test_a_fill_has_every_column_with_its_sign(warehouse: Warehouse) -> None:
    staged(warehouse, execution(side="SLD", shares="2.5", cumQty="2.5"))
    assert table(warehouse, "fills") == [
        {
            "account": "tws", "source_kind": "execution", "source_id": ONE, "fill_id": ONE,
            "at": utc(2026, 5, 14, 14, 30), "seq": 2_500_000, "session_date": date(2026, 5, 14),
            "instrument": "SPY", "instrument_kind": "stk", "position_side": "net",
            "qty": Decimal("-2.5"), "price": Decimal("500.25"), "multiplier": Decimal(1),
            "is_inverse": False, "currency": "USD", "fee": Decimal("-1.0005"),
            "fee_currency": "USD", "rate": Decimal(1), "order_id": "77", "order_tag": "bot-7",
            "trade_id": None, "broker_pnl": None, "is_system": False,
        }
    ]  # fmt: skip
    assert table(warehouse, "quarantine") == table(warehouse, "findings") == []


def test_a_rebate_is_cash_that_came_in(warehouse: Warehouse) -> None:
    staged(warehouse, execution(commission={"commission": "-0.25"}))
    assert table(warehouse, "fills")[0]["fee"] == Decimal("0.25")


def test_the_broker_s_own_pnl_is_never_taken_from_tws(warehouse: Warehouse) -> None:
    staged(warehouse, execution(commission={"realizedPNL": "123.45"}))
    assert table(warehouse, "fills")[0]["broker_pnl"] is None


INSTRUMENTS: list[tuple[dict[str, str], str, int]] = [
    ({}, "SPY", 1),
    ({"symbol": "BRK B", "localSymbol": "BRK B"}, "BRK B", 1),
    (OPTION, "SPY   260619C00500000", 100),
    ({"secType": "FUT", "symbol": "ES", "localSymbol": "ESM6", "multiplier": "50"}, "ESM6", 50),
    ({"secType": "CFD", "symbol": "IBUS500", "multiplier": ""}, "IBUS500", 1),
]


@pytest.mark.parametrize(("changes", "instrument", "multiplier"), INSTRUMENTS)
def test_instruments_are_named_as_the_statements_name_them(
    among: Among, changes: dict[str, str], instrument: str, multiplier: int
) -> None:
    fetches = {
        str(fields): Fetch([execution(ONE, None, **fields), position("100", **fields)])
        for fields, *_ in INSTRUMENTS
    }
    one = among(str(changes), fetches)
    [fill] = one.table("fills")
    assert (fill["instrument"], fill["multiplier"]) == (instrument, multiplier)
    assert one.table("positions")[0]["instrument"] == instrument


def test_of_a_family_the_highest_number_counts_whatever_came_first(warehouse: Warehouse) -> None:
    staged(
        warehouse,
        execution("0000e0d5.66a4.01.10", price="3"),
        execution(TWO, price="2"),
        execution(ONE, price="1"),
        execution(OTHER, price="9"),
    )
    fills = {row["fill_id"]: row["price"] for row in table(warehouse, "fills")}
    assert fills == {"0000e0d5.66a4.01.10": 3, OTHER: 9}


def test_the_number_after_the_last_period_is_a_number(warehouse: Warehouse) -> None:
    staged(warehouse, execution("0000e0d5.66a4.01.9"), execution("0000e0d5.66a4.01.10"))
    assert [row["fill_id"] for row in table(warehouse, "fills")] == ["0000e0d5.66a4.01.10"]


def test_a_correction_that_cannot_be_read_does_not_bring_the_old_one_back(
    warehouse: Warehouse,
) -> None:
    staged(warehouse, execution(ONE), execution(TWO, price="?"))
    assert table(warehouse, "fills") == []
    assert "the price is missing or unreadable" in reasons(warehouse)


def test_a_commission_that_was_not_reported_is_unknown_and_never_0(warehouse: Warehouse) -> None:
    [alone, _] = execution()
    staged(warehouse, [alone])
    assert table(warehouse, "fills") == []
    assert "the commission has not been reported: unknown, and never 0" in reasons(warehouse)


def test_the_commission_of_what_was_corrected_is_not_missed(warehouse: Warehouse) -> None:
    [alone, _] = execution(ONE)
    staged(warehouse, [alone], execution(TWO))
    assert [row["fill_id"] for row in table(warehouse, "fills")] == [TWO]


def test_a_commission_of_nothing_is_told_as_such(warehouse: Warehouse) -> None:
    staged(warehouse, execution()[1:])
    assert reasons(warehouse) == "a commission without its execution"


UNREADABLE: list[tuple[dict[str, str], dict[str, str], str]] = [
    ({"shares": ""}, {}, "shares are not a quantity"),
    ({"shares": "1,5"}, {}, "shares are not a quantity"),
    ({"shares": "0"}, {}, "shares are not a quantity"),
    ({"shares": "1234567890123456"}, {}, "shares are not a quantity"),
    ({"price": "1.7976931348623157E308"}, {}, "the price is missing or unreadable"),
    ({"side": "BUY"}, {}, "side is neither BOT nor SLD"),
    ({"currency": ""}, {}, "currency is missing"),
    ({"symbol": ""}, {}, "symbol and localSymbol are missing"),
    ({"secType": "BOND"}, {}, "secType BOND is not read from TWS yet"),
    ({**OPTION, "multiplier": ""}, {}, "multiplier is missing or unreadable"),
    ({}, {"commission": "1.7976931348623157E308"}, "unreadable, and never 0"),
    ({}, {"commission": ""}, "the commission is blank: unreadable, and never 0"),
    ({}, {"currency": ""}, "the commission has no currency"),
    ({"time": ""}, {}, "is not a time that can be read"),
    ({"time": "2026-05-14"}, {}, "is not a time that can be read"),
    ({"time": "20260514 10:30:00 Nowhere/Land"}, {}, "time zone Nowhere/Land is not known"),
    ({"time": "20251102 01:30:00 US/Eastern"}, {}, "exists twice in US/Eastern"),
    ({"time": "20260308 02:30:00 US/Eastern"}, {}, "does not exist in US/Eastern"),
    ({"time": "20260517 10:30:00 US/Eastern"}, {}, "the time is later than now"),
    (
        {"secType": "BAG", "permId": "78"},
        {},
        "a combination without the execut",
    ),
]


@pytest.mark.parametrize(("changes", "commission", "says"), UNREADABLE)
def test_what_cannot_be_read_is_in_quarantine_and_says_why(
    among: Among, changes: dict[str, str], commission: dict[str, str], says: str
) -> None:
    fetches = {
        f"{fields} {paid}": Fetch([execution(commission=paid, **fields), execution(OTHER)])
        for fields, paid, _ in UNREADABLE
    }
    one = among(f"{changes} {commission}", fetches)
    assert [row["fill_id"] for row in one.table("fills")] == [OTHER]
    assert says in one.reasons()


TIMES = [
    ("20260514 10:30:00 US/Eastern", "Asia/Tokyo", (2026, 5, 14, 14, 30)),
    ("20260514  10:30:00", "America/New_York", (2026, 5, 14, 14, 30)),
    ("20260514  10:30:00", "Europe/Zurich", (2026, 5, 14, 8, 30)),
    ("20260514-10:30:00", "Europe/Zurich", (2026, 5, 14, 10, 30)),
    ("20260514 16:00:00 Asia/Kolkata", "America/New_York", (2026, 5, 14, 10, 30)),
    ("20260514 10:30:00 BST", "America/New_York", (2026, 5, 14, 9, 30)),
    ("20260515 00:30:00 AEST", "America/New_York", (2026, 5, 14, 14, 30)),
    ("20260514 22:30:00 Hongkong", "America/New_York", (2026, 5, 14, 14, 30)),
]


@pytest.mark.parametrize(("text", "zone", "at"), TIMES)
def test_a_time_is_read_in_its_own_zone_or_the_configured_one(
    among: Among, text: str, zone: str, at: tuple[int, ...]
) -> None:
    fetches = {
        f"{written} {there}": Fetch([execution(time=written)], there) for written, there, _ in TIMES
    }
    [fill] = among(f"{text} {zone}", fetches).table("fills")
    assert fill["at"] == utc(*at)


SESSIONS = [
    ("20260513 20:19:59", date(2026, 5, 13)),
    ("20260513 20:20:00", date(2026, 5, 14)),
    ("20260514 20:20:00", date(2026, 5, 15)),
    ("20260511 20:19:59", date(2026, 5, 11)),  # before the window
]


@pytest.mark.parametrize(("time", "session"), SESSIONS)
def test_a_fill_is_of_the_session_that_its_instant_lies_in(
    among: Among, time: str, session: date
) -> None:
    fetches = {written: Fetch([execution(time=written)]) for written, _ in SESSIONS}
    [fill] = among(time, fetches).table("fills")
    assert fill["session_date"] == session


def test_money_changed_for_money_is_a_finding(warehouse: Warehouse) -> None:
    staged(warehouse, execution(secType="CASH", symbol="EUR", localSymbol="EUR.USD"))
    assert table(warehouse, "fills") == []
    [finding] = table(warehouse, "findings")
    assert "not valued" in finding["reason"]


def test_a_price_that_is_to_be_revised_is_a_finding(warehouse: Warehouse) -> None:
    staged(warehouse, execution(pendingPriceRevision="1"))
    [finding] = table(warehouse, "findings")
    assert f"the price of execution {ONE} is still to be revised" in finding["reason"]


def test_a_combination_is_told_by_its_legs(warehouse: Warehouse) -> None:
    leg, bag = execution(OTHER), execution(secType="BAG", localSymbol="")
    staged(warehouse, leg, bag[:1])
    assert [row["fill_id"] for row in table(warehouse, "fills")] == [OTHER]
    assert table(warehouse, "quarantine") == []


def test_a_currency_without_a_rate_is_unknown(warehouse: Warehouse) -> None:
    staged(warehouse, execution(currency="EUR", commission={"currency": "CHF"}))
    [fill] = table(warehouse, "fills")
    assert (fill["currency"], fill["fee_currency"], fill["rate"]) == ("EUR", "CHF", None)


SHARES = ["0.0001", "999999999999999", "1.0E7", "0.000000000000000001"]


@pytest.mark.parametrize("shares", SHARES)
def test_fractions_and_huge_quantities_are_exact(among: Among, shares: str) -> None:
    fetches = {
        text: Fetch([execution(shares=text, cumQty=text), position(text)]) for text in SHARES
    }
    one = among(shares, fetches)
    assert one.table("fills")[0]["qty"] == Decimal(shares)
    assert one.table("positions")[0]["qty"] == Decimal(shares)


def test_a_position_of_none_is_no_position(warehouse: Warehouse) -> None:
    staged(warehouse, position("0"))
    assert table(warehouse, "positions") == table(warehouse, "quarantine") == []


def test_a_position_that_cannot_be_read_is_in_quarantine(warehouse: Warehouse) -> None:
    staged(warehouse, position(""))
    assert reasons(warehouse) == "position is missing or unreadable"


def test_cash_is_stated_by_currency_and_their_sum_is_none(warehouse: Warehouse) -> None:
    staged(warehouse, cash("10.5"), cash("-3", "EUR"), cash("7", "BASE"))
    found = {row["currency"]: row["amount"] for row in table(warehouse, "balances")}
    assert found == {"USD": Decimal("10.5"), "EUR": Decimal(-3)}


def test_cash_that_cannot_be_read_is_in_quarantine(warehouse: Warehouse) -> None:
    staged(warehouse, cash("much"))
    assert reasons(warehouse) == "CashBalance is not an amount"
