"""A random IBKR account: what happens in it, in fractions, and what IBKR would write of it.

The desk plays both sides. What it is due is reckoned in USD, the account's currency, a day and an
instrument at a time; `tests/support/desk_statement.py` makes a statement of the rows.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from connectors.ibkr_flex.statement import Row
from tests.support.reckoner import Fill, Outcome, Pile, Reckoner

FIRST = date(2026, 1, 5)
DAYS = [
    day for day in (FIRST + timedelta(n) for n in range(40)) if day.weekday() < 5 and day.day != 19
]
LAST = DAYS[-1]
START_CASH = Fraction(100_000)
RATES = {"USD": Fraction(1), "EUR": Fraction(11, 10)}
EVENTS = (
    "trade",
    "trade",
    "trade",
    "trade",
    "flow",
    "assign",
    "split",
    "rename",
    "merge",
    "convert",
)
SETTLED_DAILY = ("FUT", "CFD")
CODES = {
    "Dividends": "DIV",
    "Payment In Lieu Of Dividends": "PIL",
    "Withholding Tax": "FRTAX",
    "Broker Interest Paid": "DINT",
    "Broker Interest Received": "CINT",
    "Other Fees": "OFEE",
    "Deposits/Withdrawals": "DEP",
}
OF = {
    "Dividends": "dividends",
    "Payment In Lieu Of Dividends": "paymentInLieu",
    "Withholding Tax": "withholdingTax",
    "Broker Interest Paid": "brokerInterest",
    "Broker Interest Received": "brokerInterest",
    "Other Fees": "otherFees",
    "Deposits/Withdrawals": "depositWithdrawals",
}


def written(amount: Fraction) -> str:
    """Return an amount as IBKR writes it: nine decimals at most."""
    return f"{Decimal(round(amount * 10**9)).scaleb(-9).normalize():f}"


class Earned(NamedTuple):
    """What was realised in USD on a day; of no instrument where it is the account's own."""

    day: date
    name: str
    gross: Fraction = Fraction(0)
    fees: Fraction = Fraction(0)
    other: Fraction = Fraction(0)


@dataclass
class Desk:
    """One account: its books in fractions, and the rows that IBKR writes."""

    rng: random.Random
    has_euros: bool
    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    books: dict[str, Reckoner] = field(default_factory=dict)
    terms: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    marks: dict[str, Fraction] = field(default_factory=dict)
    cash: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    report: dict[tuple[str, str], Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    pnl: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    earned: list[Earned] = field(default_factory=list)
    day: date = FIRST
    second: int = 0
    assigned_at: str = ""
    number: int = 1000
    acted: set[tuple[date, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.cash["USD"] = START_CASH
        names = {
            "AAA": ("STK", 1),
            "BBB": ("STK", 1),
            "FND": ("FUND", 1),
            "FUT": ("FUT", 50),
            "CFD": ("CFD", 1),
            "BBB C": ("OPT", 100),
        }
        for name, (category, multiplier) in names.items():
            self.list(name, category, "USD", multiplier)
        if self.has_euros:
            self.list("EEE", "STK", "EUR", 1)

    def list(self, name: str, category: str, currency: str, multiplier: int) -> None:
        self.terms[name] = category, currency, multiplier
        self.books[name] = Reckoner("fifo", multiplier=Fraction(multiplier), is_rounding=False)

    def play(self, turns: int) -> None:
        for turn in range(turns):
            self.day = DAYS[(turn + 1) * (len(DAYS) - 1) // turns]
            self.second += 60
            getattr(self, self.rng.choice(EVENTS))()
        self.day = LAST
        self.settle()

    def new(self) -> str:
        self.number += 1
        return str(self.number)

    def stamp(self) -> str:
        """Return the next instant of the day, as IBKR writes it."""
        self.second += 1
        at = datetime.combine(self.day, time(10)) + timedelta(seconds=self.second)
        return f"{at:%Y%m%d;%H%M%S}"

    # What happens.

    def trade(self) -> None:
        name = self.rng.choice([n for n in self.terms if "C" not in n or n == "CFD"])
        qty = Fraction(self.rng.choice([-9, -4, -2, 1, 3, 5, 8]))
        if self.terms[name][0] == "FUND":
            qty = Fraction(abs(qty)) + Fraction(1, 8)
            if self.books[name].position > qty and self.rng.random() < 0.5:
                qty = -qty
        self.execute(name, qty, Fraction(self.rng.randint(4000, 6000), 100))

    def execute(
        self,
        name: str,
        qty: Fraction,
        price: Fraction,
        *,
        notes: str = "",
        strike: str = "50",
        premium: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0)),
    ) -> None:
        category, currency, multiplier = self.terms[name]
        fee = (
            Fraction(-self.rng.randint(10, 400), 100) if "A" not in notes or price else Fraction(0)
        )
        proceeds = -qty * price * multiplier
        if category == "FUND":  # ordered by amount
            proceeds = Fraction(round(proceeds)) or Fraction(-1)
        worth = (proceeds + premium[0]) / -qty / multiplier
        outcome = self.books[name].fill(Fill(qty, worth, fee + premium[1]))
        self.realise(name, outcome)
        if price:
            self.marks[name] = price
        self.pay(currency, "commissions", fee)
        if category not in SETTLED_DAILY:
            self.pay(currency, "netTradesSales" if qty < 0 else "netTradesPurchases", proceeds)
        self.book_row(name, qty, price, proceeds, fee, outcome.gross + outcome.fees, notes, strike)
        code = "BUY" if qty > 0 else "SELL"
        moved = fee if category in SETTLED_DAILY else proceeds + fee
        self.line(
            currency,
            code,
            moved,
            assetCategory=category,
            tradeCommission=written(fee),
            tradeTax="0",
        )

    def book_row(
        self,
        name: str,
        qty: Fraction,
        price: Fraction,
        proceeds: Fraction,
        fee: Fraction,
        pnl: Fraction,
        notes: str,
        strike: str,
    ) -> None:
        category, currency, multiplier = self.terms[name]
        net = proceeds + fee if category not in SETTLED_DAILY else fee
        self.rows["Trades"].append(("Trade", {
            "levelOfDetail": "EXECUTION", "assetCategory": category, "symbol": name,
            "conid": name, "currency": currency, "fxRateToBase": written(RATES[currency]),
            "multiplier": str(multiplier), "quantity": written(qty), "tradePrice": written(price),
            "proceeds": written(proceeds), "taxes": "0", "ibCommission": written(fee),
            "ibCommissionCurrency": currency, "netCash": written(net), "notes": notes,
            "fifoPnlRealized": written(round(pnl * 10**6) / Fraction(10**6)),
            "transactionType": "BookTrade" if notes else "ExchTrade", "transactionID": self.new(),
            "tradeID": self.new(), "ibOrderID": self.new(), "underlyingSymbol": name[:3],
            "putCall": "C", "strike": strike, "tradeDate": f"{self.day:%Y%m%d}",
            "reportDate": f"{self.day:%Y%m%d}",
            "dateTime": self.assigned_at if notes else self.stamp(),
        }))  # fmt: skip

    def assign(self) -> None:
        """Sell a call, and have it assigned at 50: the premium goes into what the stock brought."""
        if self.books["BBB C"].position:
            return
        self.execute("BBB C", Fraction(-2), Fraction(self.rng.randint(100, 300), 100))
        book = self.books["BBB C"]
        [pile] = book.piles
        premium, book.piles, book.position = (pile.value, pile.fee), [], Fraction(0)
        self.assigned_at = self.stamp()
        self.book_row(
            "BBB C", Fraction(2), Fraction(0), Fraction(0), Fraction(0), Fraction(0), "A", "50"
        )
        self.line("USD", "ASSIGN", Fraction(0), assetCategory="OPT")
        self.execute("BBB", Fraction(-200), Fraction(50), notes="A", premium=premium)

    def flow(self) -> None:
        kind = self.rng.choice(list(CODES))
        amount = Fraction(self.rng.randint(100, 90_000), 100)
        if kind in {"Withholding Tax", "Other Fees", "Broker Interest Paid"}:
            amount = -amount / 10
        amount = Fraction(round(amount * 100), 100)
        currency = self.rng.choice(["USD", "EUR"]) if self.has_euros else "USD"
        self.move(kind, amount, currency)

    def move(self, kind: str, amount: Fraction, currency: str) -> None:
        """Book a movement of cash of this type."""
        self.rows["CashTransactions"].append(
            (
                "CashTransaction",
                {
                    "levelOfDetail": "DETAIL",
                    "type": kind,
                    "amount": written(amount),
                    "currency": currency,
                    "fxRateToBase": written(RATES[currency]),
                    "symbol": "AAA" if kind in {"Dividends", "Withholding Tax"} else "",
                    "dateTime": f"{self.day:%Y%m%d}",
                    "reportDate": f"{self.day:%Y%m%d}",
                    "transactionID": self.new(),
                },
            )
        )
        self.pay(currency, OF[kind], amount)
        self.line(currency, CODES[kind], amount)
        if kind != "Deposits/Withdrawals":
            part = "fees" if kind == "Other Fees" else "other"
            self.earned.append(Earned(self.day, "", **{part: amount * RATES[currency]}))

    def split(self) -> None:
        book = self.books["AAA"]
        if not book.position or (self.day, "split") in self.acted:
            return
        self.acted.add((self.day, "split"))
        ratio = self.rng.choice([Fraction(2), Fraction(3), Fraction(1, 2)])
        old, new = book.position, book.position * ratio
        self.action("AAA.OLD", -old, "AAA(US01) SPLIT", "RS")
        self.action("AAA", new, "AAA(US01) SPLIT", "RS")
        self.scale(book, ratio)

    def scale(self, book: Reckoner, ratio: Fraction) -> None:
        book.position *= ratio
        book.piles = [Pile(p.qty * ratio, p.value, p.fee, p.gone * ratio) for p in book.piles]

    def rename(self) -> None:
        book = self.books["AAA"]
        if not book.position or (self.day, "rename") in self.acted:
            return
        self.acted.add((self.day, "rename"))
        name = f"AA{self.number}"
        self.list(name, "STK", "USD", 1)
        self.action("AAA", -book.position, "AAA(US01) CUSIP/ISIN CHANGE TO (US02)", "IC")
        self.action(name, book.position, "AAA(US01) CUSIP/ISIN CHANGE TO (US02)", "IC")
        self.books[name], self.marks[name] = book, self.marks["AAA"]
        self.books["AAA"] = Reckoner("fifo", is_rounding=False)

    def merge(self) -> None:
        held = [n for n in self.terms if n.startswith("AA") and self.books[n].position > 0]
        if not held:
            return
        name, price = self.rng.choice(held), Fraction(self.rng.randint(4000, 6000), 100)
        qty = self.books[name].position
        outcome = self.books[name].fill(Fill(-qty, price, Fraction(0)))
        self.realise(name, outcome)
        text = f"{name}(US01) MERGED(Acquisition) FOR USD {written(price)} PER SHARE"
        self.action(name, -qty, text, "TC", qty * price, outcome.gross + outcome.fees)
        self.pay("USD", "netTradesSales", qty * price)
        self.line("USD", "CORP", qty * price, assetCategory="STK")

    def action(
        self,
        symbol: str,
        qty: Fraction,
        text: str,
        kind: str,
        proceeds: Fraction = Fraction(0),
        pnl: Fraction = Fraction(0),
    ) -> None:
        self.rows["CorporateActions"].append(
            (
                "CorporateAction",
                {
                    "symbol": symbol,
                    "assetCategory": "STK",
                    "currency": "USD",
                    "fxRateToBase": "1",
                    "type": kind,
                    "quantity": written(qty),
                    "proceeds": written(proceeds),
                    "multiplier": "1",
                    "fifoPnlRealized": written(round(pnl * 10**6) / Fraction(10**6)),
                    "description": f"{text} ({symbol}, A COMPANY {self.day:%d%b}, US01)",
                    "dateTime": self.stamp(),
                    "reportDate": f"{self.day:%Y%m%d}",
                    "actionID": text,
                },
            )
        )
        self.number += 1

    def convert(self) -> None:
        if not self.has_euros:
            return
        qty, price = Fraction(self.rng.randint(-500, 500) or 1), Fraction(112, 100)
        self.rows["Trades"].append(("Trade", {
            "levelOfDetail": "EXECUTION", "assetCategory": "CASH", "symbol": "EUR.USD",
            "currency": "USD", "fxRateToBase": "1", "multiplier": "1", "quantity": written(qty),
            "tradePrice": "1.12", "proceeds": written(-qty * price), "taxes": "0",
            "ibCommission": "-2", "ibCommissionCurrency": "USD", "netCash": "0",
            "fifoPnlRealized": "0", "notes": "", "transactionType": "ExchTrade",
            "transactionID": self.new(), "tradeID": self.new(), "ibOrderID": self.new(),
            "tradeDate": f"{self.day:%Y%m%d}", "reportDate": f"{self.day:%Y%m%d}",
            "dateTime": self.stamp(),
        }))  # fmt: skip
        self.pay("USD", "commissions", Fraction(-2))
        self.pay("USD", "netTradesSales", -qty * price)
        self.pay("EUR", "netTradesSales", qty)
        self.line("USD", "FOREX", -qty * price)
        self.line("EUR", "FOREX", qty)
        self.line("USD", "FOREX", Fraction(-2), activityDescription="Commission from Forex Trade")
        self.earned.append(Earned(self.day, "", fees=Fraction(-2)))

    # What it comes to.

    def realise(self, name: str, outcome: Outcome) -> None:
        self.pnl[name] += outcome.gross + outcome.fees
        rate = RATES[self.terms[name][1]]
        self.earned.append(Earned(self.day, name, outcome.gross * rate, outcome.fees * rate))

    def due(self, names: Collection[str], since: date = FIRST) -> dict[str, Fraction]:
        """Return what these instruments have earned since a day; "" is the account itself."""
        mine = [one for one in self.earned if one.name in names and one.day >= since]
        parts = {
            part: sum((getattr(one, part) for one in mine), Fraction(0))
            for part in ("gross", "fees", "other")
        }
        return parts | {"funding": Fraction(0), "net": sum(parts.values(), Fraction(0))}

    def open_fees(self, name: str) -> Fraction:
        """Return the fees paid on what is still open of an instrument, in its currency."""
        return sum((p.fee * (1 - p.gone / p.qty) for p in self.books[name].piles), Fraction(0))

    def open_costs(self, names: Collection[str]) -> Fraction:
        """Return the fees paid on what is still open of these instruments, in USD."""
        open_fees = (self.open_fees(name) * RATES[self.terms[name][1]] for name in names)
        return sum(open_fees, Fraction(0))

    def worth(self) -> Fraction | None:
        """Return what all that is held is worth beyond its cost; None where some of it is in euros.

        The rate of the mark's day is not the rate of a fill's day.
        """
        held = [name for name, book in self.books.items() if book.position]
        if any(self.terms[name][1] != "USD" for name in held):
            return None
        return sum(map(self.unrealised, held), Fraction(0))

    def pay(self, currency: str, field_name: str, amount: Fraction) -> None:
        self.report[currency, field_name] += amount

    def line(self, currency: str, code: str, amount: Fraction, **more: str) -> None:
        self.cash[currency] += amount
        self.rows["StmtFunds"].append(
            (
                "StatementOfFundsLine",
                {
                    "levelOfDetail": "Currency",
                    "currency": currency,
                    "activityCode": code,
                    "amount": written(amount),
                    "balance": written(self.cash[currency]),
                    "date": f"{self.day:%Y%m%d}",
                    "reportDate": f"{self.day:%Y%m%d}",
                    "activityDescription": "",
                    "transactionID": self.new(),
                    **more,
                },
            )
        )

    def unrealised(self, name: str) -> Fraction:
        book, multiplier = self.books[name], self.terms[name][2]
        cost = sum((p.value * (1 - p.gone / p.qty) for p in book.piles), Fraction(0))
        side = 1 if book.position > 0 else -1
        return book.position * self.marks.get(name, Fraction(0)) * multiplier - side * cost

    def settle(self) -> None:
        """Pay what futures and CFDs have gained, to the last mark."""
        for name, (category, currency, _) in self.terms.items():
            if category not in SETTLED_DAILY:
                continue
            paid = sum(
                (
                    Fraction(row["ibCommission"])
                    for _, row in self.rows["Trades"]
                    if row["symbol"] == name
                ),
                Fraction(0),
            )
            gain = self.pnl[name] - (paid - self.open_fees(name)) + self.unrealised(name)
            if gain:
                self.pay(currency, "cashSettlingMtm", gain)
                self.line(currency, "ADJ", gain, assetCategory=category)
