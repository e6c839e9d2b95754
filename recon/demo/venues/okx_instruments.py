"""The instruments of the loopback OKX: what one contract is worth, and in which coin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

Row = dict[str, object]
Number = Decimal | str | int
InstrumentType = Literal["SPOT", "SWAP", "FUTURES", "OPTION"]
ContractType = Literal["linear", "inverse", ""]

DIGITS = Decimal(1).scaleb(-16)
"""The last digit that the venue books: amounts of money have 16 decimals."""


def exact(value: Number) -> Decimal:
    """Return `value` as a finite Decimal. A float raises TypeError: its digits are lost already."""
    if isinstance(value, bool) or not isinstance(value, Decimal | str | int):
        raise TypeError(f"give Decimal, text or int, not {value!r}")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"not a finite number: {value!r}")
    return number


def text(number: Decimal) -> str:
    """Return `number` as the venue writes it: plain digits, no exponent, no trailing zeros."""
    plain = format(number, "f")
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return "0" if plain in {"-0", ""} else plain


@dataclass(frozen=True, slots=True)
class Instrument:
    """One tradable thing.

    `face` is ctVal times ctMult: coins a contract (linear), US dollars a contract (inverse), 1 for
    spot. Profit in the settlement currency is `qty * face * (worth(exit) - worth(entry))`.
    """

    inst_id: str
    inst_type: InstrumentType
    base: str
    quote: str
    ct_type: ContractType
    ct_val: Decimal
    ct_mult: Decimal
    lot: Decimal
    tick: Decimal

    @property
    def settle(self) -> str:
        """The currency that profit, fees and funding are booked in; the quote for spot."""
        is_in_coin = self.ct_type == "inverse" or self.inst_type == "OPTION"
        return self.base if is_in_coin else self.quote

    @property
    def face(self) -> Decimal:
        """What one contract stands for."""
        return self.ct_val * self.ct_mult

    @property
    def underlying(self) -> str:
        """The index behind a contract, for example BTC-USDT."""
        return f"{self.base}-{self.quote}"

    def worth(self, price: Decimal) -> Decimal:
        """Map a price to the scale on which profit is linear: the price, or minus its inverse."""
        return -1 / price if self.ct_type == "inverse" else price

    def price(self, worth: Decimal) -> Decimal:
        """Map back from `worth` to a price."""
        return -1 / worth if self.ct_type == "inverse" else worth

    def notional(self, qty: Decimal, price: Decimal) -> Decimal:
        """Return the value of `qty` (same sign) in the settlement currency."""
        value = qty * self.face
        return value / price if self.ct_type == "inverse" else value * price

    def row(self) -> Row:
        """Return the instrument as `public/instruments` shows it."""
        return _instrument_row(self)


def swap(inst_id: str, ct_val: Number, ct_mult: Number = 1, lot: Number = "0.01") -> Instrument:
    """Make a perpetual, inverse where its quote is USD, linear otherwise."""
    base, quote, _ = inst_id.split("-")
    return Instrument(
        inst_id=inst_id,
        inst_type="SWAP",
        base=base,
        quote=quote,
        ct_type="inverse" if quote == "USD" else "linear",
        ct_val=exact(ct_val),
        ct_mult=exact(ct_mult),
        lot=exact(lot),
        tick=Decimal("0.01"),
    )


def future(inst_id: str, ct_val: Number, ct_mult: Number = 1, lot: Number = 1) -> Instrument:
    """Make a dated future, for example BTC-USD-260626; inverse where its quote is USD."""
    base, quote, _ = inst_id.split("-")
    terms = swap(f"{base}-{quote}-SWAP", ct_val, ct_mult, lot)
    return replace(terms, inst_id=inst_id, inst_type="FUTURES")


def option(inst_id: str, ct_mult: Number = "0.01") -> Instrument:
    """Make an option on one coin a contract times `ct_mult`; its premium is paid in that coin."""
    base, quote, *_ = inst_id.split("-")
    return Instrument(
        inst_id,
        "OPTION",
        base,
        quote,
        "",
        Decimal(1),
        exact(ct_mult),
        Decimal(1),
        Decimal("0.0001"),
    )


def spot(inst_id: str, lot: Number = "0.000001") -> Instrument:
    """Make a spot pair."""
    base, quote = inst_id.split("-")
    one = Decimal(1)
    return Instrument(inst_id, "SPOT", base, quote, "", one, one, exact(lot), Decimal("0.01"))


DEFAULT_INSTRUMENTS = (
    swap("BTC-USDT-SWAP", "0.01"),
    swap("ETH-USDT-SWAP", "0.1"),
    swap("SOL-USDT-SWAP", 1),
    swap("BTC-USD-SWAP", 100, lot=1),
    spot("LTC-USDT"),
)


def _instrument_row(instrument: Instrument) -> Row:
    is_swap = instrument.inst_type != "SPOT"
    face_ccy = instrument.quote if instrument.ct_type == "inverse" else instrument.base
    row: Row = dict.fromkeys(_EMPTY_TERMS, "")
    row |= dict.fromkeys(_SIZE_LIMITS, "100000000")
    row |= {
        "baseCcy": "" if is_swap else instrument.base,
        "category": "1",
        "ctMult": text(instrument.ct_mult) if is_swap else "",
        "ctType": instrument.ct_type,
        "ctVal": text(instrument.ct_val) if is_swap else "",
        "ctValCcy": face_ccy if is_swap else "",
        "futureSettlement": False,
        "instFamily": instrument.underlying if is_swap else "",
        "instId": instrument.inst_id,
        # The one identifier that the venue sends as a JSON number.
        "instIdCode": 10_000 + sum(instrument.inst_id.encode()),
        "instType": instrument.inst_type,
        "lever": "100" if is_swap else "",
        "listTime": "1577836800000",
        "lotSz": text(instrument.lot),
        "minSz": text(instrument.lot),
        "quoteCcy": "" if is_swap else instrument.quote,
        "ruleType": "normal",
        "settleCcy": instrument.settle if is_swap else "",
        "state": "live",
        "tickSz": text(instrument.tick),
        "tradeQuoteCcyList": [] if is_swap else [instrument.quote],
        "uly": instrument.underlying if is_swap else "",
    }
    return row


_EMPTY_TERMS = (
    *("alias", "auctionEndTime", "contTdSwTime", "expTime", "openType", "optType"),
    *("posLmtAmt", "posLmtPct", "preMktSwTime", "stk", "maxMktAmt", "maxPlatOILmt"),
)
_SIZE_LIMITS = (
    *("maxIcebergSz", "maxLmtAmt", "maxLmtSz", "maxMktSz"),
    *("maxStopSz", "maxTriggerSz", "maxTwapSz"),
)
