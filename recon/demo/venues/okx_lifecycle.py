"""What befalls an account beside its own orders, on the loopback OKX.

Daily settlement and delivery of futures, exercise and expiry of options, forced reductions,
clawback, conversions, and what moves between sub-accounts: each with the fills and bills that the
venue makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext

from recon.demo.venues.okx_account import OkxAccount, to_ms
from recon.demo.venues.okx_instruments import DIGITS, Number, exact, text
from recon.demo.venues.okx_position import WIDE, ZERO, Deal, DealKind, Position, PositionSide
from recon.demo.venues.okx_rows import Entry, deal_facts


@dataclass(slots=True)
class OkxLife(OkxAccount):
    """An account to which everything may happen that the venue knows."""

    def settle(self, inst_id: str, price: Number, at: datetime) -> int:
        """Settle a dated future: pay its gain, and set its average price. Return the billId."""
        position = self._open[inst_id, "net"]
        self._lasts.setdefault(inst_id, exact(price))
        with localcontext(WIDE):
            gain = position.settle(exact(price), to_ms(at))
        facts = {
            "instId": inst_id,
            "instType": "FUTURES",
            "mgnMode": "cross",
            "pnl": text(gain),
            "fee": "0",
            "px": text(exact(price)),
            "sz": text(abs(position.qty)),
        }
        return self._book(Entry(position.instrument.settle, gain, to_ms(at), "34", "355", facts))

    def deliver(self, inst_id: str, price: Number, at: datetime, *, fee: Number = 0) -> int:
        """Deliver a dated future at its last price: a fill of the system's. Return the billId."""
        return self._force(inst_id, "net", None, price, at, kind="delivery", fee=fee)

    def reduce(
        self,
        inst_id: str,
        qty: Number,
        price: Number,
        at: datetime,
        *,
        kind: DealKind = "adl",
        pos_side: PositionSide = "net",
    ) -> int:
        """Close a part of a position by force: ADL, or a partial liquidation. Return the billId."""
        return self._force(inst_id, pos_side, exact(qty), price, at, kind=kind)

    def exercise(self, inst_id: str, value: Number, at: datetime) -> int:
        """Let an option expire, worth `value` in coin a coin: 0 where it is out of the money.

        It is told by a bill alone, which moves the value in cash. Return its billId.
        """
        position = self._open.pop((inst_id, "net"))
        instrument, was_long = position.instrument, position.qty > 0
        at_ms, price = to_ms(at), exact(value)
        with localcontext(WIDE):
            cash = instrument.notional(position.qty, price).quantize(DIGITS)
            deal = self._closing(position, abs(position.qty), price, at_ms, "trade")
            pnl = position.close(deal, abs(position.qty), ZERO)
        sub_type = "172" if not price else ("170" if was_long else "171")
        facts = deal_facts(deal, pnl, ZERO) | {"ordId": "", "tradeId": "0", "execType": ""}
        self._retired(position)
        return self._book(Entry(instrument.settle, cash, at_ms, "3", sub_type, facts))

    def liquidate_isolated(self, inst_id: str, price: Number, at: datetime) -> int:
        """Liquidate an isolated position: it loses its margin, and the account nothing more."""
        position = self._open.pop((inst_id, "net"))
        with localcontext(WIDE):
            deal = self._closing(
                position, abs(position.qty), exact(price), to_ms(at), "liquidation"
            )
            pnl = position.close(deal, abs(position.qty), ZERO)
            position.liq_penalty += -position.margin - pnl
        facts = deal_facts(deal, pnl, ZERO) | {
            "posBalChg": text(-position.margin),
            "mgnMode": "isolated",
        }
        settle = position.instrument.settle
        bill_id = self._book(Entry(settle, ZERO, deal.at_ms, "5", deal.sub_type, facts))
        self._filled(deal, bill_id, pnl)
        self._retired(position)
        return bill_id

    def claw_back(self, inst_id: str, amount: Number, at: datetime) -> int:
        """Take a part of a profit back for what others could not pay. Return the billId."""
        ccy = self.instruments[inst_id].settle
        facts = {"instId": inst_id, "instType": self.instruments[inst_id].inst_type}
        return self._book(Entry(ccy, exact(amount), to_ms(at), "10", "108", facts))

    def convert(
        self, sold: str, amount: Number, bought: str, received: Number, at: datetime
    ) -> tuple[int, int]:
        """Convert one currency into another, as the venue does to cover a debt."""
        at_ms = to_ms(at)
        out = self._book(Entry(sold, -exact(amount), at_ms, "4", "115", {}))
        return out, self._book(Entry(bought, exact(received), at_ms, "4", "114", {}))

    def _force(
        self,
        inst_id: str,
        pos_side: PositionSide,
        qty: Decimal | None,
        price: Number,
        at: datetime,
        *,
        kind: DealKind,
        fee: Number = 0,
    ) -> int:
        position = self._open[inst_id, pos_side]
        size = abs(position.qty) if qty is None else qty
        with localcontext(WIDE):
            deal = self._closing(position, size, exact(price), to_ms(at), kind, exact(fee))
            return self._execute(deal, ZERO)

    def _closing(
        self,
        position: Position,
        qty: Decimal,
        price: Decimal,
        at_ms: int,
        kind: DealKind,
        fee: Decimal = ZERO,
    ) -> Deal:
        trade_id = self._next_trade_id(position.instrument.inst_id)
        return Deal(
            instrument=position.instrument,
            side="sell" if position.qty > 0 else "buy",
            qty=qty,
            price=price,
            at_ms=at_ms,
            fee=fee,
            trade_id=-trade_id if kind in {"liquidation", "adl"} else trade_id,
            ord_id=self._next_order_id(),
            exec_type="",
            pos_side=position.pos_side,
            kind=kind,
        )
