"""The loopback OKX is held to the venue's facts, through real ccxt wherever ccxt can ask."""

from __future__ import annotations

import asyncio
import json
import typing
import zlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import ccxt
import ccxt.async_support
import pytest

from recon.demo.venues.okx_account import OkxAccount, Profile, utc_now
from recon.demo.venues.okx_faults import BOMB_BYTES, Fault, FaultKind
from recon.demo.venues.okx_server import OkxServer

NOW = datetime(2026, 5, 15, 2, tzinfo=UTC)
FILLS = "trade/fills"
HISTORY = "trade/fills-history"

Exchange = Any
Story = Callable[[OkxServer, Exchange], Awaitable[None]]


def account_with(fills: int, ago: timedelta = timedelta(hours=20)) -> OkxAccount:
    account = OkxAccount(now=lambda: NOW)
    account.deposit("USDT", 100_000, NOW - ago)
    for turn in range(fills):
        account.trade(
            "ETH-USDT-SWAP" if turn % 3 else "BTC-USDT-SWAP",
            "buy" if turn % 2 else "sell",
            1 + turn % 7,
            1_000 + turn % 501,
            NOW - ago + timedelta(milliseconds=turn // 4),
        )
    return account


def exchange_for(server: OkxServer, **options: object) -> Exchange:
    keys = {"apiKey": server.api_key, "secret": server.secret, "password": server.passphrase}
    exchange = ccxt.async_support.okx(
        {**keys, "enableRateLimit": False, "timeout": 5_000} | options
    )
    exchange.set_sandbox_mode(server.demo)
    exchange.urls["api"]["rest"] = server.url
    return exchange


def play(account: OkxAccount, story: Story, **server_options: Any) -> OkxServer:
    async def run() -> OkxServer:
        async with OkxServer(account, **{"throttle": 0.0} | server_options) as server:
            exchange = exchange_for(server)
            try:
                await story(server, exchange)
            finally:
                await exchange.close()
        return server

    return asyncio.run(run())


async def read_all(ask: Any, cursor: str = "billId", **query: str) -> list[dict[str, str]]:
    """Page by cursor to the first empty page, at most 200 pages."""
    rows: list[dict[str, str]] = []
    after: dict[str, str] = {}
    for _ in range(200):
        page = (await ask({"limit": "100", **query, **after}))["data"]
        if not page:
            return rows
        rows += page
        after = {"after": page[-1][cursor]}
    raise AssertionError("no end of pages")


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 3_500])
def test_ccxt_pages_through_every_fill_and_bill_exactly(count: int) -> None:
    account = account_with(count)

    async def story(server: OkxServer, exchange: Exchange) -> None:
        for ask in (exchange.privateGetTradeFillsHistory, exchange.privateGetTradeFills):
            assert await read_all(ask, instType="SWAP") == account.fills.rows[::-1]
        for ask in (exchange.privateGetAccountBills, exchange.privateGetAccountBillsArchive):
            assert await read_all(ask) == account.bills.rows[::-1]
        assert len(server.requests) == 2 * (-(-count // 100) + 1) + 2 * (-(-(count + 1) // 100) + 1)

    server = play(account, story)
    assert server.violations == []
    assert all(seen.had_auth and seen.method == "GET" for seen in server.requests)


def test_ten_thousand_fills_are_made_and_served_fast() -> None:
    # A generous bound, against quadratic work; on an idle core making takes 0.3 s, serving 0.2 s.
    started = utc_now()
    account = account_with(10_050)
    assert utc_now() - started < timedelta(seconds=10)

    async def story(_server: OkxServer, exchange: Exchange) -> None:
        rows = await read_all(exchange.privateGetTradeFillsHistory, instType="SWAP")
        assert len({row["billId"] for row in rows}) == 10_050

    play(account, story)
    assert utc_now() - started < timedelta(seconds=20)


def test_trade_ids_collide_and_milliseconds_are_shared() -> None:
    async def story(_server: OkxServer, exchange: Exchange) -> None:
        rows = await read_all(exchange.privateGetTradeFills)
        assert len({row["billId"] for row in rows}) == 400
        assert len({(row["instId"], row["tradeId"]) for row in rows}) == 400
        assert len({row["tradeId"] for row in rows}) < 400
        assert len({row["ts"] for row in rows}) == 100

    play(account_with(400), story)


def test_begin_and_end_are_inclusive_and_before_gives_the_newest_of_the_newer() -> None:
    account = account_with(400)
    times = sorted({int(str(row["ts"])) for row in account.fills.rows})

    async def story(_server: OkxServer, exchange: Exchange) -> None:
        ask = exchange.privateGetTradeFills
        rows = await read_all(ask, begin=str(times[10]), end=str(times[19]))
        assert sorted({int(row["ts"]) for row in rows}) == times[10:20]
        assert len(rows) == 40
        newer = (await ask({"before": account.fills.rows[99]["billId"], "limit": "7"}))["data"]
        assert newer == account.fills.rows[-1:-8:-1]
        assert len((await ask({"limit": "500"}))["data"]) == 100
        some = await read_all(ask, instId="BTC-USDT-SWAP")
        assert {row["instId"] for row in some} == {"BTC-USDT-SWAP"}

    play(account, story)


@pytest.mark.parametrize(
    ("path", "days"),
    [
        ("TradeFills", 3),
        ("TradeFillsHistory", 90),
        ("AccountBills", 7),
        ("AccountBillsArchive", 90),
    ],
)
def test_each_endpoint_forgets_what_is_older_than_its_window(path: str, days: int) -> None:
    account = OkxAccount(now=lambda: NOW)
    for ago in (timedelta(days=days, milliseconds=1), timedelta(days=days), timedelta(0)):
        account.trade("BTC-USDT-SWAP", "buy", 1, 100, NOW - ago)

    async def story(_server: OkxServer, exchange: Exchange) -> None:
        answer = await getattr(exchange, "privateGet" + path)({"instType": "SWAP"})
        assert [row["tradeId"] for row in answer["data"]] == ["3", "2"]

    play(account, story)


def test_fills_history_wants_an_instrument_type() -> None:
    async def story(_server: OkxServer, exchange: Exchange) -> None:
        with pytest.raises(ccxt.BadRequest, match=r"50014.*instType can not be empty"):
            await exchange.privateGetTradeFillsHistory({})
        # What ccxt's unified call does without a symbol: asks for SPOT, and gets no swap fills.
        await exchange.load_markets()
        assert await exchange.fetch_my_trades() == []

    play(account_with(5), story)


def test_ccxt_reads_markets_balance_and_positions_in_its_own_terms() -> None:
    account = OkxAccount(now=lambda: NOW)
    account.deposit("USDT", "1000.5", NOW)
    account.trade("BTC-USD-SWAP", "sell", 3, 50_000, NOW)
    account.trade("ETH-USDT-SWAP", "buy", 2, 3_000, NOW, fee="-0.5")

    async def story(_server: OkxServer, exchange: Exchange) -> None:
        markets = await exchange.load_markets()
        assert markets["BTC/USDT:USDT"]["contractSize"] == 0.01
        assert markets["BTC/USD:BTC"]["inverse"]
        assert (await exchange.fetch_balance())["info"]["data"][0]["details"][0]["cashBal"] == (
            "1000"
        )
        sides = {row["symbol"]: row["side"] for row in await exchange.fetch_positions()}
        assert sides == {"BTC/USD:BTC": "short", "ETH/USDT:USDT": "long"}
        assert len(await exchange.fetch_my_trades("ETH/USDT:USDT")) == 1

    assert play(account, story).violations == []


def test_positions_history_pages_by_update_time_and_tells_the_whole_identity() -> None:
    account = OkxAccount(now=lambda: NOW)
    for turn in range(250):
        at = NOW - timedelta(seconds=1_000 - turn)
        account.trade("SOL-USDT-SWAP", "buy", 3, 100 + turn, at)
        account.trade("SOL-USDT-SWAP", "sell", 3, 101, at + timedelta(milliseconds=500))

    async def story(_server: OkxServer, exchange: Exchange) -> None:
        rows = await read_all(exchange.privateGetAccountPositionsHistory, "uTime")
        assert rows == account.closed_positions().rows[::-1]
        assert len(rows) == 250

    play(account, story)


@pytest.mark.parametrize(
    ("path", "calls"),
    [
        ("TradeFills", 60),
        ("TradeFillsHistory", 10),
        ("AccountBills", 5),
        ("AccountBillsArchive", 5),
        ("AccountPositionsHistory", 10),
    ],
)
def test_one_call_too_many_is_throttled(path: str, calls: int) -> None:
    async def story(_server: OkxServer, exchange: Exchange) -> None:
        ask = getattr(exchange, "privateGet" + path)
        for _ in range(calls):
            await ask({"instType": "SWAP"})
        with pytest.raises(ccxt.RateLimitExceeded, match="50011"):
            await ask({"instType": "SWAP"})

    play(account_with(1), story, throttle=1.0)


def test_the_throttle_scales_and_lets_go_again() -> None:
    async def story(_server: OkxServer, exchange: Exchange) -> None:
        ask = exchange.privateGetAccountBills
        for _ in range(20):
            await ask({})
        with pytest.raises(ccxt.RateLimitExceeded):
            await ask({})
        await asyncio.sleep(1.05)
        await ask({})

    play(account_with(1), story, throttle=4.0)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ({"apiKey": "another"}, "50111"),
        ({"secret": "another"}, "50113"),
        ({"password": "another"}, "50105"),
    ],
)
def test_a_wrong_credential_is_refused_with_its_own_code(spoil: dict[str, str], code: str) -> None:
    async def story(server: OkxServer, _exchange: Exchange) -> None:
        stranger = exchange_for(server, **spoil)
        try:
            with pytest.raises(ccxt.BaseError, match=code):
                await stranger.privateGetAccountConfig()
        finally:
            await stranger.close()

    play(account_with(0), story)


@pytest.mark.parametrize("is_demo", [True, False])
def test_a_key_works_in_its_own_environment_only(is_demo: bool) -> None:
    async def story(_server: OkxServer, exchange: Exchange) -> None:
        await exchange.privateGetAccountConfig()
        if is_demo:
            del exchange.headers["x-simulated-trading"]
        else:
            exchange.headers["x-simulated-trading"] = "1"
        with pytest.raises(ccxt.BaseError, match="50101"):
            await exchange.privateGetAccountConfig()

    play(account_with(0), story, demo=is_demo)


@pytest.mark.parametrize(("off_s", "is_refused"), [(28, False), (32, True), (-32, True)])
def test_a_clock_more_than_thirty_seconds_off_is_refused(off_s: int, is_refused: bool) -> None:
    async def story(_server: OkxServer, exchange: Exchange) -> None:
        if is_refused:
            with pytest.raises(ccxt.InvalidNonce, match="50102"):
                await exchange.privateGetAccountConfig()
        else:
            await exchange.privateGetAccountConfig()
        told = await exchange.publicGetPublicTime()
        skew_ms = int(told["data"][0]["ts"]) - exchange.milliseconds()
        assert abs(skew_ms - 1_000 * off_s) < 1_000

    play(account_with(0), story, clock=lambda: utc_now() + timedelta(seconds=off_s))


def test_the_signature_covers_the_query() -> None:
    async def story(server: OkxServer, exchange: Exchange) -> None:
        signed = exchange.sign("trade/fills", ["private"], "GET", {"limit": "1"})
        forged = signed["url"].replace("limit=1", "limit=100")
        headers = {**signed["headers"], **exchange.headers}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(signed["url"]) as answer:
                assert (await answer.json())["code"] == "0"
            async with session.get(forged) as answer:
                assert (answer.status, (await answer.json())["code"]) == (401, "50113")
            async with session.get(server.url + "/api/v5/account/config", headers={}) as answer:
                assert (await answer.json())["code"] == "50113"

    play(account_with(1), story)


def test_anything_but_get_is_a_violation() -> None:
    async def story(_server: OkxServer, exchange: Exchange) -> None:
        with pytest.raises(ccxt.BaseError, match="405"):
            await exchange.privatePostTradeOrder({"instId": "BTC-USDT-SWAP"})

    assert play(account_with(0), story).violations == ["POST /api/v5/trade/order"]


def test_permissions_are_what_the_profile_says() -> None:
    account = OkxAccount(profile=Profile(perm="read_only,trade", uid="77", ip=""))

    async def story(_server: OkxServer, exchange: Exchange) -> None:
        (row,) = (await exchange.privateGetAccountConfig())["data"]
        assert (row["perm"], row["uid"], row["ip"]) == ("read_only,trade", "77", "")

    play(account, story)


def places(account: OkxAccount, page: list[dict[str, str]]) -> list[int]:
    """Return where the rows of a page stand, counted from the newest."""
    newest_first = [row["billId"] for row in reversed(account.fills.rows)]
    return [newest_first.index(row["billId"]) for row in page]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("page_missing", [*range(200, 300)]),
        ("page_doubled", [*range(100)]),
        ("page_overlapping", [*range(90, 190)]),
        ("page_reordered", [*range(199, 99, -1)]),
        ("empty_page", []),
        ("stuck_cursor", [*range(100)]),
    ],
)
def test_the_second_page_is_the_wrong_one(kind: FaultKind, expected: list[int]) -> None:
    account = account_with(400)

    async def story(server: OkxServer, exchange: Exchange) -> None:
        server.fault(HISTORY, Fault(kind, after=1))
        ask, query = exchange.privateGetTradeFillsHistory, {"instType": "SWAP"}
        first = (await ask(query))["data"]
        query["after"] = first[-1]["billId"]
        assert places(account, (await ask(query))["data"]) == expected
        # Once only: the same question is then answered well.
        assert places(account, (await ask(query))["data"]) == [*range(100, 200)]

    play(account, story)


def test_a_fault_that_needs_a_page_before_waits_for_one() -> None:
    account = account_with(250)

    async def story(server: OkxServer, exchange: Exchange) -> None:
        server.fault("*", Fault("page_doubled"))
        rows = await read_all(exchange.privateGetTradeFills)
        assert places(account, rows) == [*range(100), *range(250)]

    play(account, story)


async def body_under(kind: FaultKind, server: OkxServer, exchange: Exchange) -> Any:
    """Return what a client without ccxt's leniency reads: status, headers, raw body."""
    server.clear_faults()
    server.fault(FILLS, Fault(kind, times=None, retry_after_s=7, fields=("fee",)))
    signed = exchange.sign(FILLS, ["private"], "GET", {})
    headers = {**signed["headers"], **exchange.headers}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1)) as session,
        session.get(signed["url"], headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status, answer.headers, await answer.read()


def test_every_fault_of_an_answer_or_a_body_is_what_its_name_says() -> None:
    async def story(server: OkxServer, exchange: Exchange) -> None:
        async def body(kind: FaultKind) -> Any:
            return json.loads((await body_under(kind, server, exchange))[2])

        for kind in typing.get_args(FaultKind):
            if kind.startswith("status_"):
                status, headers, _ = await body_under(kind, server, exchange)
                assert status == int(kind.removeprefix("status_"))
                assert headers.get("Retry-After") == ("7" if status == 429 else None)
            if kind.startswith("code_"):
                assert (await body(kind))["code"] == kind.removeprefix("code_")
        assert (await body("data_null"))["data"] is None
        assert "data" not in await body("data_missing")
        assert isinstance((await body("data_dict"))["data"], dict)
        assert {row["fee"] for row in (await body("null_fields"))["data"]} == {None}
        assert {row["fee"] for row in (await body("nan_fields"))["data"]} == {"NaN"}
        assert len((await body("huge_numbers"))["data"][0]["fee"]) == 400
        assert isinstance((await body("wrong_types"))["data"][0]["billId"], int)
        assert isinstance((await body("wrong_types"))["data"][0]["fee"], float)
        assert (await body_under("empty_body", server, exchange))[2] == b""
        assert b"<html>" in (await body_under("html_200", server, exchange))[2]
        assert (await body_under("redirect", server, exchange))[0] == 302
        with pytest.raises(json.JSONDecodeError):
            await body("truncated_json")

    play(account_with(3), story)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("dropped_connection", aiohttp.ServerDisconnectedError),
        ("reset_midway", aiohttp.ClientPayloadError),
        ("hang", TimeoutError),
        ("dripping_head", TimeoutError),
        ("dripping_body", TimeoutError),
    ],
)
def test_every_fault_of_the_wire_reaches_the_client(
    kind: FaultKind, error: type[Exception]
) -> None:
    async def story(server: OkxServer, exchange: Exchange) -> None:
        with pytest.raises(error):
            await body_under(kind, server, exchange)

    play(account_with(30), story)


def test_the_gzip_bomb_is_small_on_the_wire_and_large_after_it() -> None:
    async def story(server: OkxServer, exchange: Exchange) -> None:
        server.fault("*", Fault("gzip_bomb"))
        signed = exchange.sign(FILLS, ["private"], "GET", {})
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.get(signed["url"], headers=signed["headers"]) as answer,
        ):
            squeezed = await answer.read()
        assert len(squeezed) < 1_000_000
        loosen = zlib.decompressobj(wbits=31)
        size = 0
        while not loosen.eof:
            size += len(loosen.decompress(loosen.unconsumed_tail or squeezed, 1 << 20))
        assert size > BOMB_BYTES

    play(account_with(0), story)
