"""Assign the broker's fills to trades, so that a trade owns lots as a bot does. Pure.

When each fill of a bot has its trade as owner, the lots give three figures: the PnL of each trade,
the PnL of the fills in no trade, and the difference to the bot's PnL. They correspond to bots,
unowned and netting.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from recon.core.numbers import from_units, to_units
from recon.lots.book import split
from recon.lots.realise import Event

SEPARATOR = "\x00"
"""Separates bot and trade in an owner's name. Fills in no trade belong to the empty trade."""


class Trade(NamedTuple):
    """A trade that fills may belong to. `wants` is its quantity, in units; None if unknown."""

    bot: str
    trade_id: str
    side: str | None = None
    wants: int | None = None


class Owned(NamedTuple):
    """An event with its owner. `is_recorded` is False if no trade of the bot contains it."""

    event: Event
    is_recorded: bool


@dataclass(slots=True)
class _Share:
    """One owner's part of a fill. `qty` is signed, in units, less a fee taken in coin.

    `open_qty` is the quantity that is still open, if the part is in the rest.
    """

    number: int
    qty: int
    trade_id: str
    is_recorded: bool
    open_qty: int = 0


@dataclass(slots=True)
class _Book:
    """The positions of a bot's trades in one instrument and position side, and the rest."""

    shares: dict[int, list[_Share]] = field(default_factory=lambda: defaultdict(list))
    held: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    entered: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    of_trade: dict[str, list[_Share]] = field(default_factory=lambda: defaultdict(list))
    unnamed: set[str] = field(default_factory=set)
    """The trades whose whole entry was found in the rest."""
    wants: dict[str, int] = field(default_factory=dict)
    """The quantity of each trade, in units, if its row has one."""
    rest: deque[_Share] = field(default_factory=deque)
    """The open part of the rest: all of one side, the oldest first."""

    def fill(self, number: int, qty: int, trades: Sequence[Trade]) -> None:
        """Split one fill among its trades: first the parts that close, then those that open."""
        for place, trade in enumerate(trades):
            if not qty:
                return
            if trade.wants is not None:
                self.wants[trade.trade_id] = trade.wants
            part = self._part(trade, qty, is_last=place == len(trades) - 1)
            if part:
                self._own(_Share(number, part, trade.trade_id, is_recorded=True))
                self.held[trade.trade_id] += part
                qty -= part
        if qty:
            self._add_to_rest(_Share(number, qty, "", bool(trades), qty))

    def close_open_trades(self) -> None:
        """Close open trades with fills in no trade, the oldest first."""
        side = _sign(self.rest[0].open_qty) if self.rest else 0
        left = deque(
            sorted(
                (self._open_from(name, held), name)
                for name, held in self.held.items()
                if held * side < 0
            )
        )
        for share in self.rest:
            while left and share.open_qty and left[0][0] < share.number:
                name = left[0][1]
                part = side * min(abs(self.held[name]), abs(share.open_qty))
                self._give(share, part, name, is_recorded=share.is_recorded)
                self.held[name] += part
                if not self.held[name]:
                    left.popleft()

    def _open_from(self, name: str, left: int) -> int:
        """Return the number of the fill since which a trade held its remaining quantity or more."""
        held, since = left, 0
        for share in reversed(self.of_trade[name]):
            if held * left < left * left:
                return since
            since, held = share.number, held - share.qty
        return since

    def _part(self, trade: Trade, qty: int, *, is_last: bool) -> int:
        """Return the signed quantity of a fill that belongs to one trade."""
        name = trade.trade_id
        held = self.held[name]
        if held * qty < 0:
            return _sign(qty) * min(abs(held), abs(qty))
        room = abs(qty)
        if trade.wants is not None and not is_last:
            room = min(room, max(0, trade.wants - self.entered[name]))
        is_exit = trade.side is not None and (trade.side == "long") != (qty > 0)
        if is_exit and not held:
            is_new = not self.entered[name]
            if is_new or name in self.unnamed:
                found = self._entry_from_rest(name, _sign(qty) * room)
                found += self._entry_from_others(name, _sign(qty) * room - found)
                if found or not is_new:
                    return found
            elif not is_new:
                return 0  # it is closed already
        self.entered[name] += room
        self.unnamed.discard(name)
        return _sign(qty) * room

    def _entry_from_rest(self, trade_id: str, qty: int) -> int:
        """Move open quantity of the rest to a trade whose entry is not named, the oldest first."""
        taken = 0
        while self.rest and self.rest[0].open_qty * qty < 0 and abs(taken) < abs(qty):
            share = self.rest[0]
            part = -_sign(qty) * min(abs(share.open_qty), abs(qty) - abs(taken))
            self._give(share, part, trade_id, is_recorded=True)
            taken += part
            if not share.open_qty:
                self.rest.popleft()
        if taken:
            self.unnamed.add(trade_id)
            self.entered[trade_id] += abs(taken)
            self.held[trade_id] += taken
        return -taken

    def _entry_from_others(self, trade_id: str, qty: int) -> int:
        """Move excess quantity of other trades to a trade whose entry is not named.

        So trades share a position whose whole entry is named by the first trade that closed a part.
        """
        taken = 0
        for other, wants in self.wants.items():
            spare = min(self.entered[other] - wants, abs(self.held[other]))
            if other == trade_id or self.held[other] * qty >= 0 or spare <= 0:
                continue
            for share in reversed(self.of_trade[other]):
                part = -_sign(qty) * min(abs(share.qty), spare, abs(qty) - abs(taken))
                if share.qty * qty < 0 and part:
                    self._give(share, part, trade_id, is_recorded=True)
                    self.held[other] -= part
                    self.entered[other] -= abs(part)
                    spare, taken = spare - abs(part), taken + part
        if taken:
            self.unnamed.add(trade_id)
            self.entered[trade_id] += abs(taken)
            self.held[trade_id] += taken
        return -taken

    def _give(self, share: _Share, part: int, trade_id: str, *, is_recorded: bool) -> None:
        share.qty -= part
        share.open_qty -= part
        self._own(_Share(share.number, part, trade_id, is_recorded))

    def _own(self, share: _Share) -> None:
        self.shares[share.number].append(share)
        self.of_trade[share.trade_id].append(share)

    def _add_to_rest(self, share: _Share) -> None:
        while self.rest and self.rest[0].open_qty * share.open_qty < 0:
            oldest = self.rest[0]
            part = min(abs(oldest.open_qty), abs(share.open_qty))
            oldest.open_qty -= _sign(oldest.open_qty) * part
            share.open_qty -= _sign(share.open_qty) * part
            if not oldest.open_qty:
                self.rest.popleft()
        self.shares[share.number].append(share)
        if share.open_qty:
            self.rest.append(share)


def assign_to_trades(
    events: Sequence[Event],
    trades_of: Mapping[tuple[str, str], Sequence[Trade]],
    bots: Collection[str],
) -> list[Owned]:
    """Return the events with trades as owners for these bots, and unchanged for all others.

    `events` are in order of time. `trades_of` has the trades of a fill by bot and fill id, in order
    of opening. A fill that belongs to several trades becomes one event for each.
    """
    books: dict[tuple[str, str, str], _Book] = defaultdict(_Book)
    for number, event in enumerate(events):
        if event.bot in bots and event.kind in ("fill", "opening"):
            key = str(event.bot), event.instrument, event.position_side
            trades = trades_of.get((str(event.bot), event.event_id), ())
            books[key].fill(number, effective(event), trades)
    shares: dict[int, list[_Share]] = {}
    for book in books.values():
        book.close_open_trades()
        shares.update(book.shares)
    owned: list[Owned] = []
    for number, event in enumerate(events):
        if number in shares:
            owned += _parts(event, [one for one in shares[number] if one.qty])
        elif event.bot in bots:
            owned.append(Owned(event._replace(bot=f"{event.bot}{SEPARATOR}"), is_recorded=False))
        else:
            owned.append(Owned(event, is_recorded=True))
    return owned


def effective(event: Event) -> int:
    """Return by how many units a fill moved the position; a fee in coin reduces it."""
    qty = to_units(event.qty) if event.qty is not None else 0
    return qty + to_units(event.amount) if event.fee_in == "base" else qty


def _parts(event: Event, shares: Sequence[_Share]) -> list[Owned]:
    """Return one event for each share. Quantities, fees and proceeds add up to those of `event`."""
    weights = [one.qty for one in shares]
    fees = split(to_units(event.amount), weights)
    paid = None if event.proceeds is None else split(to_units(event.proceeds), weights)
    owned = []
    for place, (share, fee) in enumerate(zip(shares, fees, strict=True)):
        taken = fee if event.fee_in == "base" else 0
        part = event._replace(
            bot=f"{event.bot}{SEPARATOR}{share.trade_id}",
            qty=from_units(share.qty - taken),
            amount=from_units(fee),
            proceeds=None if paid is None else from_units(paid[place]),
        )
        owned.append(Owned(part, share.is_recorded))
    return owned


def _sign(amount: int) -> int:
    return (amount > 0) - (amount < 0)
