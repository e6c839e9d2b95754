"""Hyperliquid's info endpoint, as near as a reader of trades needs it.

Everything is a POST to one path, by an address and without a key. Fills come oldest first, 2000 an
answer, and only the newest 10,000 at all; payments 500 an answer, all with the same hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from aiohttp import web

from tests.support.servers.ccxt_server import Asked, CcxtServer, Deal, Json, Payment, decimal_text

LIMIT, PAYMENTS, NEWEST = 2000, 500, 10_000
BTC, ETH = "BTC/USDC:USDC", "ETH/USDC:USDC"
WALLET = "0x" + "1a" * 20
NO_HASH = "0x" + "0" * 64


@dataclass
class HyperliquidServer(CcxtServer):
    builder_fee: str = ""
    """What of each fee goes to who built the bot's program: a part of the fee, told beside it."""
    exchange: ClassVar[str] = "hyperliquid"
    symbols: ClassVar[tuple[str, ...]] = (BTC, ETH)

    def key(self) -> dict[str, str]:
        return {"wallet_address": WALLET}

    async def read(self, request: web.Request) -> Asked:
        question = await request.json()
        return Asked(request.method, f"{request.path}/{question['type']}", question)

    def answer(self, asked: Asked) -> Json:
        answers: dict[str, Any] = {
            "/info/spotMetaAndAssetCtxs": lambda _query: [{"universe": [], "tokens": []}, []],
            "/info/metaAndAssetCtxs": self._markets,
            "/info/perpDexs": lambda _query: [None],
            "/info/userFillsByTime": self._fills,
            "/info/userFunding": self._funding,
            "/info/clearinghouseState": self._state,
            "/info/userAbstraction": lambda _query: "disabled",
        }
        found = answers.get(asked.path)
        return None if found is None else found(asked.query)

    def is_authentic(self, request: web.Request, asked: Asked) -> bool:
        return asked.query.get("user", WALLET) == WALLET

    def busy(self) -> web.Response:
        return web.Response(status=429, text="null", content_type="application/json")

    def without_rows(self) -> Json:
        return {"time": 1}

    def _markets(self, _query: dict[str, Any]) -> Json:
        names = [symbol.partition("/")[0] for symbol in self.symbols]
        universe = [{"name": name, "szDecimals": 5, "maxLeverage": 50} for name in names]
        contexts = [{"funding": "0.0000125", "markPx": "110.5", "midPx": "110.5"} for _ in names]
        return [{"universe": universe}, contexts]

    def _fills(self, query: dict[str, Any]) -> Json:
        start, end = int(query["startTime"]), int(query["endTime"])
        rows = []
        held: dict[str, Fraction] = {}
        for deal in sorted(self.book.shown, key=lambda deal: (deal.at_ms, deal.id)):
            before = held.get(deal.symbol, Fraction(0))
            held[deal.symbol] = before + deal.signed
            rows.append((deal, before))
        served = [one for one in rows[-NEWEST:] if start <= one[0].at_ms <= end]
        return self.page([self._fill(*one) for one in served[:LIMIT]], LIMIT)

    def _fill(self, deal: Deal, before: Fraction) -> Json:
        row = {
            "coin": deal.symbol.partition("/")[0],
            "px": deal.price,
            "sz": deal.qty,
            "side": "B" if deal.side == "buy" else "A",
            "time": deal.at_ms,
            "startPosition": decimal_text(before),
            "dir": "Open Long",
            "closedPnl": "0.0",
            "hash": NO_HASH,
            "oid": 700_000 + deal.id // 3,
            "crossed": True,
            "fee": deal.fee,
            # An id is a hash, and says nothing of what came first.
            "tid": 10**12 - deal.id * 7919,
            "feeToken": "USDC",
            "cloid": "0x00dbc3f8259c01000000000000000000",
        }
        return row | ({"builderFee": self.builder_fee} if self.builder_fee else {})

    def _funding(self, query: dict[str, Any]) -> Json:
        start, end = int(query["startTime"]), int(query["endTime"])
        found = sorted(self.book.payments, key=lambda one: (one.at_ms, one.id))
        rows = [_payment(one) for one in found if start <= one.at_ms <= end]
        return self.page(rows, PAYMENTS)

    def _state(self, _query: dict[str, Any]) -> Json:
        margin = {"accountValue": "1000.5", "totalMarginUsed": "0.0"}
        return {
            "assetPositions": [
                {
                    "type": "oneWay",
                    "position": {
                        "coin": symbol.partition("/")[0],
                        "szi": decimal_text(qty),
                        "entryPx": "100.0",
                        "positionValue": decimal_text(abs(qty) * 110),
                        "leverage": {"type": "cross", "value": 20},
                        "marginUsed": "10.0",
                        "unrealizedPnl": "0.0",
                        "liquidationPx": None,
                        "maxLeverage": 50,
                    },
                }
                for symbol, qty in self.book.held().items()
            ],
            "marginSummary": margin,
            "withdrawable": "1000.5",
            "time": 1704261007014,
        }


def _payment(one: Payment) -> Json:
    return {
        "time": one.at_ms,
        "hash": NO_HASH,
        "delta": {
            "type": "funding",
            "coin": one.symbol.partition("/")[0],
            "usdc": one.amount,
            "szi": "1.0",
            "fundingRate": "0.0000125",
            "nSamples": None,
        },
    }
