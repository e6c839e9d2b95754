"""OKX's answers, one of them spoilt: a fetch reads it right, or says that it is no evidence."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web
from hypothesis import given

from connectors.okx.client import OkxKey
from connectors.okx.connector import OkxConnector
from recon.core.calendars import UtcDays, window
from recon.demo.venues.okx_server import OkxServer
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
from tests.support.fleet import AS_OF, NOW, QUICK, SINCE, account, round_trips

ANSWERS = 25
ONCE = replace(QUICK, attempts=1, request_timeout_s=0.5, total_s=10.0)


@dataclass
class SpoilingOkx(OkxServer):
    """Spoils one answer."""

    spoiling: Spoiling | None = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        number = len(self.requests)
        response = await super()._serve(request)
        is_spoilt = self.spoiling is not None and self.spoiling.number == number
        answer: Any = await served(request, response, self.spoiling if is_spoilt else None)
        return answer  # type: ignore[no-any-return]


async def _fetched(spoiling: Spoiling | None) -> Items:
    book = account()
    round_trips(book, 2)
    async with connections_ended(), SpoilingOkx(book, throttle=0, spoiling=spoiling) as server:
        source = OkxConnector(
            "okx",
            OkxKey(server.api_key, server.secret, server.passphrase),
            reads_orders=True,
            is_demo=True,
            base_url=server.url,
            now=lambda: NOW,
            patience=ONCE,
        )
        return await gathered(source.fetch(window(UtcDays(), SINCE, AS_OF)))


TRUE = asyncio.run(_fetched(None))


@fuzzed
@given(spoilings(ANSWERS))
def test_a_spoilt_answer_is_read_right_or_is_no_evidence(spoiling: Spoiling) -> None:
    items = asyncio.run(_fetched(spoiling))
    check_sound(items, TRUE, is_noticed=spoiling.is_noticed)
