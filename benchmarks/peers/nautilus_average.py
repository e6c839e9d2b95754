"""nautilus_trader: a `Position` a key, at average cost; a fill through zero makes a new one.

Run by `benchmarks/peers.py` in an environment of its own: FILLS.csv, REALISED.csv, repeats. Prints
JSON: fills, seconds to make events of the fills, seconds to apply them.
"""

import csv
import json
import sys
import time
from decimal import Decimal
from pathlib import Path
from statistics import median

from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.enums import LiquiditySide, OrderSide, OrderType
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import (
    AccountId,
    ClientOrderId,
    InstrumentId,
    PositionId,
    StrategyId,
    Symbol,
    TradeId,
    TraderId,
    Venue,
    VenueOrderId,
)
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.model.position import Position

PLACES = 8
UNIT = Decimal(1).scaleb(-PLACES)


def instrument(key):
    """Return a linear perpetual with eight places everywhere."""
    symbol = Symbol(key.replace("/", "."))
    step = f"{UNIT:f}"
    return CryptoPerpetual(
        instrument_id=InstrumentId(symbol, Venue("OKX")),
        raw_symbol=symbol,
        base_currency=BTC,
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=PLACES,
        size_precision=PLACES,
        price_increment=Price.from_str(step),
        size_increment=Quantity.from_str(step),
        ts_event=0,
        ts_init=0,
    )


def events(fills, instruments):
    """Return an event for what each fill closes and one for what it opens, with its fee."""
    trader, strategy, account = TraderId("T-1"), StrategyId("S-1"), AccountId("OKX-1")
    order, venue_order, event_id = ClientOrderId("O"), VenueOrderId("V"), UUID4()
    given = []
    for fill in fills:
        key, qty, closing, fee = fill["key"], fill["qty"], fill["closing_qty"], fill["fee"]
        side = OrderSide.BUY if fill["side"] == "buy" else OrderSide.SELL
        price = Price.from_str(f"{fill['price']:f}")
        closing_fee = (fee * closing / qty).quantize(UNIT)
        for part, part_fee, is_closing in (
            (closing, closing_fee, True),
            (qty - closing, fee - closing_fee, False),
        ):
            if part:
                event = OrderFilled(
                    trader,
                    strategy,
                    instruments[key].id,
                    order,
                    venue_order,
                    account,
                    TradeId(f"{fill['fill_id']}{is_closing:d}"),
                    PositionId(key),
                    side,
                    OrderType.MARKET,
                    Quantity.from_str(f"{part:f}"),
                    price,
                    USDT,
                    Money(-part_fee, USDT),
                    LiquiditySide.TAKER,
                    event_id,
                    0,
                    0,
                )
                given.append((key, event, fill["fill_id"] if is_closing else None, part_fee))
    return given


def apply(given, instruments):
    """Apply them; return, of what closes, the fill, what was realised before and after, its fee."""
    positions = {}
    realised = []
    for key, event, closes, fee in given:
        position = positions.get(key)
        if position is None or position.is_closed:
            positions[key] = Position(instruments[key], event)
            continue
        before = position.realized_pnl
        position.apply(event)
        if closes is not None:
            realised.append((closes, before, position.realized_pnl, fee))
    return realised


def main(source, target, repeats):
    """Apply the fills, write what each realised before fees, print the times."""
    numbers = ("qty", "price", "closing_qty", "fee")
    with Path(source).open(encoding="utf-8", newline="") as file:
        fills = [
            row | {name: Decimal(row[name]) for name in numbers} for row in csv.DictReader(file)
        ]
    instruments = {key: instrument(key) for key in {fill["key"] for fill in fills}}
    prepared, looped = [], []
    for _ in range(int(repeats)):
        started = time.perf_counter()
        given = events(fills, instruments)
        made = time.perf_counter()
        realised = apply(given, instruments)
        looped.append(time.perf_counter() - made)
        prepared.append(made - started)
    gross = dict.fromkeys((fill["fill_id"] for fill in fills), Decimal(0))
    for name, before, after, fee in realised:
        gross[name] = after.as_decimal() - before.as_decimal() - fee
    with Path(target).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows((name, f"{pnl:f}") for name, pnl in gross.items())
    answer = {"fills": len(fills), "prepare_s": median(prepared), "loop_s": median(looped)}
    json.dump(answer, sys.stdout)


main(*sys.argv[1:])
