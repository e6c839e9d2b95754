"""Which of the broker's fills are which trade's: a trade owns lots as a bot does.

Pure. Once every fill of a bot has the trade that it belongs to for its owner, the lots program
tells what each trade realised, what the fills of no trade did, and what lies between these and the
bot's own figure, just as it tells bots, unowned and netting.
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
"""Between a bot and a trade of its own: what is in no trade is its rest, the empty trade."""


class Trade(NamedTuple):
    """A trade that fills may belong to. `wants`: its quantity in contracts, units; None unknown."""

    bot: str
    trade_id: str
    side: str | None = None
    wants: int | None = None


class Owned(NamedTuple):
    """An event with its owner. `is_recorded` is False where the bot's books know nothing of it."""

    event: Event
    is_recorded: bool


@dataclass(slots=True)
class _Share:
    """The part of a fill that one owner has; `qty` signed, in units, without a fee taken in coin.

    `open_qty` is what of it, in the rest, nothing has closed yet.
    """

    number: int
    qty: int
    trade_id: str
    is_recorded: bool
    open_qty: int = 0


@dataclass(slots=True)
class _Book:
    """One instrument and position side of a bot: what each of its trades holds, and the rest."""

    shares: dict[int, list[_Share]] = field(default_factory=lambda: defaultdict(list))
    held: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    entered: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    of_trade: dict[str, list[_Share]] = field(default_factory=lambda: defaultdict(list))
    unnamed: set[str] = field(default_factory=set)
    """Trades all of whose entry was found in the rest."""
    wants: dict[str, int] = field(default_factory=dict)
    """How much each trade is of, in units, where its row says so."""
    rest: deque[_Share] = field(default_factory=deque)
    """Of the rest, what nothing has closed yet: all of one side, the oldest first."""

    def fill(self, number: int, qty: int, trades: Sequence[Trade]) -> None:
        """Split one fill among its trades: what closes one is its, what is left opens the next."""
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

    def close_what_is_left(self) -> None:
        """Let fills that no trade has close what trades have left open, the oldest first."""
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
        """Return the number of the fill from which on a trade held what it has left, or more."""
        held, since = left, 0
        for share in reversed(self.of_trade[name]):
            if held * left < left * left:
                return since
            since, held = share.number, held - share.qty
        return since

    def _part(self, trade: Trade, qty: int, *, is_last: bool) -> int:
        """Return how much of a fill is one trade's, signed."""
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
        """Give a trade whose entry is not named what the rest has open, the oldest first."""
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
        """Give a trade whose entry is not named what other trades hold beyond their own quantity.

        So a position whose entry stands with the first trade that closed a part of it is shared.
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


def own(
    events: Sequence[Event],
    trades_of: Mapping[tuple[str, str], Sequence[Trade]],
    bots: Collection[str],
) -> list[Owned]:
    """Return the events of these bots with trades for owners, and all others as they are.

    `events` are ordered as they happened; `trades_of` gives the trades of a fill by bot and id, the
    first opened first. A fill that belongs to several is as many events.
    """
    books: dict[tuple[str, str, str], _Book] = defaultdict(_Book)
    for number, event in enumerate(events):
        if event.bot in bots and event.kind in ("fill", "opening"):
            key = str(event.bot), event.instrument, event.position_side
            trades = trades_of.get((str(event.bot), event.event_id), ())
            books[key].fill(number, effective(event), trades)
    shares: dict[int, list[_Share]] = {}
    for book in books.values():
        book.close_what_is_left()
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
    """Return by how many units a fill moved the position: a fee in coin takes its part of it."""
    qty = to_units(event.qty) if event.qty is not None else 0
    return qty + to_units(event.amount) if event.fee_in == "base" else qty


def _parts(event: Event, shares: Sequence[_Share]) -> list[Owned]:
    """Return one event a share; their quantities, fees and proceeds add up to the event's own."""
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
