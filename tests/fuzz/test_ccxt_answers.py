"""Answers of ccxt's exchanges, one of them spoilt: read right, or said to be no evidence."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from recon.core.calendars import UtcDays, window
from recon.core.records import Coverage
from tests.fuzz.door import fuzzed
from tests.fuzz.hostile import (
    Items,
    Spoiling,
    check_sound,
    connections_ended,
    gathered,
    served,
    spoilings,
)
from tests.support.exchanges import PATIENT, SERVERS, busy_book, connector
from tests.support.fleet import AS_OF, OPENING, SINCE
from tests.support.servers.ccxt_server import CcxtServer

ANSWERS = 12
ONCE = replace(PATIENT, attempts=1, request_timeout_s=0.5, total_s=10.0)


def _spoiling(exchange: str, spoiling: Spoiling | None) -> CcxtServer:
    """Return the server of an exchange, which spoils one answer."""

    kind: Any = SERVERS[exchange]

    @dataclass
    class SpoilingServer(kind):  # type: ignore[misc]  # the base is chosen here
        async def _serve(self, request: web.Request) -> web.StreamResponse:
            number = len(self.requests)
            response: web.StreamResponse = await super()._serve(request)
            is_spoilt = spoiling is not None and spoiling.number == number
            answer: Any = await served(request, response, spoiling if is_spoilt else None)
            return answer  # type: ignore[no-any-return]

    book = busy_book(SERVERS[exchange].symbols, 6)
    book.pay(SERVERS[exchange].symbols[0], "-0.25", OPENING)
    server: CcxtServer = SpoilingServer(book)
    return server


async def _fetched(exchange: str, spoiling: Spoiling | None) -> Items:
    async with connections_ended(), _spoiling(exchange, spoiling) as server:
        return await gathered(connector(server, ONCE).fetch(window(UtcDays(), SINCE, AS_OF)))


TRUE = {exchange: asyncio.run(_fetched(exchange, None)) for exchange in SERVERS}


@fuzzed
@given(st.sampled_from(sorted(SERVERS)), spoilings(ANSWERS))
@example("binanceusdm", Spoiling(0, "value", 267))  # an instrument whose name has 5,000 digits
def test_a_spoilt_answer_is_read_right_or_is_no_evidence(exchange: str, spoiling: Spoiling) -> None:
    items = asyncio.run(_fetched(exchange, spoiling))
    # Which instruments and payments there are to read is known from the trades.
    are_trades_known = all(
        item.status == "complete"
        for item in items
        if isinstance(item, Coverage) and item.evidence == "fills"
    )
    may_lack = () if are_trades_known else ("instrument", "funding")
    check_sound(items, TRUE[exchange], is_noticed=spoiling.is_noticed, may_lack=may_lack)
