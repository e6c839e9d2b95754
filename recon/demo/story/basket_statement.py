"""The basket's Flex statement, in the shape that IBKR gives it.

On every row `proceeds = -quantity * tradePrice` and `fifoPnlRealized = proceeds + ibCommission +
taxes + cost`, so what closes has earned what is left after the commissions of both sides. One
purchase is booked at a wrong price, cancelled, and booked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from connectors.ibkr_flex.statement import Row
from recon.core.calendars import NEW_YORK
from recon.demo.story.basket import (
    CORRECTED_ORDER,
    ORDER_TAG,
    Basket,
    Booked,
    Execution,
    book,
    order_id,
)
from recon.demo.venues.flex_document import document
from recon.demo.venues.okx_instruments import text

ACCOUNT = "DU1000000"
DEPOSIT = Decimal(250_000)
INTEREST = Decimal("41.17")
WRONG_PRICE = Decimal("512.30")
SYMBOLS: Mapping[str, tuple[str, str]] = {
    "SPY": ("756733", "SPDR S&P 500 ETF TRUST"),
    "QQQ": ("320227571", "INVESCO QQQ TRUST SERIES 1"),
    "AAPL": ("265598", "APPLE INC"),
    "MSFT": ("272093", "MICROSOFT CORP"),
    "XOM": ("13977", "EXXON MOBIL CORP"),
}
"""Each symbol's contract id and description."""
MARKS: Mapping[str, Decimal] = {
    "SPY": Decimal("673.44"),
    "AAPL": Decimal("272.95"),
    "XOM": Decimal("116.02"),
}


def statement(history: Basket, generated_at: datetime) -> str:
    """Return the Flex document of the basket's whole history."""
    attributes = {
        "accountId": ACCOUNT,
        "fromDate": str(history.first),
        "toDate": str(history.last),
        "period": "",
        "whenGenerated": _clock(generated_at),
    }
    itself = {"accountId": ACCOUNT, "acctAlias": "", "currency": "USD"}
    sections = {
        "AccountInformation": [("AccountInformation", itself)],
        "Trades": [row for booked in history.booked for row in _trade_rows(history, booked)],
        "CashTransactions": _cash_rows(history),
        "OpenPositions": _position_rows(history),
    }
    return document((attributes, sections))


def _trade_rows(history: Basket, booked: Booked) -> Iterator[Row]:
    """Yield an execution's row; of the corrected one the wrong row, its cancel, and the right one.

    The rebooking has the tradeID of the original and a transactionID of its own; the cancel has
    neither tradeID nor ibExecID. Both are reported a session later than they were traded.
    """
    execution = booked.execution
    mates = sum(one.execution.order == execution.order for one in history.booked)
    right = _trade(booked, is_partial=mates > 1)
    if execution.order != CORRECTED_ORDER:
        yield "Trade", right
        return
    following = history.days.session_on_or_after(execution.trade_date + timedelta(days=1)).date
    original = _trade(book([], replace(execution, price=WRONG_PRICE)), is_partial=False)
    yield "Trade", original
    yield "Trade", _cancel(original, execution, following)
    yield (
        "Trade",
        right
        | {
            "reportDate": str(following),
            "transactionID": str(9_100_000_000 + execution.number),
            "ibExecID": right["ibExecID"].removesuffix(".01") + ".02",
            "notes": "Co",
        },
    )


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


def _trade(booked: Booked, *, is_partial: bool) -> dict[str, str]:
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
        "notes": "P" if is_partial else "",
        "cost": text(booked.cost),
        "fifoPnlRealized": text(booked.realised),
        "origTradePrice": "0",
        "origTradeDate": "",
        "origTradeID": "",
        "origOrderID": "0",
        "transactionID": str(9_000_000_000 + one.number),
        "buySell": "BUY" if one.qty > 0 else "SELL",
        "ibOrderID": order_id(one.order),
        "ibExecID": f"0000e1a7.{one.number:08x}.01.01",
        "orderReference": ORDER_TAG,
        "orderTime": _clock(one.at - timedelta(seconds=2)),
        "levelOfDetail": "EXECUTION",
        "orderType": "LMT",
        "isAPIOrder": "Y",
    }


def _cash_rows(history: Basket) -> Iterator[Row]:
    """Yield a deposit, which is no profit, and interest, which is, and no bot's."""
    middle = history.days.session(history.last - timedelta(days=15)).date
    for number, (day, kind, description, amount) in enumerate(
        (
            (history.first, "Deposits/Withdrawals", "CASH RECEIPTS", DEPOSIT),
            (middle, "Broker Interest Received", "USD CREDIT INT", INTEREST),
        ),
        1,
    ):
        yield (
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


def _position_rows(history: Basket) -> Iterator[Row]:
    for symbol, lots in history.lots.items():
        qty = sum((lot.qty for lot in lots), Decimal(0))
        if not qty:
            continue
        basis = sum((lot.basis for lot in lots), Decimal(0))
        value = qty * MARKS[symbol]
        cost_price = text((basis / qty).quantize(Decimal("1e-9")))
        yield (
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


def _clock(at: datetime) -> str:
    """Write an instant as a query set to ISO dates does: New York time, and which one."""
    return at.astimezone(NEW_YORK).strftime("%Y-%m-%d;%H:%M:%S %Z")
