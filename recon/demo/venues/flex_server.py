"""A Flex Web Service on this machine: the demo's broker, and the tests'.

It speaks SendRequest and GetStatement as the real one does (v=3, reference codes, "still
generating" first), answers reads alone, and can be told to fail in the ways that services fail.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from xml.sax.saxutils import escape

from aiohttp import web

from recon.demo.venues.background import stop

ROOT: Final = "/AccountManagement/FlexWebService"
HOST: Final = "127.0.0.1"

MESSAGES: Final = {
    "1001": "Statement could not be generated at this time. Please try again shortly.",
    "1003": "Statement is not available.",
    "1009": "The server is under heavy load.",
    "1012": "Token has expired.",
    "1014": "Query is invalid.",
    "1015": "Token is invalid.",
    "1017": "Reference code is invalid.",
    "1018": "Too many requests have been made from this token.",
    "1019": "Statement generation in progress. Please try again shortly.",
    "1020": "Invalid request or unable to validate request.",
}

DTD: Final = b'<?xml version="1.0"?><!DOCTYPE r SYSTEM "file:///etc/hostname"><FlexQueryResponse/>'
BOMB: Final = (
    b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">'
    b'<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><FlexQueryResponse queryName="&b;"/>'
)
PAGE: Final = b"<!DOCTYPE html><html><body>Scheduled maintenance</body></html>"


@dataclass(slots=True)
class Fault:
    """One way to fail.

    `kind`: status (HTTP `value`), code (IBKR's `value`), html, truncated, empty, dropped, drip,
    hang, redirect (to `value`), other_host (SendRequest names `value`), dtd, bomb.
    `step`: the request that it strikes. `times`: how often; None is always.
    """

    kind: str
    value: str = ""
    step: str = "GetStatement"
    times: int | None = 1


@dataclass(slots=True)
class FlexServer:
    """The server, as an async context manager; `url` is the base_url to configure.

    `statements` maps a query's id to its document, query/yyyymmdd/yyyymmdd to that of a period.
    `faults` may be changed while it runs.
    `requests` lists what was asked: the step and the query or reference, never the token.
    """

    statements: Mapping[str, bytes | str]
    token: str = field(default="demo-token", repr=False)
    generating: int = 2
    requests_per_s: int = 1_000
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""
    _runner: web.AppRunner | None = None
    _references: dict[str, tuple[str, int]] = field(default_factory=dict)
    _recent: deque[float] = field(default_factory=deque)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("GET", ROOT + "/SendRequest", self._send_request)
        app.router.add_route("GET", ROOT + "/GetStatement", self._get_statement)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://{HOST}:{port}{ROOT}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        if self._runner is not None:
            await stop(self._runner)

    async def _send_request(self, request: web.Request) -> web.StreamResponse:
        fault = self._begin(request, "SendRequest")
        if fault is not None and fault.kind != "other_host":
            return await self._fail(request, fault)
        refusal = self._refusal(request)
        query = request.query.get("q", "")
        if refusal is None and query not in self.statements:
            refusal = "1014"
        if refusal is None and "fd" in request.query:
            query += f"/{request.query['fd']}/{request.query['td']}"
            refusal = None if query in self.statements else "1003"
        if refusal is not None:
            return _answer("Fail", refusal)
        reference = str(7_000_000_000 + len(self._references))
        self._references[reference] = (query, self.generating)
        target = fault.value if fault is not None else self.url + "/GetStatement"
        return _xml(
            "<FlexStatementResponse timestamp='01 January, 2026 05:00 AM EST'>"
            f"<Status>Success</Status><ReferenceCode>{reference}</ReferenceCode>"
            f"<Url>{escape(target)}</Url></FlexStatementResponse>"
        )

    async def _get_statement(self, request: web.Request) -> web.StreamResponse:
        fault = self._begin(request, "GetStatement")
        if fault is not None:
            return await self._fail(request, fault)
        if (refusal := self._refusal(request)) is not None:
            return _answer("Fail", refusal)
        reference = request.query.get("q", "")
        if reference not in self._references:
            return _answer("Fail", "1017")
        query, waits = self._references[reference]
        if waits > 0:
            self._references[reference] = (query, waits - 1)
            return _answer("Warn", "1019")
        return _xml(self.statements[query])

    def _begin(self, request: web.Request, step: str) -> Fault | None:
        """Count the request, and return the fault that strikes it."""
        self.requests.append((step, request.query.get("q", "")))
        for fault in self.faults:
            if fault.step == step and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def _refusal(self, request: web.Request) -> str | None:
        now = asyncio.get_running_loop().time()
        while self._recent and now - self._recent[0] >= 1.0:
            self._recent.popleft()
        self._recent.append(now)
        if len(self._recent) > self.requests_per_s:
            return "1018"
        if request.query.get("v") != "3" or "User-Agent" not in request.headers:
            return "1020"
        return None if request.query.get("t") == self.token else "1015"

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        document = next(iter(self.statements.values()), b"")
        whole = document.encode() if isinstance(document, str) else document
        bodies = {
            "html": PAGE,
            "truncated": whole[: len(whole) // 2],
            "empty": b"",
            "dtd": DTD,
            "bomb": BOMB,
        }
        if fault.kind in bodies:
            return _xml(bodies[fault.kind])
        if fault.kind == "status":
            return web.Response(status=int(fault.value), text="an error")
        if fault.kind == "code":
            return _answer("Warn" if fault.value == "1019" else "Fail", fault.value)
        if fault.kind == "redirect":
            return web.Response(status=302, headers={"Location": fault.value})
        if fault.kind == "drip":
            return await self._drip(request)
        if fault.kind == "hang":
            await self._released.wait()
        elif request.transport is not None:
            request.transport.abort()  # dropped, or let go at the end
        return web.Response()

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        """Send a byte now and then, without end."""
        response = web.StreamResponse()
        await response.prepare(request)
        while not self._released.is_set():
            await response.write(b" ")
            await asyncio.sleep(0.02)
        return response


def _answer(status: str, code: str) -> web.Response:
    message = escape(MESSAGES.get(code, "An error without a name."))
    return _xml(
        "<FlexStatementResponse timestamp='01 January, 2026 05:00 AM EST'>"
        f"<Status>{status}</Status><ErrorCode>{code}</ErrorCode>"
        f"<ErrorMessage>{message}</ErrorMessage></FlexStatementResponse>"
    )


def _xml(body: bytes | str) -> web.Response:
    data = body.encode() if isinstance(body, str) else body
    return web.Response(body=data, content_type="text/xml", charset="utf-8")
