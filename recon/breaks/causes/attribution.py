"""The causes of each bot's divergence, by session and trade. They add up to it exactly."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa

from recon.breaks.causes.by_fill import FillRow, InstrumentHistory, Realised, explain_rows, measure
from recon.breaks.causes.decomposition import Booked, Step, decompose
from recon.breaks.causes.fill_rows import read_pairs
from recon.breaks.causes.matching import Matched, read_matched
from recon.breaks.causes.ownership import SEPARATOR, Trade, assign_to_trades
from recon.breaks.causes.trade_history import BotAttribution, TradeActuals
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
"""The causes found. `trade_id` is null for a cause that belongs to no trade."""
NOISE = 10**6
"""The largest rounding rest of a session, in units of 10^-18. Its largest cause takes the rest."""
ENTRIES: Mapping[str, Cause] = {
    "dividend": "dividend",
    "tax": "tax",
    "interest": "interest",
    "fee": "fee_missing",
    "funding": "funding_missing",
}
"""The cause of a ledger entry that no trade of the bot contains, by the entry's kind."""

RESTATED = ("price", "quantity", "fee_rate_guessed")
"""The causes that a broker's restatement produces where the earlier figures are unknown."""
MOST_TRADES = 100_000
"""The most closed trades of a bot with computed causes. Each takes about 3 KB of memory."""
MOST_NAMES = 3
"""The most orders of a trade that a reason names."""


def find_causes(
    warehouse: Warehouse, methods: Mapping[str, Method], *, most_trades: int = MOST_TRADES
) -> None:
    """Store `causes.found`: the causes of each bot's divergence, by session and trade.

    They add up to the divergence of each session. After an error, which is logged, the whole
    divergence is unexplained, so that it is still reported. The same holds for a bot with more than
    `most_trades` closed trades.
    """
    attributions = _attributions(warehouse)
    if attributions:
        _exclude_large(warehouse, attributions, most_trades)
        warehouse.build("causes")
        booked = warehouse.rows("from causes.bot_trades order by bot, opened_at, trade_id")
        for row in booked:
            attributions[row["bot"]].booked.append(row)
        try:
            matched, events = _matched(warehouse, attributions, booked), _events(warehouse)
            system = _system_fills(warehouse)
            for attribution in attributions.values():
                attribution.system = system
            _realise(attributions, events, matched, methods)
            _realise_with_others(attributions, events, matched, methods)
            for attribution in attributions.values():
                if attribution.is_by_fill:
                    _explain_fills(attribution, matched, methods[attribution.account])
                else:
                    _explain(attribution, matched)
        except Exception:
            logger.exception(
                "the causes of %s could not be computed: their divergences stay unexplained",
                ", ".join(attributions),
            )
            for attribution in attributions.values():
                attribution.is_known = False
        for attribution in attributions.values():
            _record_rest(attribution)
    rows = [
        one._asdict() | {"amount": from_units(one.amount)}
        for attribution in attributions.values()
        for one in attribution.found
    ]
    warehouse.store("causes", "found", pa.Table.from_pylist(rows, schema=FOUND))


def _matched(
    warehouse: Warehouse,
    attributions: Mapping[str, BotAttribution],
    booked: Sequence[Mapping[str, Any]],
) -> Matched:
    """Return the trades of each fill; also match rows and fills of the bots with a row a fill."""
    for row in warehouse.rows("from causes.by_fill"):
        attributions[row["bot"]].is_by_fill = True
    found = read_matched(
        warehouse, [row for row in booked if not attributions[row["bot"]].is_by_fill]
    )
    trades_of = {name: list(trades) for name, trades in found.trades_of.items()}
    for attribution in attributions.values():
        if attribution.is_by_fill:
            attribution.entries, attribution.paired = read_pairs(
                warehouse, attribution.bot, attribution.booked
            )
            for trade_id, fills in attribution.paired.fills_of.items():
                for fill in fills:
                    trades_of.setdefault(fill.event_id, []).append(Trade(attribution.bot, trade_id))
    return replace(found, trades_of=trades_of)


def _events(warehouse: Warehouse) -> list[Event]:
    columns = ", ".join(map(quoted, Event._fields))
    rows = warehouse.rows_in_order(f"select {columns} from causes.events e {IN_ORDER}")
    return [Event(*row) for row in rows]


def _system_fills(warehouse: Warehouse) -> set[str]:
    """Return the ids of the venues' own fills: liquidations, ADL, deliveries."""
    rows = warehouse.rows(
        "select event_id from evidence.events "
        "semi join breaks.differing using (account) where is_system"
    )
    return {row["event_id"] for row in rows}


def _attributions(warehouse: Warehouse) -> dict[str, BotAttribution]:
    rows = warehouse.rows(
        "select b.bot, b.account, b.is_by_payment, a.first_date, a.last_date, a.window_start "
        "from breaks.differing b join config.accounts a on a.account = b.account order by b.bot"
    )
    attributions = {row["bot"]: BotAttribution(**row) for row in rows}
    for row in warehouse.rows(
        "select p.bot, p.session_date, p.net, p.open_costs from pnl.by_session p "
        "join breaks.differing b on b.bot = p.bot where p.scope = 'bot'"
    ):
        attribution = attributions[row["bot"]]
        paid = [row["net"], *([row["open_costs"]] if attribution.is_by_payment else [])]
        attribution.is_known &= None not in paid
        attribution.broker_pnl[row["session_date"]] = sum(
            to_units(one) for one in paid if one is not None
        )
    for row in warehouse.rows(
        "select c.bot, c.session_date, c.claimed from claimed.by_session c "
        "semi join breaks.differing b on b.bot = c.bot where c.claimed is not null"
    ):
        attributions[row["bot"]].claimed[row["session_date"]] = to_units(row["claimed"])
    return attributions


def _exclude_large(
    warehouse: Warehouse, attributions: Mapping[str, BotAttribution], most_trades: int
) -> None:
    """Exclude the bots that have more than `most_trades` closed trades."""
    for row in warehouse.rows(
        "select t.bot, count(*) as trades from claimed.trades t "
        "semi join breaks.differing b on b.bot = t.bot group by t.bot having count(*) > ?",
        [most_trades],
    ):
        attribution = attributions[row["bot"]]
        attribution.is_known = False
        attribution.unknown_reason = (
            f"it has {row['trades']:,} closed trades: causes are computed for up to {most_trades:,}"
        )
        warehouse.run("delete from breaks.differing where bot = ?", [row["bot"]])


def _realise(
    attributions: Mapping[str, BotAttribution],
    events: Sequence[Event],
    matched: Matched,
    methods: Mapping[str, Method],
) -> None:
    """Compute with lots the PnL of each trade of these bots, and of the fills in no trade."""
    trades_of = {
        (trade.bot, name): [one for one in trades if one.bot == trade.bot]
        for name, trades in matched.trades_of.items()
        for trade in trades
        if not attributions[trade.bot].is_by_fill
    }
    owned = assign_to_trades(events, trades_of, attributions)
    recorded = {id(one.event) for one in owned if one.is_recorded}
    for event, row in realise_each((one.event for one in owned), methods):
        bot, separator, trade_id = (row.bot or "").partition(SEPARATOR)
        if not separator:
            continue
        attribution = attributions[bot]
        amount = attribution.measure(row)
        if attribution.first_date <= row.session_date <= attribution.last_date:
            attribution.by_trades[row.session_date] += amount
        is_fill = event.kind in ("fill", "opening")
        if attribution.is_by_fill and is_fill:
            attribution.fills.append(Realised(event, row))
        elif trade_id and (id(event) in recorded if is_fill else event.kind == "funding"):
            attribution.actuals_of(trade_id).add(event, row)
            reported = matched.corrected.get((event.account, event.event_id))
            if reported is not None and reported["price"] is None:
                attribution.restated.add(trade_id)
        else:
            step = _step_without_trade(
                event, amount, matched, bot, is_system=event.event_id in attribution.system
            )
            attribution.record(
                row.session_date, step, trade_id=trade_id or None, instrument=row.instrument or None
            )


def _step_without_trade(
    event: Event, amount: int, matched: Matched, bot: str, *, is_system: bool
) -> Step:
    """Return the cause of the PnL of a fill or ledger entry that no trade of the bot contains."""
    if event.kind not in ("fill", "opening"):
        explanation = f"{event.kind} of {event.at:%Y-%m-%d %H:%M} UTC is in no trade of the bot"
        return Step(ENTRIES.get(event.kind, "unrecorded"), -amount, explanation)
    fill = "the venue's own fill (liquidation, ADL, delivery)" if is_system else "fill"
    fill = f"{fill} {event.event_id} of {event.at:%Y-%m-%d %H:%M} UTC"
    explanation = f"{fill} is in no trade of the bot"
    if (bot, event.event_id) in matched.deleted:
        return Step("deleted", -amount, f"{explanation} any more: an earlier run had it")
    others = sorted({one.bot for one in matched.trades_of.get(event.event_id, ())} - {bot})
    if others:
        return Step("adopted", -amount, f"{explanation}: {', '.join(others)} has it")
    return Step("unrecorded", -amount, explanation)


def _realise_with_others(
    attributions: Mapping[str, BotAttribution],
    events: Sequence[Event],
    matched: Matched,
    methods: Mapping[str, Method],
) -> None:
    """Compute again the trades with fills of others, and the trades with a restated fill.

    The first are computed with all of their fills, the second with the figures first reported.
    """
    theirs_of: dict[str, list[tuple[Event, list[Trade]]]] = defaultdict(list)
    for event in events:
        by_bot: dict[str, list[Trade]] = defaultdict(list)
        for trade in matched.trades_of.get(event.event_id, ()):
            attribution = attributions[trade.bot]
            if attribution.account == event.account and not attribution.is_by_fill:
                by_bot[trade.bot].append(trade)
        for bot, trades in by_bot.items():
            theirs_of[bot].append((event, trades))
    for bot, theirs in theirs_of.items():
        attribution = attributions[bot]
        foreign = {
            trade for event, trades in theirs if event.bot != attribution.bot for trade in trades
        }
        attribution.with_all_fills = _actuals_of(attribution, theirs, foreign, methods)
        own_or_unowned = [
            (event, trades) for event, trades in theirs if event.bot in (attribution.bot, None)
        ]
        attribution.without_others = _actuals_of(attribution, own_or_unowned, foreign, methods)
        restated = {
            trade
            for event, trades in theirs
            if matched.corrected.get((attribution.account, event.event_id))
            for trade in trades
        }
        first = [
            (
                _as_first_reported(
                    event, matched.corrected.get((attribution.account, event.event_id))
                ),
                trades,
            )
            for event, trades in theirs
        ]
        attribution.as_first_reported = _actuals_of(attribution, first, restated, methods)


def _actuals_of(
    attribution: BotAttribution,
    theirs: Sequence[tuple[Event, Sequence[Trade]]],
    some: Collection[Trade],
    methods: Mapping[str, Method],
) -> dict[str, TradeActuals]:
    """Return the broker's side of `some` trades, with all fills in `theirs` that match them."""
    actuals_of: dict[str, TradeActuals] = {}
    chosen = [
        (event._replace(bot=attribution.bot), [one for one in trades if one in some])
        for event, trades in theirs
        if any(one in some for one in trades)
    ]
    trades_of = {(attribution.bot, event.event_id): trades for event, trades in chosen}
    owned = assign_to_trades([event for event, _ in chosen], trades_of, [attribution.bot])
    for event, row in realise_each((one.event for one in owned), methods):
        trade_id = (row.bot or "").partition(SEPARATOR)[2]
        if trade_id:
            actuals_of.setdefault(trade_id, TradeActuals(attribution.is_by_payment)).add(event, row)
    return actuals_of


def _as_first_reported(event: Event, first: Mapping[str, Any] | None) -> Event:
    if first is None or None in (first["qty"], first["price"], first["amount"]):
        return event
    return event._replace(qty=first["qty"], price=first["price"], amount=first["amount"])


def _explain(attribution: BotAttribution, matched: Matched) -> None:
    """Record the causes of one bot's divergence, trade by trade, and differences in timing."""
    for trade in attribution.booked:
        session, name = trade["session_date"], trade["trade_id"]
        is_counted = (
            session is not None and attribution.first_date <= session <= attribution.last_date
        )
        moved: dict[date, int] = defaultdict(int)
        actuals = attribution.actuals.get(name)
        if actuals is not None:
            for other, amount in actuals.by_session.items():
                moved[other] -= amount
        if is_counted:
            moved[session] += 0 if actuals is None else actuals.net
            for step in _steps(attribution, trade, matched):
                attribution.record(session, step, trade_id=name, instrument=trade["instrument"])
        for other, amount in moved.items():
            step = Step("timing", amount, f"the bot has it in session {session}")
            attribution.record(other, step, trade_id=name, instrument=trade["instrument"])


def _explain_fills(attribution: BotAttribution, matched: Matched, method: Method) -> None:
    """Record the causes of a bot whose database has one row for each fill, by instrument."""
    rows = {row.name: row for row in _fill_rows(attribution, matched)}
    has_row = {
        (one.event.instrument, one.event.event_id) for row in rows.values() for one in row.own
    }
    histories: dict[str, InstrumentHistory] = {}

    def history(instrument: str) -> InstrumentHistory:
        new = InstrumentHistory([], [], {}, method, is_by_payment=attribution.is_by_payment)
        return histories.setdefault(instrument, new)

    for one in attribution.fills:
        key = one.event.instrument, one.event.event_id
        mine = history(one.event.instrument)
        mine.fills.append(one)
        if (
            reported := matched.corrected.get((attribution.account, one.event.event_id))
        ) is not None:
            mine.corrected[key] = reported
        if key not in has_row:
            amount = measure(one.row, is_by_payment=True)
            is_system = one.event.event_id in attribution.system
            step = _step_without_trade(
                one.event, amount, matched, attribution.bot, is_system=is_system
            )
            mine.unrecorded[key] = step
            for one_step in (
                step,
                *_timing_steps(one.row, is_by_payment=attribution.is_by_payment),
            ):
                attribution.record(one.row.session_date, one_step, instrument=one.event.instrument)
    for row in rows.values():
        instrument = row.own[0].event.instrument if row.own else row.entry.instrument
        history(instrument).rows.append(row)
    for instrument, mine in histories.items():
        for row, steps in explain_rows(mine):
            _record_row(attribution, row, steps, instrument)


def _timing_steps(row: SessionPnl, *, is_by_payment: bool) -> list[Step]:
    """Return the steps for costs of a fill without a row that do not count when they are paid."""
    if is_by_payment:
        return []
    funding = row.funding or 0
    explanation = "its cost counts when the quantity that it was paid for is closed"
    return [
        Step("timing", funding + (row.open_costs or 0), explanation),
        Step("funding_missing", -funding, "the bot never booked the funding"),
    ]


def _record_row(
    attribution: BotAttribution, row: FillRow, steps: Sequence[Step], instrument: str
) -> None:
    """Record a row's causes in the row's session, and the timing of fills in other sessions."""
    session = row.booked["session_date"]
    is_counted = session is not None and attribution.first_date <= session <= attribution.last_date
    moved: dict[date, int] = defaultdict(int)
    for one in row.own:
        amount = measure(one.row, is_by_payment=attribution.is_by_payment)
        moved[one.row.session_date] -= amount
        if is_counted:
            moved[session] += amount
    for step in steps if is_counted else ():
        attribution.record(session, step, trade_id=row.name, instrument=instrument)
    for other, amount in moved.items():
        step = Step("timing", amount, f"the bot has it in session {session}")
        attribution.record(other, step, trade_id=row.name, instrument=instrument)


def _fill_rows(attribution: BotAttribution, matched: Matched) -> Iterator[FillRow]:
    """Yield a bot's rows in order, each with its own fills or with the reason why it has none."""
    own_fills = {(one.event.instrument, one.event.event_id): one for one in attribution.fills}
    booked = {row["trade_id"]: row for row in attribution.booked}
    for name, entry in attribution.entries.items():
        row, fills = booked[name], attribution.paired.fills_of.get(name, [])
        own_ones = [own_fills[one.key] for one in fills if one.key in own_fills]
        is_before = row["session_date"] is None and row["closed_at"] < attribution.window_start
        yield FillRow(
            entry,
            row,
            own_ones,
            _cause_without_fill(attribution, row, matched),
            is_before=is_before,
        )


def _cause_without_fill(
    attribution: BotAttribution, row: Mapping[str, Any], matched: Matched
) -> tuple[Cause, str]:
    """Return the cause, and its reason, of a row that matches none of its bot's fills."""
    name = row["trade_id"]
    if name in attribution.paired.duplicates:
        return "duplicate", "the bot booked it twice"
    if fills := attribution.paired.fills_of.get(name):
        if any(one.bot not in (attribution.bot, None) for one in fills):
            return "adopted", "its order belongs to another bot"
        return "unowned", "its order is unowned: `recon unowned` lists it"
    if name in attribution.paired.known:
        return "quantity", "other rows of the bot already have all fills of its order"
    step = _without_fills(row, 0, matched)
    return step.cause, step.says


def _steps(attribution: BotAttribution, trade: Mapping[str, Any], matched: Matched) -> list[Step]:
    """Return the causes of the difference between a trade's row and the PnL of its own fills."""
    key, pnl = (attribution.bot, trade["trade_id"]), to_units(trade["pnl"])
    if key in matched.twice:
        return [Step("duplicate", pnl, "the bot booked it twice")]
    actuals = attribution.actuals.get(key[1])
    with_all = attribution.with_all_fills.get(key[1], actuals)
    if with_all is None:
        return [_without_fills(trade, pnl, matched)]
    booked = Booked(**{name: trade[name] for name in Booked._fields})
    own = 0 if actuals is None else actuals.net
    without_others = (
        attribution.without_others[key[1]].net if key[1] in attribution.without_others else own
    )
    return [
        *_with_corrections(decompose(booked, with_all.actual()), attribution, key[1], booked),
        Step("unowned", without_others - own, "its orders are unowned: `recon unowned` lists them"),
        Step("adopted", with_all.net - without_others, "its orders belong to another bot"),
    ]


def _with_corrections(
    steps: list[Step], attribution: BotAttribution, trade_id: str, booked: Booked
) -> list[Step]:
    """Return the steps with `correction` for a divergence that a broker's restatement caused.

    That is so if the bot has the figures that the broker reported first. If these are unknown, the
    steps of price, quantity and fee become corrections.
    """
    first, now = (
        attribution.as_first_reported.get(trade_id),
        attribution.with_all_fills.get(trade_id) or attribution.actuals.get(trade_id),
    )
    if first is not None and now is not None:
        before = decompose(booked, first.actual())
        if len(before) < len(steps):
            explanation = "the broker restated one of its fills after reporting it"
            return [*before, Step("correction", first.net - now.net, explanation)]
    if trade_id in attribution.restated:
        explanation = "the broker cancelled or corrected one of its fills"
        return [
            Step("correction", one.amount, f"{explanation}: {one.says}")
            if one.cause in RESTATED
            else one
            for one in steps
        ]
    return steps


def _without_fills(trade: Mapping[str, Any], pnl: int, matched: Matched) -> Step:
    """Return the cause of a trade that has no fill of its own at the broker.

    It is a phantom only if the broker has none of its orders.
    """
    key = trade["bot"], trade["trade_id"]
    if key in matched.known:
        return Step(
            "duplicate", pnl, "other trades of the bot already have all fills of its orders"
        )
    if (place := matched.elsewhere.get(key)) is not None:
        return _filled_elsewhere(place, pnl)
    if trade["order_ids"]:
        names = ", ".join(map(str, trade["order_ids"][:MOST_NAMES]))
        return Step("phantom", pnl, f"the broker has no fill of its orders ({names})")
    if trade["side"] is not None and trade["qty"] is not None:
        return Step("phantom", pnl, "the broker has no similar fill within 15 minutes")
    return Step("unexplained", pnl, "its row names no orders, no quantity and no side to match")


def _filled_elsewhere(place: Mapping[str, Any], pnl: int) -> Step:
    """Return the cause of a trade whose order was filled before the window or elsewhere."""
    order, account = place["order_id"], place["account"]
    if place["is_own"]:
        return Step("timing", pnl, f"its order {order} was filled before the window")
    if place["owner"] is None:
        explanation = f"its order {order} was filled in account {account}, and is unowned there"
        return Step("unowned", pnl, explanation)
    return Step("adopted", pnl, f"its order {order} was filled in account {account}")


def _record_rest(attribution: BotAttribution) -> None:
    """Record the difference between trades and lots; the rest of the divergence is unexplained."""
    sums: dict[date, int] = defaultdict(int)
    if not attribution.is_known:
        attribution.found.clear()
    for one in attribution.found:
        sums[one.session_date] += one.amount
    for session in sorted({*attribution.claimed, *attribution.broker_pnl, *attribution.by_trades}):
        if not attribution.first_date <= session <= attribution.last_date:
            continue
        amount = attribution.claimed.get(session, 0) - attribution.broker_pnl.get(session, 0)
        if not attribution.is_known:
            attribution.record(session, Step("unexplained", amount, attribution.unknown_reason))
            continue
        paired = attribution.by_trades.get(session, 0) - attribution.broker_pnl.get(session, 0)
        _record_lots(attribution, session, paired)
        attribution.record(session, Step("unexplained", amount - sums[session] - paired))


def _record_lots(attribution: BotAttribution, session: date, amount: int) -> None:
    """Record the part that the pairing of lots causes; the largest cause takes mere noise."""
    if not amount:
        return
    largest = max(
        (place for place, one in enumerate(attribution.found) if one.session_date == session),
        key=lambda place: abs(attribution.found[place].amount),
        default=None,
    )
    if largest is not None and abs(amount) <= NOISE:
        one = attribution.found[largest]
        attribution.found[largest] = one._replace(amount=one.amount + amount)
    else:
        explanation = "the bot pairs its trades in another way than the account's lots"
        attribution.record(session, Step("lot_method", amount, explanation))
