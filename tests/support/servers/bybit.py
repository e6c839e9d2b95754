"""bybit's v5, as near as a reader of trades needs it.

Executions of all types stand in one list, by spans of a week at most, newest first, 100 a page
(50 unless told), each page naming the next. A fee and a funding payment are paid where positive.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar
from urllib.parse import quote

from aiohttp import web

from tests.support.servers.ccxt_server import Asked, CcxtServer, Deal, Json, Payment, decimal_text

WEEK_MS = 7 * 24 * 3600 * 1000
LIMIT = 100
BTC, ETH, SPOT = "BTC/USDT:USDT", "ETH/USDT:USDT", "LTC/USDT"
_PERPETUAL = {
    "contractType": "LinearPerpetual",
    "settleCoin": "USDT",
    "launchTime": "1585526400000",
    "deliveryTime": "0",
}


@dataclass
class BybitServer(CcxtServer):
    liquidations: frozenset[int] = frozenset()
    """Ids of deals that the exchange made, and not the account."""
    exchange: ClassVar[str] = "bybit"
    symbols: ClassVar[tuple[str, ...]] = (BTC, ETH)

    def answer(self, asked: Asked) -> Json:
        answers: dict[str, Any] = {
            "/v5/market/instruments-info": self._markets,
            "/v5/execution/list": self._executions,
            "/v5/position/list": self._positions,
            "/v5/account/wallet-balance": self._wallet,
            "/v5/user/query-api": lambda _query: {"unified": 0, "uta": 1},
            "/v5/account/info": lambda _query: {"unifiedMarginStatus": 6},
        }
        found = answers.get(asked.path)
        if found is None or asked.method != "GET":
            return None
        return _envelope(found(asked.query))

    def is_authentic(self, request: web.Request, asked: Asked) -> bool:
        is_public = asked.path.startswith("/v5/market")
        has_key = request.headers.get("X-BAPI-API-KEY") == self.key()["api_key"]
        return is_public or (has_key and bool(request.headers.get("X-BAPI-SIGN")))

    def busy(self) -> web.Response:
        return web.json_response({"retCode": 10006, "retMsg": "Too many visits!", "result": {}})

    def without_rows(self) -> Json:
        return _envelope({"category": "linear"})

    def _markets(self, query: dict[str, str]) -> Json:
        rows = [
            {
                "symbol": _id(symbol),
                "status": "Trading",
                "baseCoin": symbol.partition("/")[0],
                "quoteCoin": "USDT",
                "lotSizeFilter": {"qtyStep": "0.001", "minOrderQty": "0.001"},
                "priceFilter": {"tickSize": "0.10"},
                **(_PERPETUAL if query["category"] == "linear" else {}),
            }
            for symbol in (*self.symbols, SPOT)
            if query["category"] == _category(symbol) and "status" not in query
        ]
        return {"category": query["category"], "list": rows, "nextPageCursor": ""}

    def _executions(self, query: dict[str, str]) -> Json:
        start, end = int(query["startTime"]), int(query["endTime"])
        if end - start > WEEK_MS:
            self.violations.append(f"a span of {end - start} ms")
        made: list[tuple[int, str, int, Json]] = [
            *(
                (d.at_ms, self._type(d), d.id, _execution(d, self._type(d)))
                for d in self.book.shown
            ),
            *((p.at_ms, "Funding", p.id, _funding(p)) for p in self.book.payments),
        ]
        found = sorted(
            (one for one in made if one[1] == query["execType"] and start <= one[0] <= end),
            key=lambda one: one[:3],
            reverse=True,
        )
        cursor = query.get("cursor", "0%3A0")
        offset = int(cursor.replace("%3A", ":").partition(":")[0])
        limit = min(int(query.get("limit", 50)), LIMIT)
        rows = [one[3] for one in found[offset : offset + limit]]
        is_more = len(found) > offset + limit
        # The cursor comes encoded, and goes back as it came.
        next_cursor = quote(f"{offset + limit}:1", safe="") if is_more else ""
        return {
            "category": query["category"],
            "list": self.page(rows, limit),
            "nextPageCursor": next_cursor,
        }

    def _type(self, deal: Deal) -> str:
        return "BustTrade" if deal.id in self.liquidations else "Trade"

    def _positions(self, query: dict[str, str]) -> Json:
        assert (query["category"], query["settleCoin"]) == ("linear", "USDT")
        rows = [
            {
                "symbol": _id(symbol),
                "side": "Buy" if qty > 0 else "Sell",
                "positionIdx": 0,
                "size": decimal_text(abs(qty)),
                "avgPrice": "100",
                "markPrice": "110",
                "positionValue": decimal_text(abs(qty) * 100),
                "leverage": "10",
                "unrealisedPnl": "0",
                "createdTime": "1657711949928",
                "updatedTime": "1657711949945",
                "positionStatus": "Normal",
                "tradeMode": 0,
            }
            for symbol, qty in self.book.held().items()
            if _category(symbol) == "linear"
        ]
        flat: dict[str, Any] = {
            "symbol": "ETHUSDT",
            "side": "",
            "size": "0",
            "positionIdx": 0,
            "avgPrice": "0",
            "markPrice": "10",
            "positionValue": "",
        }
        return {"category": "linear", "list": rows or [flat], "nextPageCursor": ""}

    def _wallet(self, query: dict[str, str]) -> Json:
        held = {"USDT": Fraction("1000.25")} | {
            name: Fraction(text) for name, text in self.book.coins.items()
        }
        for deal in self.book.deals:
            if _category(deal.symbol) == "spot":
                coin = deal.symbol.partition("/")[0]
                # What a purchase costs is taken from what was bought.
                fee = Fraction(deal.fee) if deal.side == "buy" else 0
                held[coin] = held.get(coin, Fraction(0)) + deal.signed - fee
        coins = [
            {"coin": name, "walletBalance": decimal_text(qty), "locked": "0"}
            for name, qty in held.items()
        ]
        return {"list": [{"accountType": query["accountType"], "coin": coins}]}


_ticks = itertools.count(1672283754510)


def _envelope(result: Json) -> Json:
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": next(_ticks)}


def _category(symbol: str) -> str:
    return "linear" if ":" in symbol else "spot"


def _id(symbol: str) -> str:
    return symbol.partition(":")[0].replace("/", "")


def _execution(deal: Deal, kind: str) -> Json:
    return {
        "symbol": _id(deal.symbol),
        "orderId": f"order-{deal.id // 3}",
        "orderLinkId": "btcq-1",
        "side": deal.side.capitalize(),
        "orderPrice": deal.price,
        "orderQty": deal.qty,
        "execId": f"00000000-0000-0000-0000-{deal.id:012d}",
        "execFee": deal.fee,
        "execPrice": deal.price,
        "execQty": deal.qty,
        "execType": kind,
        "execValue": "0",
        "execTime": str(deal.at_ms),
        "isMaker": False,
        "feeRate": "0.0006",
        "leavesQty": "0",
        "createType": "CreateByUser",
        "closedSize": "",
        "blockTradeId": "",
        "seq": deal.id,
    }


def _funding(one: Payment) -> Json:
    paid = one.amount.removeprefix("-") if one.amount.startswith("-") else f"-{one.amount}"
    return {
        "symbol": _id(one.symbol),
        "orderId": f"funding-{one.id}",
        "side": "Sell",
        "execId": f"11111111-0000-0000-0000-{one.id:012d}",
        "execFee": paid,
        "execPrice": "100",
        "execQty": "1",
        "execType": "Funding",
        "execValue": "100",
        "execTime": str(one.at_ms),
        "feeRate": "0.0001",
        "createType": "",
        "orderType": "UNKNOWN",
        "seq": one.id,
    }
