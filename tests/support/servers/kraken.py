"""Kraken spot, as near as a reader of trades needs it.

`TradesHistory` is a POST: 50 rows by their place, newest first, and how many there are; its times
are seconds with a fraction, and `start` is exclusive. Coins have old names with X and Z.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from aiohttp import web

from tests.support.servers.ccxt_server import Asked, CcxtServer, Deal, Json, decimal_text

LIMIT = 50
BTC, ETH = "BTC/USD", "ETH/USD"
NAMES = {BTC: ("XXBTZUSD", "XBTUSD", "XXBT"), ETH: ("XETHZUSD", "ETHUSD", "XETH")}


@dataclass
class KrakenServer(CcxtServer):
    exchange: ClassVar[str] = "kraken"
    symbols: ClassVar[tuple[str, ...]] = (BTC, ETH)

    async def read(self, request: web.Request) -> Asked:
        form = {name: str(value) for name, value in (await request.post()).items()}
        return Asked(request.method, request.path, {**request.query, **form})

    def answer(self, asked: Asked) -> Json:
        answers = {
            "/0/public/AssetPairs": self._markets,
            "/0/private/TradesHistory": self._trades,
            "/0/private/BalanceEx": self._balances,
        }
        found = answers.get(asked.path)
        return None if found is None else {"error": [], "result": found(asked.query)}

    def is_authentic(self, request: web.Request, asked: Asked) -> bool:
        has_key = request.headers.get("API-Key") == self.key()["api_key"]
        is_signed = has_key and bool(request.headers.get("API-Sign")) and "nonce" in asked.query
        return asked.path.startswith("/0/public") or is_signed

    def busy(self) -> web.Response:
        return web.json_response({"error": ["EAPI:Rate limit exceeded"]})

    def without_rows(self) -> Json:
        return {"error": [], "result": {"count": 0}}

    def _markets(self, _query: dict[str, str]) -> Json:
        return {
            NAMES[symbol][0]: {
                "altname": NAMES[symbol][1],
                "wsname": symbol,
                "aclass_base": "currency",
                "base": NAMES[symbol][2],
                "aclass_quote": "currency",
                "quote": "ZUSD",
                "pair_decimals": 1,
                "lot_decimals": 8,
                "lot_multiplier": 1,
                "leverage_buy": [2, 3],
                "leverage_sell": [2, 3],
                "fees": [[0, 0.4]],
                "fees_maker": [[0, 0.25]],
                "ordermin": "0.0001",
                "costmin": "0.5",
                "tick_size": "0.1",
                "status": "online",
            }
            for symbol in self.symbols
        }

    def _trades(self, query: dict[str, str]) -> Json:
        start, end = int(query["start"]) * 1000, int(query["end"]) * 1000
        found = sorted(
            (deal for deal in self.book.shown if start < deal.at_ms <= end),
            key=lambda deal: (deal.at_ms, deal.id),
            reverse=True,
        )
        offset = int(query.get("ofs", 0))
        page = self.page(found[offset:], LIMIT)
        return {"count": len(found), "trades": {f"T{deal.id}-KRAKN": _trade(deal) for deal in page}}

    def _balances(self, _query: dict[str, str]) -> Json:
        coins = {"ZUSD": Fraction(5000)}
        for symbol, qty in self.book.held().items():
            coins[NAMES[symbol][2]] = qty
        for coin, held in self.book.coins.items():
            coins[coin] = coins.get(coin, Fraction(0)) + Fraction(held)
        return {
            coin: {"balance": decimal_text(held), "hold_trade": "0"} for coin, held in coins.items()
        }


def _trade(deal: Deal) -> Json:
    return {
        "ordertxid": f"O{deal.id // 3}-KRAKN",
        "postxid": "TKH2SE-M7IF5-CFI7LT",
        "pair": NAMES[deal.symbol][0],
        "time": deal.at_ms / 1000 + 0.0002,
        "type": deal.side,
        "ordertype": "limit",
        "price": deal.price,
        "cost": "0",
        "fee": deal.fee,
        "vol": deal.qty,
        "margin": "0.00000",
        "misc": "",
        "trade_id": deal.id,
        "maker": True,
    }
