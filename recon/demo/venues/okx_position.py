"""One execution on the loopback OKX, and the position, by average cost, that it moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Literal

from recon.demo.venues.okx_instruments import DIGITS, Instrument

Side = Literal["buy", "sell"]
PositionSide = Literal["net", "long", "short"]
ExecType = Literal["T", "M", ""]
DealKind = Literal["trade", "liquidation", "adl", "delivery"]
MarginMode = Literal["cross", "isolated"]

WIDE = Context(prec=60)
"""Enough digits that an average, however long, never reaches the 16 decimals that are booked."""

ZERO = Decimal(0)
LEVERAGE = Decimal(10)


@dataclass(frozen=True, slots=True)
class Deal:
    """One execution. `qty` (contracts; coins for spot) is positive, `fee` is signed as cash."""

    instrument: Instrument
    side: Side
    qty: Decimal
    price: Decimal
    at_ms: int
    fee: Decimal
    trade_id: int
    ord_id: str
    cl_ord_id: str = ""
    algo_cl_ord_id: str = ""
    tag: str = ""
    exec_type: ExecType = "T"
    pos_side: PositionSide = "net"
    kind: DealKind = "trade"
    mgn_mode: MarginMode = "cross"
    third_coin: str = ""
    is_on_margin: bool = False

    @property
    def inst_type(self) -> str:
        """The type that the venue calls it by: a coin that may be borrowed is MARGIN."""
        return "MARGIN" if self.is_on_margin else self.instrument.inst_type

    @property
    def signed_qty(self) -> Decimal:
        """The change of the position: buying is positive."""
        return self.qty if self.side == "buy" else -self.qty

    @property
    def fee_currency(self) -> str:
        """The coin that the fee is paid in: a third one, or for spot the one that is received."""
        if self.third_coin:
            return self.third_coin
        spot_buy = self.instrument.inst_type == "SPOT" and self.side == "buy"
        return self.instrument.base if spot_buy else self.instrument.settle

    @property
    def bill_type(self) -> str:
        """The `type` of the deal's bill."""
        return {"trade": "2", "liquidation": "5", "adl": "9", "delivery": "3"}[self.kind]

    @property
    def sub_type(self) -> str:
        """The `subType` of the deal's fill and bill."""
        places = {"net": ("buy", "sell"), "long": ("buy", "sell"), "short": ("sell", "buy")}
        is_first = self.side == places[self.pos_side][0]
        if self.kind == "trade":
            opens, closes = {"net": ("1", "2"), "long": ("3", "5"), "short": ("4", "6")}[
                self.pos_side
            ]
            return opens if is_first else closes
        if self.kind == "delivery":
            return "112" if self.side == "sell" else "113"
        first = {"liquidation": 104, "adl": 125}[self.kind]
        offset = {"net": 2 if is_first else 3, "long": 0, "short": 1}[self.pos_side]
        return str(first + offset)


@dataclass(slots=True)
class Position:
    """What is held, and what it has earned since it was opened. Call within the `WIDE` context.

    `qty` is negative where short. `basis` is the mean worth of what is held. `fee`, `funding`,
    `pnl` and `liq_penalty` are signed as cash.
    """

    instrument: Instrument
    pos_id: str
    pos_side: PositionSide
    direction: Literal["long", "short"]
    opened_ms: int
    updated_ms: int
    qty: Decimal = ZERO
    basis: Decimal = ZERO
    fee: Decimal = ZERO
    funding: Decimal = ZERO
    liq_penalty: Decimal = ZERO
    pnl: Decimal = ZERO
    closed_qty: Decimal = ZERO
    max_qty: Decimal = ZERO
    last_trade_id: int = 0
    close_type: str = "1"
    mgn_mode: MarginMode = "cross"
    margin: Decimal = ZERO
    settled: Decimal = ZERO
    unsettled_basis: Decimal = ZERO
    _unrounded_pnl: Decimal = ZERO
    _closed_entry: Decimal = ZERO
    _closed_exit: Decimal = field(default=ZERO)

    @property
    def realised(self) -> Decimal:
        """The sum that the venue states as realizedPnl; settledPnl is a dated future's alone."""
        return self.pnl + self.fee + self.funding + self.liq_penalty + self.settled

    def closable(self, signed_qty: Decimal) -> Decimal:
        """Return how much (>= 0) of a deal of that signed quantity would close this position."""
        is_opposite = (signed_qty > 0) != (self.qty > 0)
        return min(abs(signed_qty), abs(self.qty)) if is_opposite else ZERO

    def open(self, deal: Deal, qty: Decimal, fee: Decimal) -> None:
        """Add `qty` (> 0) of `deal` and its `fee`: the average moves."""
        held = abs(self.qty)
        worth = self.instrument.worth(deal.price)
        self.basis = (self.basis * held + worth * qty) / (held + qty)
        self.unsettled_basis = (self.unsettled_basis * held + worth * qty) / (held + qty)
        self.qty += qty.copy_sign(deal.signed_qty)
        self.max_qty = max(self.max_qty, abs(self.qty))
        self._touch(deal, fee)

    def close(self, deal: Deal, qty: Decimal, fee: Decimal) -> Decimal:
        """Take `qty` (> 0, at most what is held) away by `deal`; return the profit that is booked.

        What is booked are differences of the rounded running total, so that rounding never adds up:
        a linear position that is flat has earned its exact profit.
        """
        sign = Decimal(1).copy_sign(self.qty)
        worth = self.instrument.worth(deal.price)
        self._unrounded_pnl += sign * qty * self.instrument.face * (worth - self.basis)
        booked = self._unrounded_pnl.quantize(DIGITS) - self.pnl
        self.pnl += booked
        self._closed_entry += qty * self.basis
        self._closed_exit += qty * worth
        self.closed_qty += qty
        self.qty -= sign * qty
        self._touch(deal, fee)
        kind = "trade" if deal.kind == "delivery" else deal.kind
        whole, part = {"trade": ("2", "1"), "liquidation": ("3", "4"), "adl": ("6", "5")}[kind]
        self.close_type = part if self.qty else whole
        return booked

    def _touch(self, deal: Deal, fee: Decimal) -> None:
        self.fee += fee
        self.updated_ms = deal.at_ms
        self.last_trade_id = deal.trade_id

    def settle(self, price: Decimal, at_ms: int) -> Decimal:
        """Pay what is unrealised at a settlement price, and begin anew there."""
        gain = self.unrealised(price)
        self.basis = self.instrument.worth(price)
        self.settled += gain
        self.updated_ms = at_ms
        return gain

    def isolate(self, price: Decimal) -> Decimal:
        """Hold a tenth of the worth at `price` as the position's own margin; return it."""
        self.mgn_mode = "isolated"
        worth = abs(self.instrument.notional(self.qty, price))
        self.margin = (worth / LEVERAGE).quantize(DIGITS)
        return self.margin

    def equity(self, mark: Decimal) -> Decimal:
        """Return what the position adds to the cash of its settlement currency.

        Its gain and its own margin; of an option, whose premium is paid, all that it is worth.
        """
        if self.instrument.inst_type == "OPTION":
            return self.instrument.notional(self.qty, mark).quantize(DIGITS)
        return self.unrealised(mark) + self.margin

    def unrealised(self, mark: Decimal) -> Decimal:
        """Return the profit at `mark` of what is still held, in the settlement currency."""
        gain = self.instrument.worth(mark) - self.basis
        return (self.qty * self.instrument.face * gain).quantize(DIGITS)

    def average_price(self) -> Decimal:
        """Return the price at which what is held was opened on average."""
        return self.instrument.price(self.basis).quantize(DIGITS)

    def unsettled_price(self) -> Decimal:
        """Return the price at which what is held was opened on average, settled or not."""
        return self.instrument.price(self.unsettled_basis).quantize(DIGITS)

    def average_entry(self) -> Decimal:
        """Return the average opening price of what has been closed."""
        return self.instrument.price(self._closed_entry / self.closed_qty).quantize(DIGITS)

    def average_exit(self) -> Decimal:
        """Return the average closing price."""
        return self.instrument.price(self._closed_exit / self.closed_qty).quantize(DIGITS)
