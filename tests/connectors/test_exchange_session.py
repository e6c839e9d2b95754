"""What stands beneath ccxt: the clock, bounds over all answers, and ccxt's own arithmetic."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from ccxt.base.precise import Precise

from connectors.ccxt_exchange.client import _bound_exponents
from connectors.exchange_session import CLOCK_UNKNOWN, check_clock, skew_s
from connectors.okx.client import OkxKey
from connectors.okx.connector import OkxConnector
from recon.core.calendars import UtcDays, window
from recon.core.records import CheckItem, Coverage, Record
from recon.demo.venues.okx_server import OkxServer
from recon.errors import VenueRefused
from tests.support.fleet import AS_OF, NOW, QUICK, SINCE, account, round_trips


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "garbage",
        "Thu, 14 May 2026 02:00:00 -0000",
        "Tue, 99 Abc 2026 99:99:99 GMT",
        "Thursday, 14-May-26 02:00:00 GMT",
        "Thu, 14 May 2026 02:00:00 GMT, " * 2,
        "9" * 10_000,
    ],
)
def test_a_date_that_is_none_leaves_the_clock_unknown(date: str | None) -> None:
    assert check_clock({} if date is None else {"date": date}) is None


def test_two_dates_leave_the_clock_unknown() -> None:
    at = format_datetime(datetime.now(UTC), usegmt=True)
    assert skew_s({"Date": at, "date": at}) is None


@pytest.mark.parametrize("off", [timedelta(seconds=30), timedelta(days=-3000)])
def test_a_clock_that_is_off_is_refused(off: timedelta) -> None:
    at = datetime.now(UTC)
    assert abs(check_clock({"Date": format_datetime(at, usegmt=True)}) or 9) < 5
    with pytest.raises(VenueRefused, match="off the venue's"):
        check_clock({"Date": format_datetime(at + off, usegmt=True)})


def fetched(most_bytes: int) -> list[Record | Coverage]:
    async def conversation() -> list[Record | Coverage]:
        book = account()
        round_trips(book, 3)
        async with OkxServer(book, throttle=0) as server:
            source = OkxConnector(
                "okx",
                OkxKey(server.api_key, server.secret, server.passphrase),
                is_demo=True,
                base_url=server.url,
                now=lambda: NOW,
                patience=replace(QUICK, most_bytes=most_bytes),
            )
            return [item async for item in source.fetch(window(UtcDays(), SINCE, AS_OF))]

    return asyncio.run(conversation())


def test_all_answers_of_a_fetch_together_are_bounded() -> None:
    assert fetched(100_000)
    with pytest.raises(VenueRefused, match=r"bytes, more than the limit of 5000 .* max_fetch_mb"):
        fetched(5_000)


def test_a_clock_that_is_not_known_is_said_by_check() -> None:
    class Timeless(OkxServer):
        """Its answers carry a date that is none."""

        async def _serve(self, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            response = await super()._serve(request)
            response.headers["Date"] = "soon"
            return response

    async def checked() -> list[CheckItem]:
        async with Timeless(account(), throttle=0) as server:
            key = OkxKey(server.api_key, server.secret, server.passphrase)
            source = OkxConnector(
                "okx", key, is_demo=True, base_url=server.url, now=lambda: NOW, patience=QUICK
            )
            return await source.check()

    [item] = asyncio.run(checked())
    assert item.is_ok
    assert CLOCK_UNKNOWN in item.notes


def test_ccxt_writes_no_exponent_out_that_fills_the_memory() -> None:
    _bound_exponents()
    assert Precise.string_mul("1e3", "2.5") == "2500"
    for number in ("1e999999999", "-1.5E-999999999"):
        with pytest.raises(ValueError, match="exceeds 400"):
            Precise.string_mul(number, "2")
