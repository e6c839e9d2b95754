"""What the loopback OKX says of the account as a whole: its configuration and its balance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal, localcontext

from recon.demo.venues.okx_account import OkxAccount, Profile, to_ms
from recon.demo.venues.okx_instruments import DIGITS, Row, text
from recon.demo.venues.okx_position import WIDE, ZERO


def config_rows(profile: Profile) -> list[Row]:
    """Return the one row of `account/config`."""
    unused = ("ctIsoMode", "mgnIsoMode", "greeksType", "opAuth", "spotOffsetType", "stgyType")
    row: Row = dict.fromkeys(unused, "")
    row |= {
        "acctLv": profile.acct_lv,
        "autoLoan": False,
        "enableSpotBorrow": False,
        "ip": profile.ip,
        "kycLv": "2",
        "label": profile.label,
        "level": "Lv1",
        "levelTmp": "",
        "mainUid": profile.uid,
        "perm": profile.perm,
        "posMode": profile.pos_mode,
        "roleType": "0",
        "specificInsts": [],
        "spotRoleType": "0",
        "type": "0",
        "uid": profile.uid,
    }
    return [row]


def balance_rows(account: OkxAccount, currencies: Iterable[str] = ()) -> list[Row]:
    """Return the one row of `account/balance`, its details for `currencies`, or for all."""
    wanted = set(currencies)
    gains: defaultdict[str, Decimal] = defaultdict(Decimal)
    worths: defaultdict[str, Decimal] = defaultdict(Decimal)
    with localcontext(WIDE):
        for position, mark in account.open_positions():
            gains[position.instrument.settle] += position.unrealised(mark)
            worths[position.instrument.settle] += position.equity(mark)
    total = ZERO
    details: list[Row] = []
    for ccy, (balance, at_ms) in account.cash().items():
        gain = gains[ccy]
        with localcontext(WIDE):
            equity = balance + worths[ccy]
            dollars = (equity * account.dollars(ccy)).quantize(DIGITS)
            total += dollars
        if not wanted or ccy in wanted:
            details.append(_balance_detail(ccy, balance, equity, gain, dollars, at_ms))
    row: Row = dict.fromkeys(_UNUSED_OF_BALANCE, "")
    row |= {
        "details": details,
        "isoEq": "0",
        "totalEq": text(total),
        "uTime": str(to_ms(account.now())),
    }
    return [row]


def _balance_detail(
    ccy: str, balance: Decimal, equity: Decimal, gain: Decimal, dollars: Decimal, at_ms: int
) -> Row:
    row: Row = dict.fromkeys(_UNUSED_OF_DETAIL, "")
    row |= dict.fromkeys(_ZERO_OF_DETAIL, "0")
    row |= {
        "availBal": text(balance),
        "availEq": text(equity),
        "cashBal": text(balance),
        "ccy": ccy,
        "collateralEnabled": False,
        "disEq": text(dollars),
        "eq": text(equity),
        "eqUsd": text(dollars),
        "uTime": str(at_ms),
        "upl": text(gain),
    }
    return row


_UNUSED_OF_BALANCE = (
    *("adjEq", "availEq", "borrowFroz", "imr", "mgnRatio", "mmr", "notionalUsd"),
    *("notionalUsdForBorrow", "notionalUsdForFutures", "notionalUsdForOption"),
    *("notionalUsdForSwap", "ordFroz", "upl"),
)
_UNUSED_OF_DETAIL = (
    *("accAvgPx", "borrowFroz", "clSpotInUseAmt", "crossLiab", "interest", "isoLiab", "liab"),
    *("maxLoan", "maxSpotInUseAmt", "mgnRatio", "openAvgPx", "spotBal", "spotInUseAmt"),
    *("spotUpl", "spotUplRatio", "totalPnl", "totalPnlRatio", "uplLiab"),
)
_ZERO_OF_DETAIL = (
    *("fixedBal", "frozenBal", "imr", "isoEq", "isoUpl", "mmr", "notionalLever", "ordFrozen"),
    *("rewardBal", "smtSyncEq", "spotCopyTradingEq", "spotIsoBal", "stgyEq", "twap"),
)
