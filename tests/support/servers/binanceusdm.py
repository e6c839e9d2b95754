"""binance USDⓈ-M futures, as near as a reader of trades needs it.

`userTrades` wants a symbol, spans of a week at most, and hands out the oldest 1000 of a span; from
an id on it takes no times. `income` is paged by time alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from aiohttp import web

from tests.support.servers.ccxt_server import Asked, CcxtServer, Deal, Json, Payment, decimal_text

WEEK_MS = 7 * 24 * 3600 * 1000
LIMIT = 1000
BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


@dataclass
class BinanceServer(CcxtServer):
    exchange: ClassVar[str] = "binanceusdm"
    symbols: ClassVar[tuple[str, ...]] = (BTC, ETH)

    def answer(self, asked: Asked) -> Json:
        answers = {
            "/fapi/v1/exchangeInfo": self._markets,
            "/fapi/v1/userTrades": self._trades,
            "/fapi/v1/income": self._income,
            "/fapi/v1/leverageBracket": self._brackets,
            "/fapi/v3/positionRisk": self._positions,
            "/fapi/v3/account": self._account,
        }
        found = answers.get(asked.path)
        return None if found is None or asked.method != "GET" else found(asked.query)

    def is_authentic(self, request: web.Request, asked: Asked) -> bool:
        is_public = asked.path.endswith("exchangeInfo")
        has_key = request.headers.get("X-MBX-APIKEY") == self.key()["api_key"]
        return is_public or (has_key and "signature" in asked.query)

    def busy(self) -> web.Response:
        answer = {"code": -1003, "msg": "Too many requests; please use the websocket"}
        return web.json_response(answer, status=429)

    def without_rows(self) -> Json:
        return {"msg": "success"}

    def _markets(self, _query: dict[str, str]) -> Json:
        return {
            "timezone": "UTC",
            "symbols": [
                {
                    "symbol": _id(symbol),
                    "pair": _id(symbol),
                    "contractType": "PERPETUAL",
                    "deliveryDate": 4133404800000,
                    "onboardDate": 1569398400000,
                    "status": "TRADING",
                    "baseAsset": symbol.partition("/")[0],
                    "quoteAsset": "USDT",
                    "marginAsset": "USDT",
                    "pricePrecision": 2,
                    "quantityPrecision": 3,
                    "baseAssetPrecision": 8,
                    "quotePrecision": 8,
                    "filters": [
                        {
                            "filterType": "PRICE_FILTER",
                            "minPrice": "0.1",
                            "maxPrice": "1000000",
                            "tickSize": "0.1",
                        }
                    ],
                }
                for symbol in self.symbols
            ],
        }

    def _trades(self, query: dict[str, str]) -> Json:
        mine = [deal for deal in self.book.shown if _id(deal.symbol) == query["symbol"]]
        limit = min(int(query.get("limit", 500)), LIMIT)
        if "fromId" in query:
            assert not {"startTime", "endTime"} & query.keys()
            rows = sorted((d for d in mine if d.id >= int(query["fromId"])), key=lambda d: d.id)
        else:
            rows = self._between(mine, query)
        return self.page([_trade(deal) for deal in rows], limit)

    def _income(self, query: dict[str, str]) -> Json:
        assert query["incomeType"] == "FUNDING_FEE"
        rows = self._between(self.book.payments, query)
        return self.page([_payment(one) for one in rows], min(int(query.get("limit", 100)), LIMIT))

    def _between(self, rows: Sequence[Any], query: dict[str, str]) -> list[Any]:
        start, end = int(query["startTime"]), int(query["endTime"])
        if end - start > WEEK_MS:
            self.violations.append(f"a span of {end - start} ms")
        return sorted((r for r in rows if start <= r.at_ms <= end), key=lambda r: (r.at_ms, r.id))

    def _brackets(self, _query: dict[str, str]) -> Json:
        bracket = {"bracket": 1, "notionalFloor": 0, "notionalCap": 10**9, "maintMarginRatio": 0.01}
        return [{"symbol": _id(symbol), "brackets": [bracket]} for symbol in self.symbols]

    def _positions(self, _query: dict[str, str]) -> Json:
        return [
            {
                "symbol": _id(symbol),
                "positionSide": "BOTH",
                "positionAmt": decimal_text(qty),
                "entryPrice": "100.0",
                "breakEvenPrice": "100.1",
                "markPrice": "110.00000000",
                "unRealizedProfit": "0",
                "liquidationPrice": "0",
                "isolatedMargin": "0",
                "notional": decimal_text(qty * 110),
                "marginAsset": "USDT",
                "isolatedWallet": "0",
                "updateTime": 1722062678998,
                "initialMargin": "1",
                "maintMargin": "0.1",
                "adl": 2,
            }
            for symbol, qty in self.book.held().items()
        ]

    def _account(self, _query: dict[str, str]) -> Json:
        asset = {
            "asset": "USDT",
            "walletBalance": "1000.5",
            "marginBalance": "1000.5",
            "availableBalance": "1000.5",
            "initialMargin": "0",
            "updateTime": 1722062678998,
        }
        return {"totalWalletBalance": "1000.5", "assets": [asset], "positions": []}


def _id(symbol: str) -> str:
    return symbol.partition(":")[0].replace("/", "")


def _trade(deal: Deal) -> Json:
    return {
        "symbol": _id(deal.symbol),
        "id": deal.id,
        "orderId": 5_000_000 + deal.id // 3,
        "side": deal.side.upper(),
        "price": deal.price,
        "qty": deal.qty,
        "realizedPnl": "0",
        "quoteQty": "0",
        "commission": deal.fee,
        "commissionAsset": deal.fee_currency or "USDT",
        "time": deal.at_ms,
        "positionSide": "BOTH",
        "buyer": deal.side == "buy",
        "maker": False,
    }


def _payment(one: Payment) -> Json:
    return {
        "symbol": _id(one.symbol),
        "incomeType": "FUNDING_FEE",
        "income": one.amount,
        "asset": "USDT",
        "time": one.at_ms,
        "info": "FUNDING_FEE",
        "tranId": one.id,
        "tradeId": "",
    }
