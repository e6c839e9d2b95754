"""What staging makes of an exchange's rows: signs, units, currencies; and what it refuses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from recon.breaks.claims import keep_claims
from recon.breaks.instrument_names import keep_names
from recon.config.settings import CcxtAccount
from recon.core.calendars import UtcDays, window
from recon.core.records import Coverage, Record
from recon.fetch.plan import Plan
from recon.run.pipeline import build, configure
from recon.warehouse.database import Warehouse

AT = datetime(2026, 5, 1, 1, 0, 0, 123000, tzinfo=UTC)
NOW = datetime(2026, 5, 15, 2, tzinfo=UTC)
STAMP = str(int(AT.timestamp() * 1000))
LINEAR, INVERSE, COIN = "BTC/USDT:USDT", "BTC/USD:BTC", "BTC/USDT"
MARKETS: Mapping[str, Mapping[str, Any]] = {
    LINEAR: {"type": "swap", "contract": True, "contractSize": "0.01", "linear": True,
             "inverse": False, "base": "BTC", "quote": "USDT", "settle": "USDT"},
    INVERSE: {"type": "swap", "contract": True, "contractSize": "100", "linear": False,
              "inverse": True, "base": "BTC", "quote": "USD", "settle": "BTC"},
    COIN: {"type": "spot", "contract": False, "contractSize": None, "linear": None,
           "inverse": None, "base": "BTC", "quote": "USDT", "settle": None},
    "odd": {"type": "swap", "contract": True, "contractSize": "1", "linear": False,
            "inverse": False, "base": "BTC", "quote": "USD", "settle": "ETH"},
    "sizeless": {"type": "swap", "contract": True, "contractSize": None, "linear": True,
                 "inverse": False, "base": "BTC", "quote": "USDT", "settle": "USDT"},
    "option": {"type": "option", "contract": True, "contractSize": "1", "linear": True,
               "inverse": False, "base": "BTC", "quote": "USDT", "settle": "USDT"},
}  # fmt: skip
TRADE: Mapping[str, Any] = {
    "id": "77",
    "order": "o1",
    "symbol": LINEAR,
    "side": "buy",
    "amount": "3",
    "price": "100.5",
    "timestamp": STAMP,
    "fees": [{"cost": "0.25", "currency": "USDT"}],
    "info": {},
}
PAYMENT: Mapping[str, Any] = {
    "id": "9",
    "symbol": LINEAR,
    "code": "USDT",
    "amount": "-0.5",
    "timestamp": STAMP,
    "info": {},
}
POSITION: Mapping[str, Any] = {
    "symbol": LINEAR,
    "side": "long",
    "contracts": "3",
    "entryPrice": "100.5",
    "markPrice": "101",
    "hedged": False,
    "marginMode": "cross",
    "info": {},
}


@pytest.fixture
def warehouse(tmp_path: Path) -> Iterator[Warehouse]:
    with Warehouse(tmp_path / "warehouse.duckdb") as opened:
        yield opened


def instruments() -> list[Record]:
    return [
        Record("instrument", name, json.dumps({"symbol": name, **market}))
        for name, market in MARKETS.items()
    ]


def a(kind: str, base: Mapping[str, Any], **changes: Any) -> Record:
    row = {**base, **changes}
    at = AT.replace(microsecond=0) if kind in {"trade", "funding"} else None
    return Record(kind, str(row.get("id") or row.get("symbol")), json.dumps(row), at)


def staged(
    warehouse: Warehouse, *records: Record, exchange: str = "gate", currency: str = "USDT"
) -> None:
    """Land and build all; a positions snapshot comes with it."""
    land(warehouse, *records, exchange=exchange, currency=currency)
    with warehouse.transaction():
        build(warehouse, "r", {"desk": "average"})


def land(
    warehouse: Warehouse, *records: Record, exchange: str = "gate", currency: str = "USDT"
) -> None:
    land_apart(warehouse, [records], exchange=exchange, currency=currency)


def land_apart(
    warehouse: Warehouse,
    accounts: Sequence[Sequence[Record]],
    exchange: str = "gate",
    currency: str = "USDT",
) -> None:
    """Land records as those of an account each, `desk` and `desk1` and so on, and stage them."""
    span = window(UtcDays(), date(2026, 5, 1), date(2026, 5, 14))
    statements = [
        Coverage(
            evidence,  # type: ignore[arg-type]
            (kind,),
            "complete",
            span.start,
            NOW,
            span.start,
            NOW,
            is_snapshot=kind in {"position", "coin"},
        )
        for evidence, kind in (
            ("fills", "trade"),
            ("ledger", "funding"),
            ("positions", "position"),
            ("positions", "coin"),
        )
    ]
    desks = [
        CcxtAccount(id=name_of(number), venue=exchange, currency=currency, since=date(2026, 5, 1))
        for number, _ in enumerate(accounts)
    ]
    with warehouse.transaction():
        for desk, records in zip(desks, accounts, strict=True):
            warehouse.land("r", exchange, desk.id, [*instruments(), *records, *statements], NOW)
        configure(warehouse, [(desk, span, UtcDays()) for desk in desks], [], NOW)
        keep_claims(warehouse, Plan(date(2026, 5, 14), (), ()), {}, {})
        keep_names(warehouse, "r")
        warehouse.select("r", [])
        warehouse.build("staging", empty=("okx_", "flex_", "tws_"))


def name_of(number: int) -> str:
    return f"desk{number or ''}"


class Staged(NamedTuple):
    """The staging of one account among others."""

    warehouse: Warehouse
    account: str

    def rows(self, table: str) -> list[dict[str, Any]]:
        query = f"from {table} where account = $account"
        return self.warehouse.rows(query, {"account": self.account})

    def one(self, table: str) -> dict[str, Any]:
        [row] = self.rows(table)
        return row


Changes = dict[str, Any]
Among = Callable[[str, Mapping[str, Any], Changes, Sequence[Changes]], Staged]


@pytest.fixture(scope="module")
def among(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Among]:
    """Give the staging of a record with one of several changes: an account for each of them."""
    with ExitStack() as stack:
        there: dict[str, Warehouse] = {}

        def staged_with(
            kind: str, base: Mapping[str, Any], changes: Changes, every: Sequence[Changes]
        ) -> Staged:
            key = f"{kind} {every}"
            if key not in there:
                path = tmp_path_factory.mktemp("among") / "warehouse.duckdb"
                there[key] = stack.enter_context(Warehouse(path))
                land_apart(there[key], [[a(kind, base, **each)] for each in every])
            return Staged(there[key], name_of(every.index(changes)))

        yield staged_with


def one(warehouse: Warehouse, table: str) -> dict[str, Any]:
    [row] = warehouse.rows(f"from {table}")
    return row


FILLS: list[tuple[Changes, Mapping[str, object]]] = [
    ({}, {"qty": "3", "multiplier": "0.01", "fee": "-0.25", "currency": "USDT", "rate": "1"}),
    ({"side": "sell"}, {"qty": "-3", "fee": "-0.25"}),
    ({"fees": [{"cost": "-0.1", "currency": "USDT"}]}, {"fee": "0.1"}),
    ({"fees": [{"cost": "0", "currency": None}]}, {"fee": "0", "fee_currency": "USDT"}),
    ({"fees": [{"cost": "0.1", "currency": "BNB"}]}, {"fee": "-0.1", "fee_currency": "BNB"}),
    (
        {"symbol": INVERSE},
        {"multiplier": "100", "is_inverse": True, "currency": "BTC", "rate": None},
    ),
    (
        {"symbol": COIN, "fees": [{"cost": "0.003", "currency": "BTC"}]},
        {
            "multiplier": "1",
            "currency": "USDT",
            "base_currency": "BTC",
            "fee": "-0.003",
            "fee_currency": "BTC",
            "instrument_kind": "spot",
        },
    ),
    ({"info": {"positionSide": "SHORT"}}, {"position_side": "short"}),
    ({"info": {"positionSide": "BOTH"}}, {"position_side": "net"}),
    ({"info": {"seq": "5", "orderLinkId": "btcq-1"}}, {"seq": 5, "order_tag": "btcq-1"}),
    ({"info": {"liquidation": {"method": "market"}}}, {"is_system": True}),
    ({"info": {"ordertype": "liquidation market"}}, {"is_system": True}),
    ({"amount": "1e-8", "price": "1E+2"}, {"qty": "0.00000001", "price": "100"}),
]


@pytest.mark.parametrize(("changes", "expected"), FILLS)
def test_a_fill(among: Among, changes: dict[str, Any], expected: Mapping[str, object]) -> None:
    staged = among("trade", TRADE, changes, [each for each, _ in FILLS])
    row = staged.one("staging.fills")
    assert staged.rows("staging.quarantine") == []
    assert row["at"] == AT.replace(tzinfo=None)
    for name, value in expected.items():
        wanted = Decimal(value) if isinstance(value, str) and name not in TEXTS else value
        assert row[name] == wanted, name


TEXTS = frozenset(
    {"currency", "fee_currency", "base_currency", "instrument_kind", "position_side", "order_tag"}
)


UNREADABLE: list[tuple[Changes, str]] = [
    ({"fees": []}, "fee is missing or unreadable: unknown, and never 0"),
    ({"fees": [{"cost": None, "currency": "USDT"}]}, "fee is missing"),
    ({"fees": [{"cost": "0.1", "currency": None}]}, "currency of the fee is missing"),
    ({"fees": [{"cost": "1", "currency": "A"}, {"cost": "1", "currency": "B"}]}, "several"),
    ({"side": None}, "side is neither"),
    ({"amount": "0"}, "amount is not a quantity"),
    ({"amount": "0.1234567890123456789"}, "amount is not a quantity"),
    ({"price": None}, "price is not a price"),
    ({"symbol": INVERSE, "price": "0"}, "an inverse contract at no price"),
    ({"symbol": None}, "no symbol"),
    ({"symbol": "GONE/USDT:USDT"}, "does not list GONE/USDT:USDT any more"),
    ({"symbol": "odd"}, "neither linear nor inverse"),
    ({"symbol": "sizeless"}, "contractSize is missing"),
    ({"id": None}, "no id"),
    ({"timestamp": None}, "timestamp is not a time"),
    ({"timestamp": "99999999999999"}, "timestamp is not a time"),
    ({"symbol": COIN, "fees": [{"cost": "3", "currency": "BTC"}]}, "all that was bought"),
]


@pytest.mark.parametrize(("changes", "reason"), UNREADABLE)
def test_a_trade_that_cannot_be_read_is_named(
    among: Among, changes: dict[str, Any], reason: str
) -> None:
    staged = among("trade", TRADE, changes, [each for each, _ in UNREADABLE])
    assert reason in staged.one("staging.quarantine")["reason"]
    assert staged.rows("staging.fills") == []


@pytest.mark.parametrize(
    ("exchange", "kind", "changes", "amount", "currency"),
    [
        ("gate", "funding", {}, "-0.5", "USDT"),
        # bybit's is what was paid, and ccxt knows no other currency than USDT or the quote there
        ("bybit", "funding", {"amount": "0.5"}, "-0.5", "USDT"),
        ("bybit", "funding", {"symbol": INVERSE, "code": "USD", "amount": "-0.01"}, "0.01", "BTC"),
    ],
)
def test_a_payment(
    warehouse: Warehouse,
    exchange: str,
    kind: str,
    changes: dict[str, Any],
    amount: str,
    currency: str,
) -> None:
    land(warehouse, a(kind, PAYMENT, **changes), exchange=exchange)
    row = one(warehouse, "staging.ledger")
    assert (row["amount"], row["currency"], row["kind"]) == (Decimal(amount), currency, "funding")
    assert row["balance_after"] is None


UNREADABLE_PAYMENTS: list[tuple[Changes, str]] = [
    ({"amount": None}, "amount is not an amount"),
    ({"symbol": None}, "funding without an instrument"),
    ({"timestamp": "soon"}, "timestamp is not a time"),
    ({"symbol": "GONE", "code": None}, "the currency is not known"),
]


@pytest.mark.parametrize(("changes", "reason"), UNREADABLE_PAYMENTS)
def test_a_payment_that_cannot_be_read_is_named(
    among: Among, changes: dict[str, Any], reason: str
) -> None:
    staged = among("funding", PAYMENT, changes, [each for each, _ in UNREADABLE_PAYMENTS])
    assert reason in staged.one("staging.quarantine")["reason"]
    assert staged.rows("staging.ledger") == []


def test_hyperliquid_s_fee_has_the_builder_s_in_it(warehouse: Warehouse) -> None:
    info = {"fee": "0.25", "builderFee": "0.1"}
    fees = [{"cost": "0.35", "currency": "USDC"}]
    land(warehouse, a("trade", TRADE, fees=fees, info=info), exchange="hyperliquid")
    assert one(warehouse, "staging.fills")["fee"] == Decimal("-0.25")


def test_bybit_s_inverse_contracts_are_dollars(warehouse: Warehouse) -> None:
    land(warehouse, a("trade", TRADE, symbol=INVERSE), exchange="bybit", currency="BTC")
    assert one(warehouse, "staging.fills")["multiplier"] == 1


def test_positions(warehouse: Warehouse) -> None:
    land(
        warehouse,
        a("position", POSITION, symbol=LINEAR),
        a("position", POSITION, symbol=INVERSE, side="short"),
        a("position", POSITION, symbol="sizeless", side=None, contracts="0"),
        a("position", POSITION, symbol="odd", side="long", hedged=True),
        a("position", POSITION, symbol="option", contracts=None),
    )
    rows = warehouse.rows(
        "select instrument, position_side, qty from staging.positions order by instrument"
    )
    assert [tuple(row.values()) for row in rows] == [
        (INVERSE, "net", Decimal(-3)),
        (LINEAR, "net", Decimal(3)),
        ("odd", "long", Decimal(3)),
    ]
    assert "contracts is not a quantity" in one(warehouse, "staging.quarantine")["reason"]


def test_coins(warehouse: Warehouse) -> None:
    staged(
        warehouse,
        Record("coin", "BTC", '{"currency":"BTC","total":"2.5"}'),
        Record("coin", "ETH", '{"currency":"ETH","total":null}'),
        a("trade", TRADE, symbol=COIN, fees=[{"cost": "0.5", "currency": "BTC"}]),
    )
    assert warehouse.rows("from proofs.positions") == []
    assert "what is held of ETH" in one(warehouse, "staging.quarantine")["reason"]


@pytest.mark.parametrize("held", ["2.4", None])
def test_coins_that_do_not_add_up(warehouse: Warehouse, held: str | None) -> None:
    coins = [Record("coin", "BTC", json.dumps({"total": held}))] if held else []
    fees = [{"cost": "0.5", "currency": "BTC"}]
    staged(warehouse, *coins, a("trade", TRADE, symbol=COIN, fees=fees))
    row = one(warehouse, "proofs.positions")
    assert (row["instrument"], row["difference"]) == ("BTC", Decimal("2.5") - Decimal(held or 0))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"symbol": COIN, "info": {"margin": "1.5"}}, "MARGIN trades are not valued yet"),
        ({"symbol": "option"}, "options are not valued yet"),
        ({"symbol": INVERSE}, "settles in BTC, and no rate to USDT is known"),
        ({"fees": [{"cost": "1", "currency": "BNB"}]}, "a fee in BNB has no known value in USDT"),
    ],
)
def test_what_is_not_valued_is_said(
    warehouse: Warehouse, changes: dict[str, Any], reason: str
) -> None:
    staged(warehouse, a("trade", TRADE, **changes))
    assert reason in {row["reason"] for row in warehouse.rows("from proofs.findings")}


def test_every_record_is_somewhere_once(warehouse: Warehouse) -> None:
    chance = random.Random(20260514)
    words = (None, "", "0", "-1", "1.5", "x", "1e400", "buy", "sell", LINEAR, COIN, STAMP)
    names = [name for name in TRADE if name not in {"fees", "info"}]
    rows = [
        {**TRADE, **{name: chance.choice(words) for name in chance.sample(names, 1 + turn % 3)}}
        for turn in range(300)
    ]
    land(
        warehouse,
        *(
            Record(kind, f"{kind} {turn}", json.dumps({**base, **row, "fees": TRADE["fees"]}))
            for turn, row in enumerate(rows)
            for kind, base in (("trade", TRADE), ("funding", PAYMENT), ("position", POSITION))
        ),
        *(
            Record("coin", str(turn), json.dumps({"total": chance.choice(words)}))
            for turn in range(9)
        ),
    )
    query = dict(warehouse.queries("audits"))["ccxt_conservation"]
    assert warehouse.rows(query) == []
    for table in ("staging.ccxt_fills", "staging.ccxt_ledger", "staging.ccxt_quarantine"):
        assert len(warehouse.rows(f"from {table}")) > 20


def test_a_record_that_is_staged_nowhere_is_found(warehouse: Warehouse) -> None:
    land(warehouse, a("trade", TRADE))
    query = dict(warehouse.queries("audits"))["ccxt_conservation"]
    assert warehouse.rows(query) == []
    warehouse.run(
        "insert into raw.latest_state select 'gate', 'desk', 'coin', 'X', 1, '{}', '', now()"
    )
    [row] = warehouse.rows(query)
    assert (row["kind"], row["id"], row["places"]) == ("coin", "X", 0)
