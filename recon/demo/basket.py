"""basket, a stock bot at Interactive Brokers, as its Flex statement tells of it and as its vault does.

Lots are closed first in, first out, the opening commission released in proportion, so that a
closing row's `fifoPnlRealized = proceeds + ibCommission + taxes + cost` is what it really earned.
One purchase is booked at a wrong price, cancelled the next day and booked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from xml.sax.saxutils import quoteattr

from recon.demo.okx_instruments import text
from recon.demo.vaults import TradeRow
from recon.sessions import NEW_YORK, Calendar

ACCOUNT = "DU1000000"
QUERY = "100200"
ORDER_TAG = "basket"
DEPOSIT = Decimal(250_000)
INTEREST = Decimal("41.17")
SYMBOLS: Mapping[str, tuple[str, str]] = {
    "SPY": ("756733", "SPDR S&P 500 ETF TRUST"),
    "QQQ": ("320227571", "INVESCO QQQ TRUST SERIES 1"),
    "AAPL": ("265598", "APPLE INC"),
    "MSFT": ("272093", "MICROSOFT CORP"),
    "XOM": ("13977", "EXXON MOBIL CORP"),
}
MARKS: Mapping[str, Decimal] = {
    "SPY": Decimal("673.44"),
    "AAPL": Decimal("272.95"),
    "XOM": Decimal("116.02"),
}
WRONG_PRICE = Decimal("512.30")
CORRECTED_ORDER = 3

# Sessions before the last one, New York time, order, symbol, quantity (bought +), price.
SCRIPT = """
24 09:41:07  1 SPY   60 668.41
24 09:41:07  1 SPY   40 668.43
24 10:02:55  2 AAPL  80 268.20
23 09:35:12  3 MSFT  50 512.03
22 10:20:31  4 QQQ   50 606.15
22 10:20:33  4 QQQ   50 606.20
20 11:15:48  5 AAPL -50 271.85
19 09:52:19  6 XOM  200 114.62
18 12:31:02  7 SPY  -60 671.90
18 12:31:02  7 SPY  -20 671.88
16 10:44:40  8 MSFT -25 508.75
15 09:38:26  9 AAPL  40 270.10
13 11:07:53 10 QQQ  -50 611.40
12 10:09:14 11 XOM -100 113.95
11 12:02:37 12 SPY   80 665.20
9  09:47:21 13 AAPL -60 273.66
8  11:55:09 14 MSFT -25 515.20
6  10:33:44 15 QQQ  -25 613.05
6  10:33:44 15 QQQ  -25 613.07
5  09:59:30 16 XOM   50 112.80
3  12:18:16 17 SPY  -50 672.15
1  10:50:05 18 XOM -100 116.25
0  09:44:58 19 SPY  -25 674.02
0  11:21:35 20 AAPL  20 272.40
"""


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution. `qty` is signed, bought +; `commission` is signed as cash."""

    number: int
    at: datetime
    order: int
    symbol: str
    qty: Decimal
    price: Decimal

    @property
    def proceeds(self) -> Decimal:
        """The cash that it moved before commission."""
        return -self.qty * self.price

    @property
    def commission(self) -> Decimal:
        """What IBKR charged: a fixed part, and one a share."""
        return -(Decimal("0.35") + Decimal("0.0041") * abs(self.qty))

    @property
    def trade_date(self) -> date:
        """The session it was done in."""
        return self.at.astimezone(NEW_YORK).date()


@dataclass(slots=True)
class Lot:
    """What is left of one purchase; `basis` is its cost, the commission included."""

    opened_at: datetime
    qty: Decimal
    price: Decimal
    basis: Decimal


@dataclass(slots=True)
class Booked:
    """One execution as booked: what it closed, and what that earned after every commission."""

    execution: Execution
    cost: Decimal
    realised: Decimal
    closed: list[Lot] = field(default_factory=list)


@dataclass(slots=True)
class Basket:
    """The basket's history: what was booked, and the lots still open, by symbol."""

    days: Calendar
    first: date
    last: date
    booked: list[Booked] = field(default_factory=list)
    lots: dict[str, list[Lot]] = field(default_factory=dict)

    @property
    def realised(self) -> Decimal:
        """What the bot earned."""
        return sum((row.realised for row in self.booked), Decimal(0))

    def statement(self, generated_at: datetime) -> str:
        """Return the Flex statement of its whole history."""
        return _statement(self, generated_at)

    def vault_rows(self) -> list[TradeRow]:
        """Return what the bot wrote to its own vault: one row a close, commissions subtracted."""
        return [_vault_row(row) for row in self.booked if row.closed]


def basket(days: Calendar, since: date, as_of: date) -> Basket:
    """Play the script so that it ends with the last session on or before `as_of`."""
    last = days.session(as_of).date
    history = Basket(days, days.session_on_or_after(since).date, last)
    for execution in _executions(days, last):
        history.booked.append(_book(history.lots.setdefault(execution.symbol, []), execution))
    return history


def _executions(days: Calendar, last: date) -> Iterator[Execution]:
    for number, line in enumerate(SCRIPT.split("\n")[1:-1], 1):
        back, clock, order, symbol, qty, price = line.split()
        day = last
        for _ in range(int(back)):
            day = days.session(day - timedelta(days=1)).date
        at = datetime.combine(day, time.fromisoformat(clock), NEW_YORK)
        yield Execution(number, at, int(order), symbol, Decimal(qty), Decimal(price))


def _book(lots: list[Lot], execution: Execution) -> Booked:
    cash = execution.proceeds + execution.commission
    if execution.qty > 0:
        lots.append(Lot(execution.at, execution.qty, execution.price, -cash))
        return Booked(execution, cost=-cash, realised=Decimal(0))
    left, closed = -execution.qty, []
    while left:
        lot = lots[0]
        taken = min(left, lot.qty)
        part = Lot(lot.opened_at, taken, lot.price, lot.basis * taken / lot.qty)
        lot.qty, lot.basis, left = lot.qty - taken, lot.basis - part.basis, left - taken
        closed.append(part)
        if not lot.qty:
            lots.pop(0)
    cost = -sum((part.basis for part in closed), Decimal(0))
    return Booked(execution, cost=cost, realised=cash + cost, closed=closed)


def _vault_row(row: Booked) -> TradeRow:
    qty = sum((lot.qty for lot in row.closed), Decimal(0))
    return TradeRow(
        symbol=row.execution.symbol,
        side="long",
        size=qty,
        opened_at=row.closed[0].opened_at,
        closed_at=row.execution.at,
        entry_price=sum((lot.qty * lot.price for lot in row.closed), Decimal(0)) / qty,
        exit_price=row.execution.price,
        pnl=row.realised,
        order_ids=(_order_id(row.execution.order),),
    )


def _statement(history: Basket, generated_at: datetime) -> str:
    sections = {
        "AccountInformation": [],
        "Trades": [row for booked in history.booked for row in _trade_rows(history, booked)],
        "CashTransactions": list(_cash_rows(history)),
        "OpenPositions": list(_position_rows(history)),
    }
    lines = [
        '<FlexQueryResponse queryName="recon" type="AF">',
        '<FlexStatements count="1">',
        f'<FlexStatement accountId="{ACCOUNT}" fromDate="{history.first}" toDate="{history.last}" '
        f'period="" whenGenerated="{_clock(generated_at)}">',
        f'<AccountInformation accountId="{ACCOUNT}" acctAlias="" currency="USD" />',
    ]
    for name, rows in sections.items():
        if name != "AccountInformation":
            lines += [f"<{name}>", *rows, f"</{name}>"]
    return "\n".join([*lines, "</FlexStatement>", "</FlexStatements>", "</FlexQueryResponse>", ""])


def _trade_rows(history: Basket, booked: Booked) -> Iterator[str]:
    """Yield an execution's row; of the corrected one the wrong row, its cancel, and the right one.

    The rebooking has the tradeID of the original and a transactionID of its own; the cancel has
    neither tradeID nor ibExecID. Both are reported a session later than they were traded.
    """
    execution = booked.execution
    right = _trade(booked)
    if execution.order != CORRECTED_ORDER:
        yield _element("Trade", right)
        return
    following = history.days.session_on_or_after(execution.trade_date + timedelta(days=1)).date
    wrong = _book([], Execution(*_fields(execution), price=WRONG_PRICE))
    original = _trade(wrong)
    yield _element("Trade", original)
    yield _element("Trade", _cancel(original, execution, following))
    yield _element(
        "Trade",
        right
        | {
            "reportDate": str(following),
            "transactionID": str(9_100_000_000 + execution.number),
            "ibExecID": str(right["ibExecID"]).removesuffix(".01") + ".02",
            "notes": "Co",
        },
    )


def _fields(execution: Execution) -> tuple[int, datetime, int, str, Decimal]:
    return execution.number, execution.at, execution.order, execution.symbol, execution.qty


def _cancel(original: Mapping[str, str], execution: Execution, reported: date) -> dict[str, str]:
    opposite = ("quantity", "tradeMoney", "proceeds", "ibCommission", "netCash", "cost")
    return {
        **original,
        **{name: text(-Decimal(original[name])) for name in opposite},
        "tradeID": "",
        "ibExecID": "",
        "origTradeID": original["tradeID"],
        "origTradeDate": str(execution.trade_date),
        "origTradePrice": original["tradePrice"],
        "origOrderID": original["ibOrderID"],
        "transactionType": "TradeCancel",
        "transactionID": str(9_050_000_000 + execution.number),
        "reportDate": str(reported),
        "exchange": "--",
        "openCloseIndicator": "",
        "notes": "Ca",
        "buySell": f"{original['buySell']} (Ca.)",
        "orderReference": "",
    }


def _trade(booked: Booked) -> dict[str, str]:
    one = booked.execution
    return {
        **_instrument(one.symbol),
        "tradeID": str(5_000_000_000 + one.number),
        "reportDate": str(one.trade_date),
        "dateTime": _clock(one.at),
        "tradeDate": str(one.trade_date),
        "transactionType": "ExchTrade",
        "exchange": "ARCA",
        "quantity": text(one.qty),
        "tradePrice": text(one.price),
        "tradeMoney": text(-one.proceeds),
        "proceeds": text(one.proceeds),
        "taxes": "0",
        "ibCommission": text(one.commission),
        "ibCommissionCurrency": "USD",
        "netCash": text(one.proceeds + one.commission),
        "openCloseIndicator": "C" if booked.closed else "O",
        "notes": "P" if _is_partial(one) else "",
        "cost": text(booked.cost),
        "fifoPnlRealized": text(booked.realised),
        "origTradePrice": "0",
        "origTradeDate": "",
        "origTradeID": "",
        "origOrderID": "0",
        "transactionID": str(9_000_000_000 + one.number),
        "buySell": "BUY" if one.qty > 0 else "SELL",
        "ibOrderID": _order_id(one.order),
        "ibExecID": f"0000e1a7.{one.number:08x}.01.01",
        "orderReference": ORDER_TAG,
        "orderTime": _clock(one.at - timedelta(seconds=2)),
        "levelOfDetail": "EXECUTION",
        "orderType": "LMT",
        "isAPIOrder": "Y",
    }


def _is_partial(execution: Execution) -> bool:
    orders = [line.split()[2] for line in SCRIPT.split("\n")[1:-1]]
    counts = {int(order): len(list(same)) for order, same in groupby(orders)}
    return counts[execution.order] > 1


def _cash_rows(history: Basket) -> Iterator[str]:
    """Yield a deposit, which is no profit, and interest, which is, and no bot's."""
    middle = history.days.session(history.last - timedelta(days=15)).date
    for number, (day, kind, description, amount) in enumerate(
        (
            (history.first, "Deposits/Withdrawals", "CASH RECEIPTS", DEPOSIT),
            (middle, "Broker Interest Received", "USD CREDIT INT", INTEREST),
        ),
        1,
    ):
        yield _element(
            "CashTransaction",
            {
                "accountId": ACCOUNT,
                "currency": "USD",
                "fxRateToBase": "1",
                "assetCategory": "",
                "symbol": "",
                "description": description,
                "dateTime": _clock(datetime.combine(day, time(9, 30), NEW_YORK)),
                "settleDate": str(day),
                "amount": text(amount),
                "type": kind,
                "tradeID": "",
                "transactionID": str(9_200_000_000 + number),
                "reportDate": str(day),
                "levelOfDetail": "DETAIL",
            },
        )


def _position_rows(history: Basket) -> Iterator[str]:
    for symbol, lots in history.lots.items():
        qty = sum((lot.qty for lot in lots), Decimal(0))
        if not qty:
            continue
        basis = sum((lot.basis for lot in lots), Decimal(0))
        value = qty * MARKS[symbol]
        cost_price = text((basis / qty).quantize(Decimal("1e-9")))
        yield _element(
            "OpenPosition",
            {
                **_instrument(symbol),
                "reportDate": str(history.last),
                "position": text(qty),
                "markPrice": text(MARKS[symbol]),
                "positionValue": text(value),
                "openPrice": cost_price,
                "costBasisPrice": cost_price,
                "costBasisMoney": text(basis),
                "fifoPnlUnrealized": text(value - basis),
                "side": "Long",
                "levelOfDetail": "SUMMARY",
            },
        )


def _instrument(symbol: str) -> dict[str, str]:
    number, description = SYMBOLS[symbol]
    return {
        "accountId": ACCOUNT,
        "acctAlias": "",
        "currency": "USD",
        "fxRateToBase": "1",
        "assetCategory": "STK",
        "symbol": symbol,
        "description": description,
        "conid": number,
        "multiplier": "1",
    }


def _element(name: str, attributes: Mapping[str, str]) -> str:
    return f"<{name} {' '.join(f'{key}={quoteattr(v)}' for key, v in attributes.items())} />"


def _order_id(order: int) -> str:
    return str(800_000_000 + order)


def _clock(at: datetime) -> str:
    """Write an instant as a query set to ISO dates does: New York time, and which one."""
    return at.astimezone(NEW_YORK).strftime("%Y-%m-%d;%H:%M:%S %Z")
