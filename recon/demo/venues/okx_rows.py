"""The rows of OKX's answers, with every key that the venue sends. All numbers are text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from recon.demo.venues.okx_instruments import DIGITS, Row, text
from recon.demo.venues.okx_position import LEVERAGE, Deal, Position


def fill_row(deal: Deal, bill_id: int, pnl: Decimal, fee_rate: Decimal) -> Row:
    """Return the deal as `trade/fills` shows it. `pnl` is 0 unless the deal closes something."""
    is_spot = deal.instrument.inst_type == "SPOT"
    mark = "" if is_spot else text(deal.price)
    return {
        "instType": deal.inst_type,
        "instId": deal.instrument.inst_id,
        "tradeId": str(deal.trade_id),
        "ordId": deal.ord_id,
        "clOrdId": deal.cl_ord_id,
        "billId": str(bill_id),
        "subType": deal.sub_type,
        "tag": deal.tag,
        "fillPx": text(deal.price),
        "fillSz": text(deal.qty),
        "fillIdxPx": mark,
        "fillPnl": text(pnl),
        "fillPxVol": "",
        "fillPxUsd": "",
        "fillMarkVol": "",
        "fillFwdPx": "",
        "fillMarkPx": mark,
        "side": deal.side,
        "posSide": deal.pos_side,
        "execType": deal.exec_type,
        "feeCcy": deal.fee_currency,
        "fee": text(deal.fee),
        "feeRate": text(fee_rate) if is_spot else "",
        "fillTime": str(deal.at_ms - 1),
        "ts": str(deal.at_ms),
        "tradeQuoteCcy": deal.instrument.quote if is_spot else "",
    }


def order_row(deal: Deal, before: Row | None, state: str) -> Row:
    """Return the deal's order as `trade/orders-history` shows it; `before` is it until this deal.

    An order that a stop or another algo order placed has no clOrdId of its own: it names that one.
    """
    row = before or {
        **dict.fromkeys(_UNUSED_OF_ORDER, ""),
        "accFillSz": "0",
        "algoClOrdId": deal.algo_cl_ord_id,
        "algoId": "77001" if deal.algo_cl_ord_id else "",
        "attachAlgoOrds": [],
        "cTime": str(deal.at_ms - PLACED_BEFORE_MS),
        "category": {"trade": "normal", "liquidation": "full_liquidation"}.get(
            deal.kind, deal.kind
        ),
        "clOrdId": deal.cl_ord_id,
        "fee": "0",
        "feeCcy": deal.fee_currency,
        "instId": deal.instrument.inst_id,
        "instType": deal.inst_type,
        "lever": text(LEVERAGE),
        "ordId": deal.ord_id,
        "ordType": "market",
        "pnl": "0",
        "posSide": deal.pos_side,
        "rebate": "0",
        "reduceOnly": "false",
        "side": deal.side,
        "source": "7" if deal.algo_cl_ord_id else "",
        "tag": deal.tag,
        "tdMode": deal.mgn_mode,
    }
    filled = text(Decimal(str(row["accFillSz"])) + deal.qty)
    return row | {
        "accFillSz": filled,
        "avgPx": text(deal.price),
        "fee": text(Decimal(str(row["fee"])) + deal.fee),
        "fillPx": text(deal.price),
        "fillSz": text(deal.qty),
        "fillTime": str(deal.at_ms),
        "state": state,
        "sz": filled,
        "tradeId": str(deal.trade_id),
        "uTime": str(deal.at_ms),
    }


PLACED_BEFORE_MS = 150
"""How long before its first fill an order was placed."""
_UNUSED_OF_ORDER = (
    *("algoId", "attachAlgoClOrdId", "cancelSource", "cancelSourceReason", "ccy", "px", "pxType"),
    *("pxUsd", "pxVol", "quickMgnType", "rebateCcy", "slOrdPx", "slTriggerPx", "stpId", "stpMode"),
    *("tgtCcy", "tpOrdPx", "tpTriggerPx"),
)
_NO_ORDER: Mapping[str, str] = {
    "clOrdId": "",
    "execType": "",
    "fee": "",
    "fillFwdPx": "",
    "fillIdxPx": "",
    "fillMarkPx": "",
    "fillMarkVol": "",
    "fillPxUsd": "",
    "fillPxVol": "",
    "from": "",
    "instId": "",
    "instType": "",
    "interest": "0",
    "mgnMode": "",
    "notes": "",
    "ordId": "",
    "pnl": "",
    "posBal": "",
    "posBalChg": "",
    "px": "",
    "tag": "",
    "to": "",
    "tradeId": "0",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement of one currency. `change` is signed as cash; `facts` are the row's own keys."""

    ccy: str
    change: Decimal
    at_ms: int
    type: str
    sub_type: str
    facts: Mapping[str, str]


def bill_row(entry: Entry, bill_id: int, balance: Decimal) -> Row:
    """Return the movement as `account/bills` shows it. `balance` is what it left behind."""
    return {
        **_NO_ORDER,
        "billId": str(bill_id),
        "ccy": entry.ccy,
        "bal": text(balance),
        "balChg": text(entry.change),
        "sz": text(abs(entry.change)),
        "type": entry.type,
        "subType": entry.sub_type,
        "fillTime": str(entry.at_ms - 1),
        "ts": str(entry.at_ms),
        **entry.facts,
    }


def deal_facts(deal: Deal, pnl: Decimal, fee: Decimal) -> dict[str, str]:
    """Return the keys by which a bill tells its deal; `pnl` and `fee` are this leg's."""
    return {
        "clOrdId": deal.cl_ord_id,
        "execType": deal.exec_type,
        "fee": text(fee),
        "instId": deal.instrument.inst_id,
        "instType": deal.inst_type,
        "mgnMode": "cash" if deal.inst_type == "SPOT" else deal.mgn_mode,
        "ordId": deal.ord_id,
        "pnl": text(pnl),
        "posBal": "0",
        "posBalChg": "0",
        "px": text(deal.price),
        "sz": text(deal.qty),
        "tag": deal.tag,
        "tradeId": str(deal.trade_id),
    }


def position_row(position: Position, mark: Decimal, last: Decimal) -> Row:
    """Return an open position as `account/positions` shows it. Call within the wide context."""
    instrument = position.instrument
    is_net = position.pos_side == "net"
    notional = abs(instrument.notional(position.qty, mark))
    margin = notional / LEVERAGE
    upl = position.unrealised(mark)
    dollars = abs(position.qty) * instrument.face
    size = text(position.qty if is_net else abs(position.qty))
    row: Row = dict.fromkeys(_UNUSED_OF_POSITION, "")
    row |= _realised_parts(position)
    row |= {
        "adl": "1",
        "availPos": size,
        "avgPx": text(position.average_price()),
        "cTime": str(position.opened_ms),
        "ccy": instrument.settle,
        "closeOrderAlgo": [],
        "idxPx": text(mark),
        "imr": _booked(margin),
        "instId": instrument.inst_id,
        "instType": instrument.inst_type,
        "last": text(last),
        "lever": text(LEVERAGE),
        "markPx": text(mark),
        "mgnMode": position.mgn_mode,
        "mgnRatio": "1000",
        "mmr": _booked(margin / LEVERAGE),
        "nonSettleAvgPx": text(position.unsettled_price()) if is_future(position) else "",
        "notionalUsd": _booked(dollars if instrument.ct_type == "inverse" else notional),
        "pos": size,
        "posId": position.pos_id,
        "posSide": position.pos_side,
        "tradeId": str(position.last_trade_id),
        "uTime": str(position.updated_ms),
        "upl": text(upl),
        "uplLastPx": text(position.unrealised(last)),
        "uplRatio": _booked(upl / margin),
        "uplRatioLastPx": _booked(position.unrealised(last) / margin),
        "usdPx": "1",
    }
    return row


def closed_position_row(position: Position) -> Row:
    """Return a position, closed at least in part, as `account/positions-history` shows it."""
    instrument = position.instrument
    margin = instrument.notional(position.max_qty, position.average_entry()) / LEVERAGE
    row = _realised_parts(position)
    row |= {
        "cTime": str(position.opened_ms),
        "ccy": instrument.settle,
        "closeAvgPx": text(position.average_exit()),
        "closeTotalPos": text(position.closed_qty),
        "direction": position.direction,
        "instId": instrument.inst_id,
        "instType": instrument.inst_type,
        "lever": text(LEVERAGE),
        "mgnMode": position.mgn_mode,
        "nonSettleAvgPx": "",
        "openAvgPx": text(position.average_entry()),
        "openMaxPos": text(position.max_qty),
        "pnlRatio": _booked(position.realised / margin),
        "posId": position.pos_id,
        "posSide": position.pos_side,
        "triggerPx": "",
        "type": position.close_type,
        "uTime": str(position.updated_ms),
        "uly": instrument.underlying,
    }
    return row


def _realised_parts(position: Position) -> Row:
    return {
        "fee": text(position.fee),
        "fundingFee": text(position.funding),
        "liqPenalty": text(position.liq_penalty),
        "pnl": text(position.pnl),
        "realizedPnl": text(position.realised),
        "settledPnl": text(position.settled) if is_future(position) else "",
    }


def is_future(position: Position) -> bool:
    """Say whether a position is settled each day: only a dated future held cross is."""
    return position.instrument.inst_type == "FUTURES" and position.mgn_mode == "cross"


def _booked(amount: Decimal) -> str:
    return text(amount.quantize(DIGITS))


_UNUSED_OF_POSITION = (
    *("baseBal", "baseBorrowed", "baseInterest", "bePx", "deltaBS", "deltaPA", "gammaBS"),
    *("gammaPA", "interest", "liab", "liabCcy", "liqPx", "margin", "optVal"),
    *("pendingCloseOrdLiabVal", "posCcy", "quoteBal", "quoteBorrowed", "quoteInterest"),
    *("spotInUseAmt", "spotInUseCcy", "thetaBS", "thetaPA", "vegaBS", "vegaPA"),
)
