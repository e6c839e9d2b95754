"""A loopback OKX: REST v5 over one `OkxAccount`, near enough that real ccxt works against it.

It reads only, on 127.0.0.1 only. Signatures are verified, pages cut, windows kept and callers
throttled as the venue does it; faults are played on request. `requests` tells what was asked,
`violations` whatever a reader must never send.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import NamedTuple, Self

from aiohttp import web

from recon.demo.venues.background import stop
from recon.demo.venues.okx_account import OkxAccount, utc_now
from recon.demo.venues.okx_endpoints import ENDPOINTS, PREFIX, Asked, Endpoint, Query, Refusal
from recon.demo.venues.okx_faults import (
    PAGE_FAULTS,
    REDIRECTED_TO,
    Fault,
    FaultPlan,
    broken_wire,
    envelope,
    refused,
    spoiled_body,
    spoiled_page,
)
from recon.demo.venues.okx_instruments import Row

CLOCK_TOLERANCE_S = 30


class Seen(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    had_auth: bool


@dataclass(slots=True)
class OkxServer:
    """The server; enter it with `async with`. Demo keys want `x-simulated-trading: 1`, live not.

    `throttle` scales how many calls a period allows; 0 lifts the limits. `clock` is the venue's
    own time, against which requests are dated; `account.now` only moves the windows of history.
    """

    account: OkxAccount
    api_key: str = "loopback-key"
    secret: str = "loopback-secret"  # noqa: S105 — worth nothing outside this server
    passphrase: str = "loopback-passphrase"  # noqa: S105
    demo: bool = True
    throttle: float = 1.0
    clock: Callable[[], datetime] = utc_now
    url: str = ""
    requests: list[Seen] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    _plan: FaultPlan = field(default_factory=FaultPlan)
    _calls: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    _served: dict[str, list[Row]] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen on a free port of 127.0.0.1."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        # Hanging and dripping answers are cut when the server stops, not waited for.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening and cut what is still being answered."""
        if self._runner is not None:
            await stop(self._runner)

    def fault(self, path: str, fault: Fault) -> None:
        """Arm a fault for a path, with `/api/v5/` before it or without, or for `*`."""
        known = path == "*" or path.startswith("/")
        self._plan.add(path if known else PREFIX + path, fault)

    def clear_faults(self) -> None:
        """Let everything go well again."""
        self._plan.clear()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        had_auth = any(name.upper().startswith("OK-ACCESS-") for name in request.headers)
        self.requests.append(Seen(request.method, request.path, query, had_auth))
        if request.method != "GET":
            self.violations.append(f"{request.method} {request.path}")
            return _said(Refusal(405, "405", "Method Not Allowed"))
        if request.path == REDIRECTED_TO:
            return web.json_response(envelope([]))
        endpoint = ENDPOINTS.get(request.path)
        if endpoint is None:
            return _said(Refusal(404, "404", "Not Found"))
        try:
            return await self._answer(request, endpoint, query)
        except Refusal as refusal:
            return _said(refusal)

    async def _answer(
        self, request: web.Request, endpoint: Endpoint, query: Query
    ) -> web.StreamResponse:
        chain = request.path + json.dumps(_without_cursor(query), sort_keys=True)
        has_page_before = "after" in query and chain in self._served
        fault = self._plan.take(request.path, has_page_before=has_page_before)
        if fault is not None:
            early = refused(fault)
            if early is not None:
                return early
        if not endpoint.is_public:
            self._authenticate(request)
        self._admit(request.path, endpoint)
        rows = endpoint.answer(Asked(self.account, query, self.clock))
        if fault is None:
            self._served[chain] = rows
            return web.json_response(envelope(rows))
        if fault.kind in PAGE_FAULTS:
            rows = self._spoiled(fault, endpoint, query, rows, self._served.get(chain))
        self._served[chain] = rows
        body = spoiled_body(fault, rows)
        broken = await broken_wire(fault, request, body.encode())
        return broken or web.Response(text=body, content_type="application/json")

    def _spoiled(
        self,
        fault: Fault,
        endpoint: Endpoint,
        query: Query,
        rows: list[Row],
        before: list[Row] | None,
    ) -> list[Row]:
        def read(asked: Query) -> list[Row]:
            return endpoint.answer(Asked(self.account, asked, self.clock))

        def page_after(page: list[Row]) -> list[Row]:
            if not endpoint.cursor or not page:
                return []
            return read({**query, "after": str(page[-1][endpoint.cursor])})

        def first_page() -> list[Row]:
            return read(_without_cursor(query))

        return spoiled_page(fault, rows, before, page_after, first_page)

    def _authenticate(self, request: web.Request) -> None:
        """Verify key, environment, date, passphrase and signature, as the venue does."""
        sent = request.headers
        for name, code in _AUTH_HEADERS.items():
            if not sent.get(name):
                raise Refusal(401, code, f'Request header "{name}" can not be empty.')
        if sent["OK-ACCESS-KEY"] != self.api_key:
            raise Refusal(401, "50111", "Invalid OK-ACCESS-KEY")
        if (sent.get("x-simulated-trading") == "1") != self.demo:
            raise Refusal(401, "50101", "APIKey does not match current environment.")
        stamp = sent["OK-ACCESS-TIMESTAMP"]
        if abs(_read_stamp(stamp) - self.clock()) > timedelta(seconds=CLOCK_TOLERANCE_S):
            raise Refusal(401, "50102", "Timestamp request expired")
        if not hmac.compare_digest(sent["OK-ACCESS-PASSPHRASE"].encode(), self.passphrase.encode()):
            raise Refusal(401, "50105", "Request header OK-ACCESS-PASSPHRASE incorrect.")
        signed = f"{stamp}{request.method}{request.raw_path}".encode()
        digest = hmac.new(self.secret.encode(), signed, hashlib.sha256).digest()
        if not hmac.compare_digest(base64.b64encode(digest), sent["OK-ACCESS-SIGN"].encode()):
            raise Refusal(401, "50113", "Invalid Sign")

    def _admit(self, path: str, endpoint: Endpoint) -> None:
        if not self.throttle:
            return
        now_s = time.monotonic()
        calls = self._calls[path]
        while calls and calls[0] <= now_s - endpoint.period_s:
            calls.popleft()
        if len(calls) >= max(1, int(endpoint.calls * self.throttle)):
            raise Refusal(429, "50011", "Requests too frequent.")
        calls.append(now_s)


_AUTH_HEADERS: Mapping[str, str] = {
    "OK-ACCESS-KEY": "50103",
    "OK-ACCESS-PASSPHRASE": "50104",
    "OK-ACCESS-SIGN": "50106",
    "OK-ACCESS-TIMESTAMP": "50107",
}


def _said(refusal: Refusal) -> web.Response:
    body = envelope([], refusal.code, refusal.message)
    return web.json_response(body, status=refusal.status)


def _without_cursor(query: Query) -> dict[str, str]:
    return {key: value for key, value in query.items() if key not in {"after", "before"}}


def _read_stamp(stamp: str) -> datetime:
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        at = datetime.min  # noqa: DTZ901 — has no zone, and is refused below like any such stamp
    if at.tzinfo is None:
        raise Refusal(401, "50112", "Invalid OK-ACCESS-TIMESTAMP")
    return at
