"""Whatever the order in which Flex statements come, the tables are those of one recomputation."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.ibkr_flex.connector import records
from connectors.ibkr_flex.statement import Row, Statement
from recon.breaks.claims import keep_claims
from recon.config.settings import Bot, FlexAccount
from recon.core.calendars import calendar, window
from recon.core.records import Coverage
from recon.fetch.plan import Plan
from recon.run.pipeline import build, configure
from recon.warehouse.database import Warehouse
from tests.conftest import seeds, some_of
from tests.nights.test_increments import kept

NEW_YORK = calendar("XNYS")
FIRST = date(2026, 1, 5)
DAYS = 140
LAST = FIRST + timedelta(days=DAYS)
NOW = datetime.combine(LAST + timedelta(days=1), time(12), UTC)
ACCOUNTS = {
    name: FlexAccount.model_construct(
        id=name, venue="ibkr-flex", currency="USD", lots=lots, calendar="XNYS", since=FIRST
    )
    for name, lots in (("ib", "fifo"), ("jb", "average"))
}
BOTS = [
    Bot.model_construct(id="tagged", account="ib", order_tag="t", instruments=()),
    Bot.model_construct(id="owner", account="ib", order_tag=None, instruments=("AAA",)),
    Bot.model_construct(id="other", account="jb", order_tag=None, instruments=("BBB",)),
]
SECTION = {
    "Trade": "Trades",
    "CashTransaction": "CashTransactions",
    "TradeConfirm": "TradeConfirms",
    "OpenPosition": "OpenPositions",
    "CorporateAction": "CorporateActions",
    "StatementOfFundsLine": "StmtFunds",
    "CashReportCurrency": "CashReport",
    "ConversionRate": "ConversionRates",
}
UNREAD = {"proofs.trades"}
"""Read of accounts alone whose venue states balances."""
Period = tuple[str, date, date, frozenset[str]]
"""Account, first day, last day, and the kinds of rows that a statement has."""


@dataclass
class World:
    """What IBKR knows in the end: rows by the day they are reported on, and the statements."""

    rng: random.Random
    rows: dict[str, list[tuple[date, Row]]] = field(
        default_factory=lambda: {a: [] for a in ACCOUNTS}
    )
    periods: list[Period] = field(default_factory=list)
    number: int = 1000
    has_unvalued: bool = False

    def fill_up(self, trades: int) -> None:
        self.has_trade_date = self.rng.random() < 0.5
        for _ in range(trades):
            account = self.rng.choice(list(ACCOUNTS))
            day = FIRST + timedelta(days=self.rng.randrange(-5, DAYS - 1))
            if self.rng.random() < 0.3:
                self.cash(account, day)
            else:
                self.trade(account, day)
        for account in ACCOUNTS:
            self.publish(account)

    def new(self) -> str:
        self.number += self.rng.randint(1, 3)
        return str(self.number)

    def add(self, account: str, day: date, kind: str, row: dict[str, str]) -> None:
        row["reportDate"] = f"{day:%Y%m%d}"
        if kind in ("Trade", "TradeConfirm") and not self.has_trade_date:
            row.pop("tradeDate", None)
        self.rows[account].append((day, (kind, row)))

    def trade(self, account: str, day: date) -> None:
        rng = self.rng
        qty, price = rng.choice([-9, -3, -2, 2, 3, 7]), rng.randint(50, 150)
        commission = f"-0.{rng.randint(0, 99):02}"
        row = {
            "levelOfDetail": "EXECUTION",
            "assetCategory": rng.choices(["STK", "CASH"], [9, 1])[0],
            "symbol": rng.choice(["AAA", "BBB", "CCC"]),
            "currency": "USD",
            "fxRateToBase": "1",
            "transactionType": "ExchTrade",
            "notes": rng.choices(["", "A", "P"], [18, 1, 1])[0],
            "multiplier": "1",
            "quantity": str(qty),
            "tradePrice": f"{price}.5",
            "proceeds": f"{-qty * price - qty / 2}",
            "ibCommission": commission,
            "ibCommissionCurrency": "USD",
            "taxes": "0",
            "fifoPnlRealized": "0",
            "tradeID": rng.choices([self.new(), ""], [9, 1])[0],
            "ibOrderID": self.new(),
            "transactionID": rng.choices([self.new(), ""], [2, 1])[0],
            "orderReference": rng.choice(["", "t1", "zzz"]),
            "tradeDate": f"{day:%Y%m%d}",
            "dateTime": f"{day:%Y%m%d};{rng.choice(['100000', '195900', '200100', '235959'])}",
        }
        if rng.random() < 0.2:
            rates = ["1.1", ""] if self.has_unvalued else ["1.1"]
            row |= {"currency": "EUR", "fxRateToBase": rng.choice(rates)}
            if not self.has_unvalued or rng.random() < 0.5:
                row["ibCommissionCurrency"] = "EUR"
        self.add(account, day, "Trade", row)
        if rng.random() < 0.3:
            self.confirm(account, day, row)
        if rng.random() < 0.15:
            order = {k: v for k, v in row.items() if k not in ("transactionID", "tradeID")}
            self.add(account, day, "Trade", {**order, "levelOfDetail": "ORDER"})
        last = day
        while rng.random() < 0.35 and row["assetCategory"] == "STK":
            last = min(last + timedelta(days=rng.choice([0, 1, 30, 39, 41, 70])), LAST)
            self.take_back(account, last, row)
        if rng.random() < 0.05:
            self.add(account, last, "Trade", {**cancelled(row), "transactionID": self.new()})

    def take_back(self, account: str, day: date, row: dict[str, str]) -> None:
        """Let a trade be cancelled on a later day, and booked again."""
        again = {**row, "transactionID": self.new()}
        cancel = {**cancelled(row), "transactionID": self.new()}
        for one in (cancel, again):
            if self.rng.random() < 0.2:  # in the books of the day on which it was corrected
                one["tradeDate"] = f"{day:%Y%m%d}"
        self.add(account, day, "Trade", cancel)
        if self.rng.random() < 0.8:
            self.add(account, day, "Trade", again)

    def confirm(self, account: str, day: date, row: dict[str, str]) -> None:
        names = {
            "tradePrice": "price",
            "ibCommission": "commission",
            "taxes": "tax",
            "ibCommissionCurrency": "commissionCurrency",
            "ibOrderID": "orderID",
        }
        said = {names.get(name, name): value for name, value in row.items()}
        said |= {"execID": self.rng.choice(["0.1", "0.2", ""])}
        for name in ("transactionID", "fifoPnlRealized", "fxRateToBase"):
            said.pop(name)
        self.add(account, day, "TradeConfirm", said)
        if self.rng.random() < 0.2:
            self.add(
                account,
                day + timedelta(days=1),
                "TradeConfirm",
                {**cancelled(said), "tradeID": self.new(), "execID": "0.9"},
            )

    def cash(self, account: str, day: date) -> None:
        rng = self.rng
        row = {
            "type": rng.choice(["Other Fees", "Dividends", "Broker Interest Paid"]),
            "dateTime": f"{day:%Y%m%d};202000",
            "amount": f"{rng.randint(-90, 90)}.25",
            "currency": rng.choice(["USD", "EUR"]),
            "fxRateToBase": "1",
            "levelOfDetail": "DETAIL",
            "symbol": rng.choice(["", "AAA"]),
            "transactionID": rng.choice([self.new(), ""]),
        }
        self.add(account, day, "CashTransaction", row)
        if rng.random() < 0.2:
            whole = {**row, "levelOfDetail": "SUMMARY", "transactionID": ""}
            if rng.random() < 0.3:
                whole["type"] = "Broker Fees"
            self.add(account, day, "CashTransaction", whole)
        if rng.random() < 0.1:
            self.add(account, day, "CashTransaction", {**row, "levelOfDetail": ""})
        if rng.random() < 0.3:
            self.action(account, day)
        if rng.random() < 0.5:
            self.told(account, day)

    def action(self, account: str, day: date) -> None:
        """Add a split, another name, a merger for cash, or what nobody understands."""
        rng = self.rng
        row = {
            "assetCategory": "STK",
            "currency": "USD",
            "multiplier": "1",
            "proceeds": "0",
            "fxRateToBase": "1",
            "fifoPnlRealized": "0",
            "dateTime": f"{day:%Y%m%d};093000",
        }
        kind, qty = rng.choice(["FS", "IC", "TC", "SO"]), rng.choice(["2", "5", "9"])
        said = f"AAA(US{self.new()}) {kind}"
        old = row | {"symbol": "AAA", "type": kind, "description": f"{said} (AAA, A, US1)"}
        if kind == "IC":
            self.add(account, day, "CorporateAction", old | {"quantity": f"-{qty}"})
            new = {"symbol": "BBB", "quantity": qty, "description": f"{said} (BBB, B, US2)"}
            self.add(account, day, "CorporateAction", old | new)
        elif kind == "TC":
            merged = {"quantity": f"-{qty}", "proceeds": "70", "fifoPnlRealized": "7"}
            self.add(account, day, "CorporateAction", old | merged)
        else:
            self.add(account, day, "CorporateAction", old | {"quantity": qty})

    def told(self, account: str, day: date) -> None:
        """Add what IBKR says of cash and of rates, right or wrong."""
        rng = self.rng
        for _ in range(rng.randint(1, 3)):
            self.add(
                account,
                day,
                "StatementOfFundsLine",
                {
                    "currency": rng.choice(["USD", "EUR"]),
                    "levelOfDetail": "Currency",
                    "activityCode": rng.choice(["BUY", "DIV", "WITH", "ODD"]),
                    "amount": str(rng.randint(-9, 9)),
                    "balance": str(rng.randint(-9, 9)),
                    "date": f"{day:%Y%m%d}",
                    "transactionID": self.new(),
                },
            )
        self.add(
            account,
            day,
            "CashReportCurrency",
            {
                "currency": "USD",
                "levelOfDetail": "Currency",
                "startingCash": "0",
                "endingCash": str(rng.randint(1, 9)),
                "commissions": "-1",
                "fromDate": f"{day - timedelta(3):%Y%m%d}",
                "toDate": f"{day:%Y%m%d}",
            },
        )
        self.add(
            account,
            day,
            "ConversionRate",
            {
                "fromCurrency": "EUR",
                "toCurrency": "USD",
                "rate": f"1.{day:%m%d}",
            },
        )

    def publish(self, account: str) -> None:
        """Cut the days into statements; some days lie in two, and some confirmations in none."""
        evident = frozenset(
            {
                "Trade",
                "CashTransaction",
                "CorporateAction",
                "StatementOfFundsLine",
                "CashReportCurrency",
                "ConversionRate",
            }
        )
        day = FIRST - timedelta(days=7)
        while day <= LAST:
            length = self.rng.choice([1, 1, 5, 20])
            end = min(day + timedelta(days=length - 1), LAST)
            kinds = evident | {"OpenPosition"} if self.rng.random() < 0.3 else evident
            if self.rng.random() < 0.8:
                self.periods.append((account, day, end, kinds))
            if self.rng.random() < 0.5:
                self.periods.append((account, day, end, frozenset({"TradeConfirm"})))
            day = end + timedelta(days=self.rng.choice([1, 1, 1, -length + 1 if length > 1 else 1]))
        if self.rng.random() < 0.2:
            self.periods.append((account, FIRST, LAST, evident | {"OpenPosition"}))

    def statement(self, period: Period, *, is_final: bool) -> Statement:
        account, first, last, kinds = period
        sections: dict[str, list[Row]] = {SECTION[kind]: [] for kind in sorted(kinds)}
        for day, (kind, row) in self.rows[account]:
            if kind in kinds and first <= day <= last:
                said = row if is_final or self.rng.random() < 0.6 else self.earlier(row)
                if said is not None:
                    sections[SECTION[kind]].append((kind, said))
        if "OpenPosition" in kinds:
            for name in ("AAA", "BBB"):
                stated = str(self.rng.randint(1, 9)) if not is_final else str(last.day)
                position = {
                    "levelOfDetail": "SUMMARY",
                    "symbol": name,
                    "conid": name,
                    "currency": "USD",
                    "assetCategory": "STK",
                    "position": stated,
                    "markPrice": "3",
                    "multiplier": "1",
                    "costBasisPrice": "2.5",
                }
                sections["OpenPositions"].append(("OpenPosition", position))
        generated = datetime.combine(last + timedelta(days=1), time(5), UTC)
        attributes = {
            "accountId": f"U{account}",
            "fromDate": f"{first:%Y%m%d}",
            "toDate": f"{last:%Y%m%d}",
            "whenGenerated": f"{generated:%Y%m%d};050000" if is_final else "",
        }
        return Statement(f"U{account}", first, last, generated, sections, attributes)

    def earlier(self, row: dict[str, str]) -> dict[str, str] | None:
        """Return what IBKR said of a row before it put it right: perhaps nothing at all."""
        wrong: list[dict[str, str] | None] = [
            None,
            {"ibCommission": "-7", "commission": "-7"},
            {"fxRateToBase": "2"},
            {"multiplier": ""},
            {"notes": "A"},
            {"netCash": "99"},
        ]
        if row.get("transactionID"):
            wrong += [
                {"symbol": "CCC"},
                {"amount": "7"},
                {"quantity": "4", "proceeds": ""},
                {"ibCommissionCurrency": "EUR", "currency": "EUR"},
                {"tradeID": "7"},
                {"origTradeID": "7"},
            ]
        change = self.rng.choice(wrong)
        return None if change is None else row | {k: v for k, v in change.items() if k in row}


def cancelled(row: dict[str, str]) -> dict[str, str]:
    """Return what takes a trade back."""
    qty, proceeds = -int(row["quantity"]), -float(row["proceeds"])
    return row | {
        "quantity": str(qty),
        "proceeds": str(proceeds),
        "notes": "Ca",
        "tradeID": "",
        "origTradeID": row["tradeID"],
        "transactionType": "TradeCancel",
    }


def night(
    warehouse: Warehouse,
    run: str,
    as_of: date,
    statements: Iterable[tuple[str, Statement]],
    accounts: Sequence[str] = tuple(ACCOUNTS),
) -> None:
    """Land and build one night, as `recon.run.nightly` does, in one transaction."""
    came = list(statements)
    plans = [(ACCOUNTS[name], window(NEW_YORK, FIRST, as_of), NEW_YORK) for name in accounts]
    with warehouse.transaction():
        for name in accounts:
            mine = [statement for account, statement in came if account == name]
            warehouse.land(run, "ibkr-flex", name, [*records(mine), *stated(mine)], NOW)
        configure(warehouse, plans, [bot for bot in BOTS if bot.account in accounts], NOW)
        keep_claims(warehouse, Plan(NOW.date(), (), ()), {}, {})
        build(warehouse, run, {name: ACCOUNTS[name].lots for name in accounts})


def stated(statements: Iterable[Statement]) -> Iterator[Coverage]:
    """Yield until when statements state positions."""
    for statement in statements:
        if "OpenPositions" in statement.sections:
            last = NEW_YORK.session(statement.to_date)
            bounds: Any = (last.start, last.end) * 2
            yield Coverage("positions", ("OpenPosition",), "complete", *bounds)


def arrive(world: World, path: Path, nights: int) -> None:
    """Let the statements come over some nights, in any order, wrong first at times."""
    rng = world.rng
    # The last ones come one by one, on ordinary nights.
    waiting, ordinary = list(world.periods), sorted(world.periods, key=lambda p: p[1])[-3:]
    waiting = [period for period in waiting if period not in ordinary]
    if rng.random() < 0.3:
        rng.shuffle(waiting)
    with Warehouse(path) as warehouse:
        for number in range(nights):
            as_of = FIRST + timedelta(days=rng.randrange(DAYS))
            some = tuple(ACCOUNTS) if rng.random() < 0.7 else (rng.choice(list(ACCOUNTS)),)
            coming = [p for p in waiting if p[0] in some][: rng.randint(1, len(world.periods) // 3)]
            is_final = {period: rng.random() < 0.6 for period in coming}
            waiting = [p for p in waiting if not is_final.get(p)]
            came = [(p[0], world.statement(p, is_final=final)) for p, final in is_final.items()]
            night(warehouse, f"run{number}", as_of, came, some)
        # What an earlier statement has said wrongly, the last ones put right.
        came = [(p[0], world.statement(p, is_final=True)) for p in world.periods]
        night(warehouse, "late", LAST, [(p[0], world.statement(p, is_final=True)) for p in waiting])
        night(warehouse, "right", LAST, [one for one in came if one[1].to_date < ordinary[0][1]])
        for number, period in enumerate(ordinary):
            one = (period[0], world.statement(period, is_final=True))
            night(warehouse, f"ordinary{number}", LAST, [one])
        night(warehouse, "last", LAST, came)


@pytest.mark.parametrize("has_unvalued", some_of(1, [False, True]))
@pytest.mark.parametrize("seed", seeds(1, 2))
def test_any_order_of_statements_is_one_full_recomputation(
    seed: int, tmp_path: Path, *, has_unvalued: bool
) -> None:
    world = World(random.Random(seed), has_unvalued=has_unvalued)
    world.fill_up(world.rng.choice([8, 30, 60]))
    arrive(world, tmp_path / "nights.duckdb", nights=world.rng.randint(2, 4))
    with Warehouse(tmp_path / "whole.duckdb") as warehouse:
        came = [(p[0], world.statement(p, is_final=True)) for p in world.periods]
        night(warehouse, "whole", LAST, came)
    expected = kept(tmp_path / "whole.duckdb")
    assert any(expected["lots.realised"]), "nothing was traded"
    found = kept(tmp_path / "nights.duckdb")
    for name in sorted(expected.keys() - UNREAD):
        assert found[name] == expected[name], name
    assert found.keys() == expected.keys()
