"""What each path of the loopback OKX answers: its filters, its window, its limit of calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from recon.demo.venues.okx_account import OkxAccount, to_ms
from recon.demo.venues.okx_instruments import Row, text
from recon.demo.venues.okx_summary import balance_rows, config_rows
from recon.demo.venues.okx_tape import Cut, Tape

PREFIX = "/api/v5/"
PAGE_ROWS = 100
DAY_MS = 24 * 3600 * 1000
MINUTE_MS = 60_000
THREE_MONTHS_MS = 90 * DAY_MS

Query = Mapping[str, str]

_BILL_FILTERS = ("instType", "instId", "ccy", "mgnMode", "type", "subType")
_FILL_FILTERS = ("instType", "instId", "ordId", "subType")
_ORDER_FILTERS = ("instType", "instId", "ordType", "state", "category")
_HISTORY_FILTERS = ("instType", "instId", "mgnMode", "type", "posId")


class Refusal(Exception):
    """The venue says no, with its own code, in an HTTP status."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: of which account, with which parameters. `clock` is the venue's own time."""

    account: OkxAccount
    query: Query
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path: what it answers, how often (`calls` in `period_s`), and how its pages are keyed.

    `cursor` is the row's key that `after` and `before` speak of; empty where there are no pages.
    """

    answer: Callable[[Asked], list[Row]]
    calls: int
    period_s: float
    cursor: str = ""
    is_public: bool = False


def _config(asked: Asked) -> list[Row]:
    return config_rows(asked.account.profile)


def _balance(asked: Asked) -> list[Row]:
    return balance_rows(asked.account, _listed(asked.query, "ccy"))


def _positions(asked: Asked) -> list[Row]:
    rows = asked.account.position_rows()
    for key in ("instType", "instId", "posId"):
        wanted = _listed(asked.query, key)
        rows = [row for row in rows if not wanted or row[key] in wanted]
    return rows


def _positions_history(asked: Asked) -> list[Row]:
    # Alone among the paged endpoints this one knows no begin and end.
    known = {key: value for key, value in asked.query.items() if key not in {"begin", "end"}}
    history = Asked(asked.account, known, asked.clock)
    return _page(asked.account.closed_positions(), history, THREE_MONTHS_MS, _HISTORY_FILTERS)


def _bills(asked: Asked) -> list[Row]:
    return _page(asked.account.bills, asked, 7 * DAY_MS, _BILL_FILTERS)


def _bills_archive(asked: Asked) -> list[Row]:
    return _page(asked.account.bills, asked, THREE_MONTHS_MS, _BILL_FILTERS)


def _fills(asked: Asked) -> list[Row]:
    return _page(asked.account.fills, asked, 3 * DAY_MS, _FILL_FILTERS)


def _fills_history(asked: Asked) -> list[Row]:
    _require(asked.query, "instType")
    return _page(asked.account.fills, asked, THREE_MONTHS_MS, _FILL_FILTERS)


def _orders_history(asked: Asked) -> list[Row]:
    return _ended_orders(asked, 7 * DAY_MS)


def _orders_history_archive(asked: Asked) -> list[Row]:
    return _ended_orders(asked, THREE_MONTHS_MS)


def _ended_orders(asked: Asked, kept_ms: int) -> list[Row]:
    """Return a page of the orders that ended so lately; `begin` and `end` are of when they began.

    Cancelled orders are not played: the venue forgets those without a fill within two hours.
    """
    _require(asked.query, "instType")
    oldest_ms = to_ms(asked.account.now()) - kept_ms
    tape = asked.account.orders(is_resting=False, since_ms=oldest_ms)
    return _page(tape, asked, to_ms(asked.account.now()), _ORDER_FILTERS)


def _orders_pending(asked: Asked) -> list[Row]:
    tape = asked.account.orders(is_resting=True)
    return _page(tape, asked, to_ms(asked.account.now()), _ORDER_FILTERS)


def _instruments(asked: Asked) -> list[Row]:
    inst_type = _require(asked.query, "instType")
    inst_id = asked.query.get("instId")
    family = asked.query.get("instFamily") or asked.query.get("uly")
    if inst_type == "OPTION" and not family:
        raise Refusal(400, "50015", "Either parameter instFamily or uly is required.")
    rows = [one.row() for one in asked.account.instruments.values()]
    rows += [row | {"instType": "MARGIN"} for row in rows if row["instType"] == "SPOT"]
    rows = [row for row in rows if row["instType"] == inst_type]
    rows = [row for row in rows if not family or row["instFamily"] == family]
    return [row for row in rows if not inst_id or row["instId"] == inst_id]


def _candles(asked: Asked) -> list[Any]:
    """Return finished one-minute candles, newest first, between `before` and `after`, exclusive."""
    pair = _require(asked.query, "instId")
    close_of = asked.account.closes.get(pair)
    if close_of is None:
        raise Refusal(200, "51001", "Instrument ID does not exist.")
    now_ms = to_ms(asked.account.now())
    after = min(_whole(asked.query, "after") or now_ms, now_ms)
    before = _whole(asked.query, "before") or 0
    limit = min(PAGE_ROWS, _whole(asked.query, "limit") or PAGE_ROWS)
    rows: list[Any] = []
    start = (after - 1) // MINUTE_MS * MINUTE_MS
    while start > before and len(rows) < limit:
        close = close_of(start)
        if close is not None:
            rows.append([str(start), *[text(close)] * 4, "1", "1", "1", "1"])
        start -= MINUTE_MS
        if after - start > limit * 10 * MINUTE_MS:
            break
    return rows


def _time(asked: Asked) -> list[Row]:
    return [{"ts": str(to_ms(asked.clock()))}]


def _page(tape: Tape, asked: Asked, kept_ms: int, keys: tuple[str, ...]) -> list[Row]:
    """Cut a page of `tape` to the query, whose values for `keys` must equal the row's own."""
    query = asked.query
    cut = Cut(
        after=_whole(query, "after"),
        before=_whole(query, "before"),
        begin_ms=_whole(query, "begin"),
        end_ms=_whole(query, "end"),
        oldest_ms=to_ms(asked.account.now()) - kept_ms,
        limit=min(PAGE_ROWS, _whole(query, "limit") or PAGE_ROWS),
    )
    wanted = [(key, query[key]) for key in keys if query.get(key)]
    return tape.page(cut, lambda row: all(row[key] == value for key, value in wanted))


def _require(query: Query, name: str) -> str:
    if not query.get(name):
        raise Refusal(400, "50014", f"Parameter {name} can not be empty.")
    return query[name]


def _whole(query: Query, name: str) -> int | None:
    value = query.get(name, "")
    if not value:
        return None
    if not value.isdecimal():
        raise Refusal(400, "51000", f"Parameter {name} error")
    return int(value)


def _listed(query: Query, name: str) -> list[str]:
    return [one for one in query.get(name, "").split(",") if one]


_PRIVATE: Mapping[str, Endpoint] = {
    "account/config": Endpoint(_config, 5, 2),
    "account/balance": Endpoint(_balance, 10, 2),
    "account/positions": Endpoint(_positions, 10, 2),
    "account/positions-history": Endpoint(_positions_history, 10, 2, "uTime"),
    "account/bills": Endpoint(_bills, 5, 1, "billId"),
    "account/bills-archive": Endpoint(_bills_archive, 5, 2, "billId"),
    "account/instruments": Endpoint(_instruments, 20, 2),
    "trade/fills": Endpoint(_fills, 60, 2, "billId"),
    "trade/fills-history": Endpoint(_fills_history, 10, 2, "billId"),
    "trade/orders-history": Endpoint(_orders_history, 40, 2, "ordId"),
    "trade/orders-history-archive": Endpoint(_orders_history_archive, 20, 2, "ordId"),
    "trade/orders-pending": Endpoint(_orders_pending, 60, 2, "ordId"),
}
_PUBLIC: Mapping[str, Endpoint] = {
    "public/instruments": Endpoint(_instruments, 20, 2, is_public=True),
    "market/history-candles": Endpoint(_candles, 20, 2, is_public=True),
    "public/time": Endpoint(_time, 10, 2, is_public=True),
}
ENDPOINTS: Mapping[str, Endpoint] = {
    PREFIX + path: endpoint for path, endpoint in (*_PRIVATE.items(), *_PUBLIC.items())
}
