"""The OKX connector against the loopback venue: all of it, each once, or a word of why not."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from connectors.okx.client import OkxKey
from connectors.okx.connector import OkxConnector
from connectors.retry import RetryPolicy
from recon.core.calendars import UtcDays, window
from recon.core.records import CheckItem, Coverage, Record
from recon.demo.venues.okx_account import OkxAccount, Profile
from recon.demo.venues.okx_faults import REDIRECTED_TO, Fault, FaultKind
from recon.demo.venues.okx_instruments import Row
from recon.demo.venues.okx_server import OkxServer
from recon.errors import EvidenceError, KeyRefused, VenueRefused
from tests.support.fleet import AS_OF, BTC, NOW, QUICK, SINCE, account, book_all, deals

CONFIG = "/api/v5/account/config"
CANARIES = ("canary-key-5d1c", "canary-secret-77fe", "canary-phrase-e09a")
IMPATIENT = RetryPolicy(
    request_timeout_s=0.3,
    attempts=2,
    first_wait_s=0.01,
    longest_wait_s=0.02,
    total_s=5.0,
    is_rate_limited=False,
)


class Given:
    """What one fetch gave, the server it came from, and the error that ended it."""

    def __init__(self, server: OkxServer) -> None:
        self.server = server
        self.items: list[Record | Coverage] = []
        self.error: EvidenceError | None = None

    def rows(self, kind: str) -> dict[str, dict[str, Any]]:
        found = [item for item in self.items if isinstance(item, Record) and item.kind == kind]
        repeated = [name for name, n in Counter(item.id for item in found).items() if n > 1]
        assert repeated == []
        return {item.id: json.loads(item.payload) for item in found}

    def said(self, kind: str) -> Coverage:
        kinds = (f"{kind}/SWAP",) if kind in ("fill", "order") else (kind,)
        [one] = [c for c in self.items if isinstance(c, Coverage) and c.kinds == kinds]
        return one

    @property
    def asked(self) -> list[str]:
        return [seen.path for seen in self.server.requests]


def fetch(
    book: OkxAccount,
    *faults: tuple[str, Fault],
    since: date = SINCE,
    types: Sequence[str] = ("SWAP",),
    patience: RetryPolicy = QUICK,
    now: Callable[[], datetime] = lambda: NOW,
    reads_orders: bool = False,
    **server_settings: Any,
) -> Given:
    """Fetch an account once; whatever happens, only reads reached the venue."""

    async def conversation() -> Given:
        async with OkxServer(book, throttle=0, **server_settings) as server:
            for path, fault in faults:
                server.fault(path, fault)
            given = Given(server)
            source = OkxConnector(
                "okx",
                OkxKey(server.api_key, server.secret, server.passphrase),
                instrument_types=types,
                reads_orders=reads_orders,
                is_demo=server.demo,
                base_url=server.url,
                now=now,
                patience=patience,
            )
            try:
                async for item in source.fetch(window(UtcDays(), since, AS_OF)):
                    given.items.append(item)
            except EvidenceError as error:
                given.error = error
            return given

    given = asyncio.run(conversation())
    assert given.server.violations == []
    assert {seen.method for seen in given.server.requests} <= {"GET"}
    return given


def sent(rows: Sequence[Row]) -> dict[str, Row]:
    return {str(row["billId"]): row for row in rows}


@pytest.mark.parametrize(
    ("fills", "group"),
    [
        (0, 1),
        (1, 1),
        (99, 4),
        (100, 4),
        (101, 4),
        (99, 99),
        (100, 100),
        (101, 101),
        (3_500, 250),
        (3_500, 3_500),
        (10_050, 7),
    ],
)
def test_every_fill_and_every_bill_comes_back_once_and_verbatim(fills: int, group: int) -> None:
    book = account()
    book_all(book, deals(fills, group=group))
    colliding = Counter(str(row["tradeId"]) for row in book.fills.rows)
    assert fills < 2 or max(colliding.values()) > 1

    given = fetch(book)

    assert given.error is None
    assert given.rows("fill") == sent(book.fills.rows)
    assert given.rows("bill") == sent(book.bills.rows)
    for kind, rows in (("fill", fills), ("bill", fills + 1)):
        said = given.said(kind)
        assert (said.status, said.rows, said.reason) == ("complete", rows, "")
        assert (said.served_from, said.served_to) == (datetime(2026, 5, 1, tzinfo=UTC), NOW)
    assert given.said("position").is_snapshot
    assert given.said("position").rows == len(book.position_rows())
    assert given.said("balance").status == given.said("instrument").status == "complete"


def test_recent_fills_that_history_has_not_yet_come_from_the_three_day_list() -> None:
    book = account()
    book_all(book, deals(250, start=NOW - timedelta(hours=30)))
    late = str(book.fills.rows[-1]["billId"])

    class LateHistory(OkxServer):
        def _spoiled(self, *arguments: Any) -> list[Row]:
            rows = arguments[3]
            return [row for row in rows if row["billId"] != late]

    async def conversation() -> dict[str, str]:
        async with LateHistory(book, throttle=0) as server:
            server.fault("trade/fills-history", Fault("page_missing", times=None))
            key = OkxKey(server.api_key, server.secret, server.passphrase)
            source = OkxConnector(
                "okx", key, is_demo=True, base_url=server.url, now=lambda: NOW, patience=QUICK
            )
            found = [item async for item in source.fetch(window(UtcDays(), SINCE, AS_OF))]
            return {i.id: i.payload for i in found if isinstance(i, Record) and i.kind == "fill"}

    fills = asyncio.run(conversation())
    assert len(fills) == 250
    assert json.loads(fills[late]) == book.fills.rows[-1]


@pytest.mark.parametrize(
    "written", ["1000.1000", "0.000000000000000001", "1E-7", "-0", "+5", "00012.50", "", "9" * 60]
)
def test_a_number_stays_the_text_it_came_as(written: str) -> None:
    book = account()
    book_all(book, deals(3))
    book.fills.rows[1]["fillPx"] = written

    given = fetch(book)

    assert given.rows("fill") == sent(book.fills.rows)


def test_numbers_sent_as_json_numbers_keep_their_digits() -> None:
    book = account()
    book_all(book, deals(30))
    exact = "1234567890.123456789012345678"
    book.fills.rows[7]["fee"] = exact

    given = fetch(book, ("*", Fault("wrong_types", times=None)))

    assert given.error is None
    assert given.rows("fill") == sent(book.fills.rows)
    assert given.rows("fill")[str(book.fills.rows[7]["billId"])]["fee"] == exact


def test_instruments_keep_no_json_number() -> None:
    rows = fetch(account()).rows("instrument")
    assert set(rows) == {"BTC-USDT-SWAP", "ETH-USDT-SWAP", "SOL-USDT-SWAP", "BTC-USD-SWAP"}
    assert all(isinstance(row["instIdCode"], str) for row in rows.values())


def test_every_configured_type_is_asked_for() -> None:
    book = account()
    book.deposit("LTC", 10, NOW - timedelta(days=5))
    book.trade("LTC-USDT", "sell", 3, 80, NOW - timedelta(days=4))
    book.trade(BTC, "buy", 3, 80, NOW - timedelta(days=4))

    assert len(fetch(book, types=("SPOT",)).rows("fill")) == 1
    both = fetch(book, types=("SWAP", "SPOT"))
    assert both.rows("fill") == sent(book.fills.rows)
    assert "LTC-USDT" in both.rows("instrument")


def test_a_window_older_than_three_months_is_partial_and_says_since_when() -> None:
    book = account()
    book_all(book, deals(5))

    given = fetch(book, since=date(2025, 12, 1))

    for kind in ("fill", "bill", "position-history"):
        said = given.said(kind)
        assert said.status == "partial"
        assert said.served_from == NOW - timedelta(days=89)
        assert "the first possible `since` is now 2026-02-16" in said.reason
    assert given.said("position").status == "complete"


@pytest.mark.parametrize(
    "perm",
    ["read_only,trade", "read_only,withdraw", "read_only,withdraw,trade", "trade", "", "READ_ONLY"],
)
def test_a_key_that_can_do_more_than_read_is_refused_before_any_other_request(perm: str) -> None:
    book = account()
    book.profile = Profile(perm=perm)

    given = fetch(book)

    assert isinstance(given.error, KeyRefused)
    assert "read_only" in str(given.error)
    assert given.asked == [CONFIG]
    assert given.items == []


def test_a_config_without_perm_or_without_a_row_refuses_the_key() -> None:
    for fault in (Fault("null_fields", None, fields=("perm",)), Fault("empty_page", None)):
        given = fetch(account(), ("account/config", fault))
        assert isinstance(given.error, KeyRefused)
        assert set(given.asked) == {CONFIG}


def test_a_key_that_only_reads_passes() -> None:
    given = fetch(account())
    assert given.error is None
    assert given.rows("config")["account"]["perm"] == "read_only"
    assert all(seen.had_auth for seen in given.server.requests if "public" not in seen.path)
    assert not any(seen.had_auth for seen in given.server.requests if "public" in seen.path)


@pytest.mark.parametrize("kind", ["code_50119", "code_50120", "status_403", "status_451"])
def test_a_refusal_is_raised_at_once_and_never_asked_again(kind: FaultKind) -> None:
    given = fetch(account(), ("trade/fills-history", Fault(kind, None)))
    assert isinstance(given.error, VenueRefused)
    assert given.asked == [CONFIG, "/api/v5/trade/fills-history"]


class Trading(OkxAccount):
    """An account that trades the moment its positions are asked for, `times` times."""

    times = 1
    seen = 0

    def position_rows(self) -> list[Row]:
        if self.seen < self.times:
            self.seen += 1
            self.trade(BTC, "buy", 1, 1_500, NOW - timedelta(minutes=5))
        return super().position_rows()


def trading(times: int) -> Trading:
    book = Trading(now=lambda: NOW)
    book.times = times
    book.deposit("USDT", 100_000, NOW - timedelta(days=3))
    book.trade(BTC, "buy", 2, 1_400, NOW - timedelta(days=2))
    return book


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_trade_between_fills_and_positions_is_fetched_with_them(times: int) -> None:
    book = trading(times)

    given = fetch(book)

    assert book.seen == times
    assert given.rows("fill") == sent(book.fills.rows)
    assert given.rows("bill") == sent(book.bills.rows)
    [position] = given.rows("position").values()
    assert position["pos"] == str(2 + times)
    assert given.said("position").status == given.said("balance").status == "complete"


def test_an_account_that_never_stops_trading_has_no_snapshot() -> None:
    given = fetch(trading(1_000))
    for kind in ("position", "balance"):
        said = given.said(kind)
        assert (said.status, said.rows) == ("failed", 0)
        assert "quieter minute" in said.reason
        assert given.rows(kind) == {}


def test_two_hundred_late_fills_are_all_fetched() -> None:
    class Bursting(Trading):
        def position_rows(self) -> list[Row]:
            if not self.seen:
                for _ in range(200):
                    self.trade(BTC, "buy", 1, 1_500, NOW - timedelta(minutes=5))
            self.seen = 1
            return OkxAccount.position_rows(self)

    book = Bursting(now=lambda: NOW)
    book.deposit("USDT", 100_000, NOW - timedelta(days=3))
    book_all(book, deals(40))

    given = fetch(book)

    assert given.rows("fill") == sent(book.fills.rows)
    assert given.rows("bill") == sent(book.bills.rows)
    assert given.said("position").status == "complete"


def test_a_redirect_is_never_followed() -> None:
    for path in ("account/config", "trade/fills-history", "account/balance", "public/instruments"):
        given = fetch(account(), (path, Fault("redirect", None)))
        assert REDIRECTED_TO not in given.asked
        failed = [c for c in given.items if isinstance(c, Coverage) and c.status == "failed"]
        assert given.error is not None or failed


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("account/config", "status_401"),
        ("account/config", "code_50119"),
        ("account/config", "html_200"),
        ("account/config", "null_fields"),
        ("account/config", "redirect"),
        ("account/config", "dropped_connection"),
        ("trade/fills-history", "hang"),
        ("trade/fills-history", "truncated_json"),
        ("trade/fills-history", "redirect"),
        ("account/bills", "reset_midway"),
        ("account/balance", "code_50120"),
        ("account/positions", "gzip_bomb"),
    ],
)
def test_no_secret_is_ever_shown(
    path: str, kind: FaultKind, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("ccxt", "urllib3", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    book = account()
    book_all(book, deals(3))

    key, secret, passphrase = CANARIES
    given = fetch(
        book,
        (path, Fault(kind, None)),
        patience=IMPATIENT,
        api_key=key,
        secret=secret,
        passphrase=passphrase,
    )

    told = [caplog.text, *(record.getMessage() for record in caplog.records), repr(given.items)]
    if given.error is not None:
        told += [repr(given.error), *traceback.format_exception(given.error)]
    else:
        assert any(isinstance(c, Coverage) and c.status == "failed" for c in given.items)
    assert [canary for canary in CANARIES if any(canary in text for text in told)] == []


def test_no_secret_is_shown_where_ccxts_own_logger_was_set_to_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "ccxt.base.exchange")
    key, secret, passphrase = CANARIES

    fetch(account(), api_key=key, secret=secret, passphrase=passphrase)

    told = [canary for canary in CANARIES if canary in caplog.text]
    assert told == [], "ccxt logs by the name ccxt.base.exchange, and only ccxt is held at INFO"


def test_a_repr_shows_no_secret() -> None:
    key = OkxKey(*CANARIES)
    source = OkxConnector("okx", key, now=lambda: NOW)
    shown = f"{key!r} {key} {source!r} {source}"
    assert not any(canary in shown for canary in CANARIES)


def test_a_wrong_secret_is_refused_in_words() -> None:
    async def items() -> list[CheckItem]:
        async with OkxServer(account(), throttle=0) as server:
            key = OkxKey(server.api_key, CANARIES[1], server.passphrase)
            source = OkxConnector(
                "okx", key, is_demo=True, base_url=server.url, now=lambda: NOW, patience=QUICK
            )
            return await source.check()

    [item] = asyncio.run(items())
    assert not item.is_ok
    assert "50113" in item.detail
    assert item.remedy
    assert CANARIES[1] not in repr(item)


@pytest.mark.parametrize(("ip", "notes"), [("127.0.0.1", 0), ("", 1)])
def test_check_says_whether_the_key_has_an_address_list(ip: str, notes: int) -> None:
    async def items() -> list[CheckItem]:
        book = account()
        book.profile = Profile(ip=ip)
        async with OkxServer(book, throttle=0) as server:
            key = OkxKey(server.api_key, server.secret, server.passphrase)
            source = OkxConnector(
                "okx", key, is_demo=True, base_url=server.url, now=lambda: NOW, patience=QUICK
            )
            return await source.check()

    [item] = asyncio.run(items())
    assert item.is_ok
    assert len(item.notes) == notes


def test_everything_together_has_one_deadline() -> None:
    patience = RetryPolicy(
        request_timeout_s=0.4,
        attempts=50,
        first_wait_s=0.01,
        longest_wait_s=0.02,
        total_s=1.0,
        is_rate_limited=False,
    )
    began = asyncio.new_event_loop()
    started = began.time()
    given = fetch(
        account(), ("trade/fills-history", Fault("dripping_body", None)), patience=patience
    )
    took_s = began.time() - started
    began.close()
    assert given.said("fill").status == "failed"
    assert took_s < 3


def test_a_cursor_without_end_is_a_failure() -> None:
    class Endless(OkxServer):
        """Gives a fresh, older page for ever."""

        ids = count(10**12, -1)

        def _spoiled(self, *arguments: Any) -> list[Row]:
            template = self.account.fills.rows[0]
            return [{**template, "billId": str(next(self.ids))} for _ in range(100)]

    async def conversation() -> list[Coverage]:
        book = account()
        book_all(book, deals(1))
        async with Endless(book, throttle=0) as server:
            server.fault("trade/fills-history", Fault("page_missing", times=None))
            key = OkxKey(server.api_key, server.secret, server.passphrase)
            source = OkxConnector(
                "okx",
                key,
                is_demo=True,
                base_url=server.url,
                now=lambda: NOW,
                patience=RetryPolicy(
                    request_timeout_s=1.0, attempts=2, total_s=2.0, is_rate_limited=False
                ),
            )
            found = [item async for item in source.fetch(window(UtcDays(), SINCE, AS_OF))]
            return [c for c in found if isinstance(c, Coverage) and c.kinds == ("fill/SWAP",)]

    [said] = asyncio.run(conversation())
    assert said.status == "failed"


PENDING, ENDED, ARCHIVE = (
    "/api/v5/trade/orders-pending",
    "/api/v5/trade/orders-history",
    "/api/v5/trade/orders-history-archive",
)


def ordered(count: int) -> OkxAccount:
    """An account with so many orders: the older half ended before the last seven days."""
    book = account()
    for number in range(count):
        at = NOW - timedelta(days=13) * (count - number) / count - timedelta(hours=3)
        book.trade(BTC, "sell" if number % 2 else "buy", 1, 50_000, at, fee=0)
    return book


@pytest.mark.parametrize("count", [1, 100, 101, 250])
def test_every_order_is_read_once_in_full(count: int) -> None:
    book = ordered(count)
    resting = book.trade(
        BTC, "buy", 1, 50_000, NOW - timedelta(hours=2), fee=0, algo_cl_ord_id="a1", is_resting=True
    )
    given = fetch(book, reads_orders=True)
    assert given.rows("order") == {
        str(row["ordId"]): row
        for is_resting in (True, False)
        for row in book.orders(is_resting=is_resting).rows
    }
    last = next(str(row["ordId"]) for row in book.fills.rows if row["billId"] == str(resting))
    assert given.rows("order")[last]["state"] == "partially_filled"
    assert given.said("order").status == "complete"
    assert given.asked.index(PENDING) < given.asked.index(ARCHIVE)
    assert given.asked.index(PENDING) > given.asked.index("/api/v5/account/positions")


def test_orders_are_read_only_where_they_attribute_fills_to_bots() -> None:
    given = fetch(ordered(3))
    assert given.rows("order") == {}
    assert not {PENDING, ENDED, ARCHIVE} & set(given.asked)


@pytest.mark.parametrize(
    "kind",
    [
        "code_50001",
        "code_50120",
        "page_missing",
        "page_reordered",
        "page_doubled",
        "stuck_cursor",
        "data_null",
        "html_200",
        "null_fields",
    ],
)
@pytest.mark.parametrize("path", [ARCHIVE, ENDED])
def test_orders_that_cannot_be_had_are_failed_and_nothing_else_is(
    path: str, kind: FaultKind
) -> None:
    """A page that lacks rows gives fewer orders, or is noticed; never others."""
    book = ordered(250)
    given = fetch(book, (path, Fault(kind, times=None)), reads_orders=True, patience=IMPATIENT)
    assert given.error is None
    every = {str(row["ordId"]): row for row in book.orders(is_resting=False).rows}
    assert given.rows("order").items() <= every.items()
    if kind != "page_missing":
        assert given.said("order").status == "failed"
    others = [c for c in given.items if isinstance(c, Coverage) and c.evidence != "orders"]
    assert {c.status for c in others} == {"complete"}
