"""The account behind the loopback OKX: one exact book of fills, bills, positions and balances.

Everything that the server answers comes from here, so that all of it agrees: a currency's bills
chain (`bal[n] = bal[n-1] + balChg[n]`) to its cashBal, each trade's bill moves pnl + fee, and a
position's realizedPnl is the sum of its parts. Profit is booked by average cost to 16 decimals.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext

from recon.demo.venues.okx_instruments import (
    DEFAULT_INSTRUMENTS,
    DIGITS,
    Instrument,
    Number,
    Row,
    exact,
    text,
)
from recon.demo.venues.okx_position import (
    WIDE,
    ZERO,
    Deal,
    ExecType,
    MarginMode,
    Position,
    PositionSide,
    Side,
)
from recon.demo.venues.okx_rows import (
    Entry,
    bill_row,
    closed_position_row,
    deal_facts,
    fill_row,
    order_row,
    position_row,
)
from recon.demo.venues.okx_tape import Tape

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FEE_RATES: Mapping[str, Decimal] = {"T": Decimal("-0.0005"), "M": Decimal("-0.0002"), "": ZERO}

# Above 2**53: a reader that lets an id become a float sees neighbours fall together.
FIRST_BILL_ID = 700_000_000_000_000_001
FIRST_ORDER_ID = 1_300_000_000_000_000_001
RESTING = "partially_filled"
# The venue gives the same posId again where a position is opened anew within 30 days.
POSITION_ID_LIFE_MS = 30 * 24 * 3600 * 1000


def to_ms(at: datetime) -> int:
    """Return the whole milliseconds from the epoch to `at`, which names its zone (ValueError)."""
    if at.tzinfo is None:
        raise ValueError(f"a time without a zone: {at!r}")
    return (at - EPOCH) // timedelta(milliseconds=1)


def utc_now() -> datetime:
    """Return the real time."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Profile:
    """What `account/config` says. `perm` is comma-separated, `ip` empty without an allow-list."""

    perm: str = "read_only"
    pos_mode: str = "net_mode"
    acct_lv: str = "2"
    uid: str = "510000000000000001"
    ip: str = "127.0.0.1"
    label: str = "recon"


@dataclass(slots=True)
class OkxAccount:
    """One OKX account. `now` is the end of the three-day, seven-day and three-month windows.

    Events may be given out of order in time: ids and balances follow the order of the calls, as
    those of a late row do. Money is given as Decimal, text or int, never float.
    """

    now: Callable[[], datetime] = utc_now
    profile: Profile = field(default_factory=Profile)
    instruments: dict[str, Instrument] = field(
        default_factory=lambda: {one.inst_id: one for one in DEFAULT_INSTRUMENTS}
    )
    closes: dict[str, Callable[[int], Decimal | None]] = field(default_factory=dict)
    """By pair, the close of the minute that begins at an instant, ms; None where nothing traded."""
    fills: Tape = field(default_factory=Tape)
    bills: Tape = field(default_factory=Tape)
    _orders: dict[str, Row] = field(default_factory=dict)
    _balances: dict[str, Decimal] = field(default_factory=dict)
    _balance_times_ms: dict[str, int] = field(default_factory=dict)
    _open: dict[tuple[str, str], Position] = field(default_factory=dict)
    _closed: list[tuple[int, Row]] = field(default_factory=list)
    _position_ids: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    _marks: dict[str, Decimal] = field(default_factory=dict)
    _lasts: dict[str, Decimal] = field(default_factory=dict)
    _trade_counts: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _order_count: int = 0

    def add_instrument(self, instrument: Instrument) -> None:
        """List one more instrument, or list one with other terms."""
        self.instruments[instrument.inst_id] = instrument

    def mark(self, inst_id: str, price: Number) -> None:
        """Set an instrument's mark price, which is its last traded price until then."""
        self._marks[inst_id] = exact(price)

    def deposit(self, ccy: str, amount: Number, at: datetime) -> int:
        """Book a transfer in, or out where `amount` is negative. Return its billId."""
        change = exact(amount)
        is_in = change > 0
        facts = {"from": "6" if is_in else "18", "to": "18" if is_in else "6"}
        return self._book(Entry(ccy, change, to_ms(at), "1", "11" if is_in else "12", facts))

    def entry(self, ccy: str, amount: Number, at: datetime, bill_type: str, sub_type: str) -> int:
        """Book any other movement of cash, for example interest (7, 9). Return its billId."""
        return self._book(Entry(ccy, exact(amount), to_ms(at), bill_type, sub_type, {}))

    def trade(  # noqa: PLR0913 — an execution has that many facts, each named by the caller
        self,
        inst_id: str,
        side: Side,
        contracts: Number,
        price: Number,
        at: datetime,
        *,
        fee: Number | None = None,
        fee_rate: Number | None = None,
        ord_id: str = "",
        cl_ord_id: str = "",
        algo_cl_ord_id: str = "",
        is_resting: bool = False,
        tag: str = "",
        exec_type: ExecType = "T",
        pos_side: PositionSide = "net",
        mgn_mode: MarginMode = "cross",
        fee_ccy: str = "",
        is_on_margin: bool = False,
    ) -> int:
        """Fill an order and return the billId. `contracts` are coins for spot.

        `fee_ccy` names a third coin to charge the fee in, with an entry of its own. `is_on_margin`
        trades a spot pair with coins that may be borrowed, as multi-currency mode does.
        `algo_cl_ord_id` names the stop that placed the order. `is_resting` leaves the rest of the
        order in the book, until the next fill of the same `ord_id`.

        `fee` and `fee_rate` are signed as cash: negative is charged. Without either the rate is
        -0.0005 for a taker, -0.0002 for a maker. ValueError where the position mode forbids it.
        """
        instrument = self.instruments[inst_id]
        rate = FEE_RATES[exec_type] if fee_rate is None else exact(fee_rate)
        deal = Deal(
            instrument=instrument,
            side=side,
            qty=exact(contracts),
            price=exact(price),
            at_ms=to_ms(at),
            fee=ZERO,
            trade_id=self._next_trade_id(inst_id),
            ord_id=ord_id or self._next_order_id(),
            cl_ord_id=cl_ord_id,
            algo_cl_ord_id=algo_cl_ord_id,
            tag=tag,
            exec_type=exec_type,
            pos_side=pos_side,
            mgn_mode=mgn_mode,
            third_coin=fee_ccy,
            is_on_margin=is_on_margin,
        )
        self._check(deal)
        with localcontext(WIDE):
            charged = _fee(deal, rate) if fee is None else exact(fee)
            bill_id = self._execute(replace(deal, fee=charged), rate)
        if is_resting:
            self._orders[deal.ord_id]["state"] = RESTING
        return bill_id

    def liquidate(
        self,
        inst_id: str,
        price: Number,
        at: datetime,
        *,
        penalty: Number = 0,
        pos_side: PositionSide = "net",
    ) -> int:
        """Let the venue close a whole position, with a negative tradeId. Return the fill's billId.

        `penalty` is signed as cash; it has a bill of its own, of the same type, with pnl and fee 0.
        """
        position = self._open[inst_id, pos_side]
        deal = Deal(
            instrument=self.instruments[inst_id],
            side="sell" if position.qty > 0 else "buy",
            qty=abs(position.qty),
            price=exact(price),
            at_ms=to_ms(at),
            fee=ZERO,
            trade_id=-self._next_trade_id(inst_id),
            ord_id=self._next_order_id(),
            exec_type="",
            pos_side=pos_side,
            kind="liquidation",
        )
        with localcontext(WIDE):
            charge = exact(penalty)
            position.liq_penalty += charge
            bill_id = self._execute(deal, ZERO)
            if charge:
                facts = deal_facts(deal, ZERO, ZERO)
                ccy = deal.instrument.settle
                self._book(Entry(ccy, charge, deal.at_ms, deal.bill_type, deal.sub_type, facts))
        return bill_id

    def funding(
        self,
        inst_id: str,
        at: datetime,
        *,
        amount: Number | None = None,
        rate: Number | None = None,
        pos_side: PositionSide = "net",
    ) -> int:
        """Book funding and return its billId: `amount` signed as cash, or what `rate` comes to.

        With a positive rate who is long pays. ValueError unless exactly one of them is given, or
        where a rate has no position to act on.
        """
        instrument = self.instruments[inst_id]
        position = self._open.get((inst_id, pos_side))
        if (amount is None) == (rate is None):
            raise ValueError("give amount or rate")
        with localcontext(WIDE):
            if amount is not None:
                change = exact(amount)
            elif rate is not None and position is not None:
                value = instrument.notional(position.qty, self.mark_price(inst_id))
                change = (-value * exact(rate)).quantize(DIGITS)
            else:
                raise ValueError(f"no position in {inst_id} to charge a rate on")
            if position is not None:
                position.funding += change
                position.updated_ms = to_ms(at)
                if position.mgn_mode == "isolated":
                    position.margin += change
            held = ZERO if position is None else abs(position.qty)
        mode = "cross" if position is None else position.mgn_mode
        return self._book_funding(instrument, change, to_ms(at), held, mode)

    def mark_price(self, inst_id: str) -> Decimal:
        """Return the mark, else the last traded price. KeyError where there is neither."""
        return self._marks[inst_id] if inst_id in self._marks else self._lasts[inst_id]

    def position_rows(self) -> list[Row]:
        """Return what is open now."""
        with localcontext(WIDE):
            return [
                position_row(position, self.mark_price(inst_id), self._lasts[inst_id])
                for (inst_id, _), position in self._open.items()
            ]

    def closed_positions(self) -> Tape:
        """Return every position that was closed, wholly or in part, in ascending order of uTime."""
        with localcontext(WIDE):
            partly = [
                (position.updated_ms, closed_position_row(position))
                for position in self._open.values()
                if position.closed_qty
            ]
        ordered = sorted([*self._closed, *partly], key=lambda one: one[0])
        times_ms = [at_ms for at_ms, _ in ordered]
        return Tape(ids=times_ms, times_ms=times_ms, rows=[row for _, row in ordered])

    def orders(self, *, is_resting: bool, since_ms: int = 0) -> Tape:
        """Return the orders that rest, or those that ended since then, in ascending order of id."""
        rows = [
            row
            for row in self._orders.values()
            if (row["state"] == RESTING) == is_resting and int(str(row["uTime"])) >= since_ms
        ]
        rows.sort(key=lambda row: int(str(row["ordId"])))
        return Tape(
            [int(str(row["ordId"])) for row in rows],
            [int(str(row["cTime"])) for row in rows],
            list(rows),
        )

    def cash(self) -> dict[str, tuple[Decimal, int]]:
        """Return by currency the balance that its last bill left, and the time of that bill, ms."""
        return {
            ccy: (balance, self._balance_times_ms[ccy]) for ccy, balance in self._balances.items()
        }

    def open_positions(self) -> list[tuple[Position, Decimal]]:
        """Return what is open now, each with its mark."""
        return [(one, self.mark_price(inst_id)) for (inst_id, _), one in self._open.items()]

    def dollars(self, ccy: str) -> Decimal:
        """Return the price of a coin in US dollars by some instrument's mark; 1 where unknown."""
        for instrument in self.instruments.values():
            known = instrument.inst_id in self._marks or instrument.inst_id in self._lasts
            if known and instrument.base == ccy:
                return self.mark_price(instrument.inst_id)
        return Decimal(1)

    def _check(self, deal: Deal) -> None:
        if deal.qty <= 0 or deal.price <= 0:
            raise ValueError(f"quantity and price are positive: {deal.qty} at {deal.price}")
        if deal.instrument.inst_type == "SPOT":
            if deal.pos_side != "net":
                raise ValueError("spot has no position side")
            return
        if (deal.pos_side == "net") != (self.profile.pos_mode == "net_mode"):
            raise ValueError(f"posSide {deal.pos_side} in {self.profile.pos_mode}")
        if deal.sub_type in {"5", "6"}:
            position = self._open.get((deal.instrument.inst_id, deal.pos_side))
            if position is None or abs(position.qty) < deal.qty:
                raise ValueError(f"closes more than is held {deal.pos_side}")

    def _execute(self, deal: Deal, fee_rate: Decimal) -> int:
        instrument = deal.instrument
        self._lasts[instrument.inst_id] = deal.price
        if instrument.inst_type == "SPOT":
            pnl, bill_id = ZERO, self._exchange(deal)
        else:
            pnl, bill_id = self._trade_contract(deal)
        self._filled(deal, bill_id, pnl, fee_rate)
        return bill_id

    def _filled(self, deal: Deal, bill_id: int, pnl: Decimal, fee_rate: Decimal = ZERO) -> None:
        self.fills.append(bill_id, deal.at_ms, fill_row(deal, bill_id, pnl, fee_rate))
        if deal.ord_id:
            before = self._orders.get(deal.ord_id)
            self._orders[deal.ord_id] = order_row(deal, before, "filled")

    def _trade_contract(self, deal: Deal) -> tuple[Decimal, int]:
        """Move the position and the cash; return the profit that was booked, and the billId."""
        key = (deal.instrument.inst_id, deal.pos_side)
        before = self._open.get(key)
        margin_before = ZERO if before is None else before.margin
        fee = ZERO if deal.third_coin else deal.fee
        pnl = self._move_position(replace(deal, fee=fee))
        after = self._open.get(key)
        cash = pnl
        if (
            deal.instrument.inst_type == "OPTION"
        ):  # the premium is paid, and what it buys is worth it
            cash = -deal.instrument.notional(deal.signed_qty, deal.price).quantize(DIGITS)
        margin = ZERO
        if deal.mgn_mode == "isolated":
            margin = (ZERO if after is None else after.isolate(deal.price)) - margin_before
        facts = deal_facts(deal, pnl, fee) | {"posBalChg": text(margin)}
        bill_id = self._book(
            Entry(
                *(deal.instrument.settle, cash + fee - margin, deal.at_ms),
                *(deal.bill_type, deal.sub_type, facts),
            )
        )
        if deal.third_coin:
            self._charge_apart(deal)
        return pnl, bill_id

    def _charge_apart(self, deal: Deal) -> None:
        facts = deal_facts(deal, ZERO, deal.fee) | {"sz": text(abs(deal.fee))}
        self._book(
            Entry(deal.third_coin, deal.fee, deal.at_ms, deal.bill_type, deal.sub_type, facts)
        )

    def _exchange(self, deal: Deal) -> int:
        # One leg a currency, each told from its own side; the fill carries the first leg's billId.
        base, quote = deal.signed_qty, -deal.instrument.notional(deal.signed_qty, deal.price)
        legs = ((deal.instrument.base, base), (deal.instrument.quote, quote.quantize(DIGITS)))
        bill_ids = []
        for ccy, change in legs:
            fee = deal.fee if ccy == deal.fee_currency else ZERO
            facts = deal_facts(deal, ZERO, fee) | {"sz": text(abs(change))}
            sub_type = "1" if change > 0 else "2"
            bill_ids.append(self._book(Entry(ccy, change + fee, deal.at_ms, "2", sub_type, facts)))
        if deal.third_coin:
            self._charge_apart(deal)
        return bill_ids[0]

    def _move_position(self, deal: Deal) -> Decimal:
        """Close, open or turn a position; return the profit that closing booked."""
        key = (deal.instrument.inst_id, deal.pos_side)
        position = self._open.get(key)
        closing = ZERO if position is None else position.closable(deal.signed_qty)
        opening = deal.qty - closing
        # A deal through zero pays its fee in proportion to what it closes and what it opens.
        closing_fee = (deal.fee * closing / deal.qty).quantize(DIGITS) if opening else deal.fee
        pnl = ZERO
        if position is not None and closing:
            pnl = position.close(deal, closing, closing_fee)
            if not position.qty:
                self._retire(key, position)
                position = None
        if opening:
            if position is None:
                position = self._open_position(key, deal)
            position.open(deal, opening, deal.fee - closing_fee if closing else deal.fee)
        return pnl

    def _open_position(self, key: tuple[str, str], deal: Deal) -> Position:
        pos_id, closed_ms = self._position_ids.get(key, ("", -POSITION_ID_LIFE_MS))
        if not pos_id or deal.at_ms - closed_ms > POSITION_ID_LIFE_MS:
            pos_id = self._next_order_id()
        position = Position(
            instrument=deal.instrument,
            pos_id=pos_id,
            pos_side=deal.pos_side,
            direction="long" if deal.side == "buy" else "short",
            opened_ms=deal.at_ms,
            updated_ms=deal.at_ms,
        )
        self._open[key] = position
        return position

    def _retire(self, key: tuple[str, str], position: Position) -> None:
        del self._open[key]
        self._retired(position)

    def _retired(self, position: Position) -> None:
        """Note a position that is flat, and open no more."""
        key = (position.instrument.inst_id, position.pos_side)
        self._position_ids[key] = (position.pos_id, position.updated_ms)
        self._closed.append((position.updated_ms, closed_position_row(position)))

    def _book_funding(
        self,
        instrument: Instrument,
        change: Decimal,
        at_ms: int,
        held: Decimal,
        mgn_mode: MarginMode,
    ) -> int:
        mark = self._marks.get(instrument.inst_id, self._lasts.get(instrument.inst_id))
        facts = {
            "fee": "0",
            "instId": instrument.inst_id,
            "instType": instrument.inst_type,
            "mgnMode": mgn_mode,
            # The venue repeats the amount as pnl: who sums pnl over all types counts it as profit.
            "pnl": text(change),
            "posBal": "0",
            "posBalChg": "0",
            "px": "" if mark is None else text(mark),
            "sz": text(held),
        }
        sub_type = "173" if change < 0 else "174"
        moved = change
        if mgn_mode == "isolated":
            moved, facts["posBalChg"] = ZERO, text(change)
        return self._book(Entry(instrument.settle, moved, at_ms, "8", sub_type, facts))

    def _book(self, entry: Entry) -> int:
        with localcontext(WIDE):
            balance = self._balances.get(entry.ccy, ZERO) + entry.change
        self._balances[entry.ccy] = balance
        self._balance_times_ms[entry.ccy] = entry.at_ms
        bill_id = FIRST_BILL_ID + len(self.bills.ids)
        self.bills.append(bill_id, entry.at_ms, bill_row(entry, bill_id, balance))
        return bill_id

    def _next_trade_id(self, inst_id: str) -> int:
        # Counted by instrument, so that ids collide between instruments, as they do at the venue.
        self._trade_counts[inst_id] += 1
        return self._trade_counts[inst_id]

    def _next_order_id(self) -> str:
        self._order_count += 1
        return str(FIRST_ORDER_ID + self._order_count)


def _fee(deal: Deal, rate: Decimal) -> Decimal:
    if deal.fee_currency == deal.instrument.base and deal.instrument.inst_type == "SPOT":
        return (deal.qty * rate).quantize(DIGITS)
    return (deal.instrument.notional(deal.qty, deal.price) * rate).quantize(DIGITS)
