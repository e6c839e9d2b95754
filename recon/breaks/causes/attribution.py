"""The causes of tonight's divergences: each bot's, by session and trade, adding up to the unit."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa

from recon.breaks.causes.by_fill import FillRow, Ledger, Realised, explain_rows, measure
from recon.breaks.causes.decomposition import Booked, Step, decompose
from recon.breaks.causes.fill_rows import read_pairs
from recon.breaks.causes.matching import Matched, read_matched
from recon.breaks.causes.ownership import SEPARATOR, Trade, own
from recon.breaks.causes.trade_history import Case, Story
from recon.core.numbers import PLACES, from_units, to_units
from recon.core.records import Cause, Method
from recon.core.sql_names import quoted
from recon.lots.realise import Event, SessionPnl, realise_each
from recon.warehouse.database import Warehouse
from recon.warehouse.lot_state import IN_ORDER

logger = logging.getLogger(__name__)
FOUND = pa.schema(
    [
        ("bot", pa.string()),
        ("session_date", pa.date32()),
        ("trade_id", pa.string()),
        ("instrument", pa.string()),
        ("cause", pa.string()),
        ("amount", pa.decimal128(38, PLACES)),
        ("says", pa.string()),
    ]
)
"""Every cause that was found; `trade_id` is null for what no trade has."""
NOISE = 10**6
"""What rounding may leave of a session, in units of 10^-18: it goes to its largest cause."""
ENTRIES: Mapping[str, Cause] = {
    "dividend": "dividend",
    "tax": "tax",
    "interest": "interest",
    "fee": "fee_missing",
    "funding": "funding_missing",
}
"""What an entry of the ledger is called that no trade of the books has, by its kind."""

RESTATED = ("price", "quantity", "fee_rate_guessed")
"""What a restatement of the broker's looks like from the books, where it is not told as one."""
MOST_TRADES = 100_000
"""Closed trades of a bot in which causes are looked for: each takes about 3 KB of memory."""
MOST_NAMES = 3
"""Orders of a trade that are named."""


def find_causes(
    warehouse: Warehouse, methods: Mapping[str, Method], *, most_trades: int = MOST_TRADES
) -> None:
    """Make `causes.found`: why each bot whose claim is not its truth says something else.

    They add up to the difference, session by session. That a bot is off is told also where nobody
    can say why: what goes wrong in here leaves all of it unexplained, and is logged. So does a bot
    that has more than `most_trades` closed trades.
    """
    cases = _cases(warehouse)
    if cases:
        _leave_out(warehouse, cases, most_trades)
        warehouse.build("causes")
        booked = warehouse.rows("from causes.bot_trades order by bot, opened_at, trade_id")
        for row in booked:
            cases[row["bot"]].booked.append(row)
        try:
            matched, events = _matched(warehouse, cases, booked), _events(warehouse)
            system = _system(warehouse)
            for case in cases.values():
                case.system = system
            _tell(cases, events, matched, methods)
            _tell_with_others(cases, events, matched, methods)
            for case in cases.values():
                if case.is_by_fill:
                    _explain_fills(case, matched, methods[case.account])
                else:
                    _explain(case, matched)
        except Exception:
            logger.exception("the causes of %s could not be found", ", ".join(cases))
            for case in cases.values():
                case.is_known = False
        for case in cases.values():
            _close(case)
    rows = [
        one._asdict() | {"amount": from_units(one.amount)}
        for case in cases.values()
        for one in case.found
    ]
    warehouse.store("causes", "found", pa.Table.from_pylist(rows, schema=FOUND))


def _matched(
    warehouse: Warehouse, cases: Mapping[str, Case], booked: Sequence[Mapping[str, Any]]
) -> Matched:
    """Return which fills are which trade's, and note the rows of books that have a row a fill."""
    for row in warehouse.rows("from causes.by_fill"):
        cases[row["bot"]].is_by_fill = True
    found = read_matched(warehouse, [row for row in booked if not cases[row["bot"]].is_by_fill])
    trades_of = {name: list(trades) for name, trades in found.trades_of.items()}
    for case in cases.values():
        if case.is_by_fill:
            case.entries, case.paired = read_pairs(warehouse, case.bot, case.booked)
            for trade_id, fills in case.paired.fills_of.items():
                for fill in fills:
                    trades_of.setdefault(fill.event_id, []).append(Trade(case.bot, trade_id))
    return replace(found, trades_of=trades_of)


def _events(warehouse: Warehouse) -> list[Event]:
    columns = ", ".join(map(quoted, Event._fields))
    rows = warehouse.rows_in_order(f"select {columns} from causes.events e {IN_ORDER}")
    return [Event(*row) for row in rows]


def _system(warehouse: Warehouse) -> set[str]:
    """Return the fills that are the venues' own: liquidations, ADL, deliveries."""
    rows = warehouse.rows(
        "select event_id from evidence.events "
        "semi join breaks.differing using (account) where is_system"
    )
    return {row["event_id"] for row in rows}


def _cases(warehouse: Warehouse) -> dict[str, Case]:
    rows = warehouse.rows(
        "select b.bot, b.account, b.is_by_payment, a.first_date, a.last_date, a.window_start "
        "from breaks.differing b join config.accounts a on a.account = b.account order by b.bot"
    )
    cases = {row["bot"]: Case(**row) for row in rows}
    for row in warehouse.rows(
        "select p.bot, p.session_date, p.net, p.open_costs from pnl.by_session p "
        "join breaks.differing b on b.bot = p.bot where p.scope = 'bot'"
    ):
        case = cases[row["bot"]]
        paid = [row["net"], *([row["open_costs"]] if case.is_by_payment else [])]
        case.is_known &= None not in paid
        case.truth[row["session_date"]] = sum(to_units(one) for one in paid if one is not None)
    for row in warehouse.rows(
        "select c.bot, c.session_date, c.claimed from claimed.by_session c "
        "semi join breaks.differing b on b.bot = c.bot where c.claimed is not null"
    ):
        cases[row["bot"]].claimed[row["session_date"]] = to_units(row["claimed"])
    return cases


def _leave_out(warehouse: Warehouse, cases: Mapping[str, Case], most_trades: int) -> None:
    """Leave out the bots that have more closed trades than causes are looked for in."""
    for row in warehouse.rows(
        "select t.bot, count(*) as trades from claimed.trades t "
        "semi join breaks.differing b on b.bot = t.bot group by t.bot having count(*) > ?",
        [most_trades],
    ):
        case = cases[row["bot"]]
        case.is_known = False
        case.why_unknown = (
            f"it has {row['trades']:,} closed trades: causes are looked for in up to "
            f"{most_trades:,}"
        )
        warehouse.run("delete from breaks.differing where bot = ?", [row["bot"]])


def _tell(
    cases: Mapping[str, Case],
    events: Sequence[Event],
    matched: Matched,
    methods: Mapping[str, Method],
) -> None:
    """Have the lots tell what each trade of these bots realised, and what the rest did."""
    trades_of = {
        (trade.bot, name): [one for one in trades if one.bot == trade.bot]
        for name, trades in matched.trades_of.items()
        for trade in trades
        if not cases[trade.bot].is_by_fill
    }
    owned = own(events, trades_of, cases)
    recorded = {id(one.event) for one in owned if one.is_recorded}
    for event, row in realise_each((one.event for one in owned), methods):
        bot, separator, trade_id = (row.bot or "").partition(SEPARATOR)
        if not separator:
            continue
        case = cases[bot]
        amount = case.measure(row)
        if case.first_date <= row.session_date <= case.last_date:
            case.own[row.session_date] += amount
        is_fill = event.kind in ("fill", "opening")
        if case.is_by_fill and is_fill:
            case.fills.append(Realised(event, row))
        elif trade_id and (id(event) in recorded if is_fill else event.kind == "funding"):
            case.story(trade_id).book(event, row)
            told = matched.corrected.get((event.account, event.event_id))
            if told is not None and told["price"] is None:
                case.restated.add(trade_id)
        else:
            step = _of_nobody(event, amount, matched, bot, is_system=event.event_id in case.system)
            case.note(
                row.session_date, step, trade_id=trade_id or None, instrument=row.instrument or None
            )


def _of_nobody(event: Event, amount: int, matched: Matched, bot: str, *, is_system: bool) -> Step:
    """Return the cause of what a fill or an entry realised that no trade of the books has."""
    if event.kind not in ("fill", "opening"):
        says = f"{event.kind} of {event.at:%Y-%m-%d %H:%M} UTC is in no trade of the books"
        return Step(ENTRIES.get(event.kind, "unrecorded"), -amount, says)
    what = "a fill of the venue's own (liquidation, ADL, delivery)" if is_system else "a fill"
    says = f"{what}, {event.event_id} of {event.at:%Y-%m-%d %H:%M} UTC, is in no trade of the books"
    if (bot, event.event_id) in matched.deleted:
        return Step("deleted", -amount, f"{says} any more: an earlier night had it")
    others = sorted({one.bot for one in matched.trades_of.get(event.event_id, ())} - {bot})
    if others:
        return Step("adopted", -amount, f"{says}; {', '.join(others)} has it")
    return Step("unrecorded", -amount, says)


def _tell_with_others(
    cases: Mapping[str, Case],
    events: Sequence[Event],
    matched: Matched,
    methods: Mapping[str, Method],
) -> None:
    """Tell again the trades that have another's fills, and those of which a fill was restated.

    By all of their fills; and by what these were told to be at first.
    """
    theirs_of: dict[str, list[tuple[Event, list[Trade]]]] = defaultdict(list)
    for event in events:
        by_bot: dict[str, list[Trade]] = defaultdict(list)
        for trade in matched.trades_of.get(event.event_id, ()):
            case = cases[trade.bot]
            if case.account == event.account and not case.is_by_fill:
                by_bot[trade.bot].append(trade)
        for bot, trades in by_bot.items():
            theirs_of[bot].append((event, trades))
    for bot, theirs in theirs_of.items():
        case = cases[bot]
        foreign = {trade for event, trades in theirs if event.bot != case.bot for trade in trades}
        case.seen = _told(case, theirs, foreign, methods)
        nobodys = [(event, trades) for event, trades in theirs if event.bot in (case.bot, None)]
        case.beside = _told(case, nobodys, foreign, methods)
        restated = {
            trade
            for event, trades in theirs
            if matched.corrected.get((case.account, event.event_id))
            for trade in trades
        }
        first = [
            (_as_first_told(event, matched.corrected.get((case.account, event.event_id))), trades)
            for event, trades in theirs
        ]
        case.first = _told(case, first, restated, methods)


def _told(
    case: Case,
    theirs: Sequence[tuple[Event, Sequence[Trade]]],
    some: Collection[Trade],
    methods: Mapping[str, Method],
) -> dict[str, Story]:
    """Return the stories of some trades, by all the fills that they are matched with."""
    stories: dict[str, Story] = {}
    chosen = [
        (event._replace(bot=case.bot), [one for one in trades if one in some])
        for event, trades in theirs
        if any(one in some for one in trades)
    ]
    trades_of = {(case.bot, event.event_id): trades for event, trades in chosen}
    owned = own([event for event, _ in chosen], trades_of, [case.bot])
    for event, row in realise_each((one.event for one in owned), methods):
        trade_id = (row.bot or "").partition(SEPARATOR)[2]
        if trade_id:
            stories.setdefault(trade_id, Story(case.is_by_payment)).book(event, row)
    return stories


def _as_first_told(event: Event, first: Mapping[str, Any] | None) -> Event:
    if first is None or None in (first["qty"], first["price"], first["amount"]):
        return event
    return event._replace(qty=first["qty"], price=first["price"], amount=first["amount"])


def _explain(case: Case, matched: Matched) -> None:
    """Find the causes of one bot's difference, trade by trade, and what is left between them."""
    for trade in case.booked:
        session, name = trade["session_date"], trade["trade_id"]
        is_counted = session is not None and case.first_date <= session <= case.last_date
        moved: dict[date, int] = defaultdict(int)
        story = case.stories.get(name)
        if story is not None:
            for other, amount in story.by_session.items():
                moved[other] -= amount
        if is_counted:
            moved[session] += 0 if story is None else story.net
            for step in _steps(case, trade, matched):
                case.note(session, step, trade_id=name, instrument=trade["instrument"])
        for other, amount in moved.items():
            step = Step("timing", amount, f"the books have it in session {session}")
            case.note(other, step, trade_id=name, instrument=trade["instrument"])


def _explain_fills(case: Case, matched: Matched, method: Method) -> None:
    """Find the causes of a bot whose books have a row for each fill, instrument by instrument."""
    rows = {row.name: row for row in _fill_rows(case, matched)}
    has_row = {
        (one.event.instrument, one.event.event_id) for row in rows.values() for one in row.own
    }
    ledgers: dict[str, Ledger] = {}

    def ledger(instrument: str) -> Ledger:
        new = Ledger([], [], {}, method, is_by_payment=case.is_by_payment)
        return ledgers.setdefault(instrument, new)

    for one in case.fills:
        key = one.event.instrument, one.event.event_id
        mine = ledger(one.event.instrument)
        mine.fills.append(one)
        if (told := matched.corrected.get((case.account, one.event.event_id))) is not None:
            mine.corrected[key] = told
        if key not in has_row:
            amount = measure(one.row, is_by_payment=True)
            is_system = one.event.event_id in case.system
            step = _of_nobody(one.event, amount, matched, case.bot, is_system=is_system)
            mine.unrecorded[key] = step
            for one_step in (step, *_not_yet(one.row, is_by_payment=case.is_by_payment)):
                case.note(one.row.session_date, one_step, instrument=one.event.instrument)
    for row in rows.values():
        instrument = row.own[0].event.instrument if row.own else row.entry.instrument
        ledger(instrument).rows.append(row)
    for instrument, mine in ledgers.items():
        for row, steps in explain_rows(mine):
            _note_row(case, row, steps, instrument)


def _not_yet(row: SessionPnl, *, is_by_payment: bool) -> list[Step]:
    """Return what of a fill without a row counts at another time than when it was paid."""
    if is_by_payment:
        return []
    funding = row.funding or 0
    says = "its cost counts when what it paid for is closed"
    return [
        Step("timing", funding + (row.open_costs or 0), says),
        Step("funding_missing", -funding, "the books never have the funding"),
    ]


def _note_row(case: Case, row: FillRow, steps: Sequence[Step], instrument: str) -> None:
    """Note a row's causes where it counts, and what its fills count for where they are."""
    session = row.booked["session_date"]
    is_counted = session is not None and case.first_date <= session <= case.last_date
    moved: dict[date, int] = defaultdict(int)
    for one in row.own:
        amount = measure(one.row, is_by_payment=case.is_by_payment)
        moved[one.row.session_date] -= amount
        if is_counted:
            moved[session] += amount
    for step in steps if is_counted else ():
        case.note(session, step, trade_id=row.name, instrument=instrument)
    for other, amount in moved.items():
        step = Step("timing", amount, f"the books have it in session {session}")
        case.note(other, step, trade_id=row.name, instrument=instrument)


def _fill_rows(case: Case, matched: Matched) -> Iterator[FillRow]:
    """Yield a bot's rows in their order, each with its own fills, or with why it has none."""
    own_fills = {(one.event.instrument, one.event.event_id): one for one in case.fills}
    booked = {row["trade_id"]: row for row in case.booked}
    for name, entry in case.entries.items():
        row, fills = booked[name], case.paired.fills_of.get(name, [])
        own_ones = [own_fills[one.key] for one in fills if one.key in own_fills]
        is_before = row["session_date"] is None and row["closed_at"] < case.window_start
        yield FillRow(entry, row, own_ones, _why_without(case, row, matched), is_before=is_before)


def _why_without(case: Case, row: Mapping[str, Any], matched: Matched) -> tuple[Cause, str]:
    """Return what a row is that is none of its bot's fills."""
    name = row["trade_id"]
    if name in case.paired.twins:
        return "duplicate", "it is in the books twice"
    if fills := case.paired.fills_of.get(name):
        if any(one.bot not in (case.bot, None) for one in fills):
            return "adopted", "its order is another's"
        return "unowned", "its order is no bot's: recon unowned lists it"
    if name in case.paired.known:
        return "quantity", "its order is in the books already with all that the broker filled"
    step = _without_fills(row, 0, matched)
    return step.cause, step.says


def _steps(case: Case, trade: Mapping[str, Any], matched: Matched) -> list[Step]:
    """Return the causes between a trade's row and what its own fills realised."""
    key, pnl = (case.bot, trade["trade_id"]), to_units(trade["pnl"])
    if key in matched.twice:
        return [Step("duplicate", pnl, "it is in the books twice")]
    story = case.stories.get(key[1])
    seen = case.seen.get(key[1], story)
    if seen is None:
        return [_without_fills(trade, pnl, matched)]
    booked = Booked(**{name: trade[name] for name in Booked._fields})
    own = 0 if story is None else story.net
    beside = case.beside[key[1]].net if key[1] in case.beside else own
    return [
        *_with_corrections(decompose(booked, seen.actual()), case, key[1], booked),
        Step("unowned", beside - own, "its orders are no bot's: recon unowned lists them"),
        Step("adopted", seen.net - beside, "its orders are another's"),
    ]


def _with_corrections(steps: list[Step], case: Case, trade_id: str, booked: Booked) -> list[Step]:
    """Take the broker's own restatement for the cause, where the books have what it told first.

    Where it does not say what that was, whatever is of quantity, price and fee is taken for it.
    """
    first, now = case.first.get(trade_id), case.seen.get(trade_id) or case.stories.get(trade_id)
    if first is not None and now is not None:
        before = decompose(booked, first.actual())
        if len(before) < len(steps):
            says = "the broker restated a fill of it after it had been told"
            return [*before, Step("correction", first.net - now.net, says)]
    if trade_id in case.restated:
        says = "the broker cancelled or corrected a fill of it"
        return [
            Step("correction", one.amount, f"{says}: {one.says}") if one.cause in RESTATED else one
            for one in steps
        ]
    return steps


def _without_fills(trade: Mapping[str, Any], pnl: int, matched: Matched) -> Step:
    """Return what a trade is that has no fill of its own at the broker.

    It is a phantom only where the broker has none of its orders.
    """
    key = trade["bot"], trade["trade_id"]
    if key in matched.known:
        return Step("duplicate", pnl, "all that its orders filled is in other trades of the books")
    if (place := matched.elsewhere.get(key)) is not None:
        return _filled_elsewhere(place, pnl)
    if trade["order_ids"]:
        names = ", ".join(map(str, trade["order_ids"][:MOST_NAMES]))
        return Step("phantom", pnl, f"the broker has no fill of its orders ({names})")
    if trade["side"] is not None and trade["qty"] is not None:
        return Step("phantom", pnl, "the broker has no fill like it, within a quarter of an hour")
    return Step("unexplained", pnl, "its books name no orders, quantity and side to look for")


def _filled_elsewhere(place: Mapping[str, Any], pnl: int) -> Step:
    """Return what a trade is whose order was filled before the window, or in another account."""
    order, account = place["order_id"], place["account"]
    if place["is_own"]:
        return Step("timing", pnl, f"its order {order} was filled before the window")
    if place["owner"] is None:
        says = f"its order {order} was filled in account {account}, and is no bot's there"
        return Step("unowned", pnl, says)
    return Step("adopted", pnl, f"its order {order} was filled in account {account}")


def _close(case: Case) -> None:
    """Name what is between trades and lots; what no cause has yet is unexplained."""
    sums: dict[date, int] = defaultdict(int)
    if not case.is_known:
        case.found.clear()
    for one in case.found:
        sums[one.session_date] += one.amount
    for session in sorted({*case.claimed, *case.truth, *case.own}):
        if not case.first_date <= session <= case.last_date:
            continue
        amount = case.claimed.get(session, 0) - case.truth.get(session, 0)
        if not case.is_known:
            case.note(session, Step("unexplained", amount, case.why_unknown))
            continue
        paired = case.own.get(session, 0) - case.truth.get(session, 0)
        _note_lots(case, session, paired)
        case.note(session, Step("unexplained", amount - sums[session] - paired))


def _note_lots(case: Case, session: date, amount: int) -> None:
    """Note what pairs trades otherwise than the account's lots; noise goes to the largest cause."""
    if not amount:
        return
    largest = max(
        (place for place, one in enumerate(case.found) if one.session_date == session),
        key=lambda place: abs(case.found[place].amount),
        default=None,
    )
    if largest is not None and abs(amount) <= NOISE:
        one = case.found[largest]
        case.found[largest] = one._replace(amount=one.amount + amount)
    else:
        says = "its trades are paired otherwise than the account's lots are"
        case.note(session, Step("lot_method", amount, says))
