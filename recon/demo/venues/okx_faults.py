"""What can go wrong between a client and OKX, each fault by name, played by the loopback server.

Four families: *answers* that say no (`code_50011`, `status_502`), *pages* that are not the ones
asked for (`page_missing`, `stuck_cursor`), *bodies* that are not a whole answer
(`truncated_json`, `data_null`), and *wires* that fail (`hang`, `reset_midway`). None is random.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from aiohttp import web

from recon.demo.venues.okx_instruments import Row

FaultKind = Literal[
    "status_401",
    "status_403",
    "status_429",
    "status_451",
    "status_500",
    "status_502",
    "status_503",
    "code_50001",
    "code_50011",
    "code_50013",
    "code_50102",
    "code_50119",
    "code_50120",
    "html_200",
    "empty_body",
    "gzip_bomb",
    "redirect",
    "page_missing",
    "page_doubled",
    "page_overlapping",
    "page_reordered",
    "empty_page",
    "stuck_cursor",
    "data_null",
    "data_missing",
    "data_dict",
    "truncated_json",
    "wrong_types",
    "null_fields",
    "nan_fields",
    "huge_numbers",
    "dropped_connection",
    "hang",
    "dripping_head",
    "dripping_body",
    "reset_midway",
]

DRIP_EVERY_S = 0.2
BOMB_BYTES = 100_000_000
OVERLAP_ROWS = 10
REDIRECTED_TO = "/elsewhere"

NEEDS_A_PAGE_BEFORE = frozenset({"page_doubled", "page_overlapping"})
PAGE_FAULTS = NEEDS_A_PAGE_BEFORE | {
    "page_missing",
    "page_reordered",
    "empty_page",
    "stuck_cursor",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to go wrong: on `times` requests (None: on all), after `after` that go well.

    `page_doubled` and `page_overlapping` wait for a request that has a page before it.
    `retry_after_s` is sent with `status_429`; `fields` are those that `null_fields`, `nan_fields`
    and `huge_numbers` spoil, all of them where empty.
    """

    kind: FaultKind
    times: int | None = 1
    after: int = 0
    retry_after_s: int | None = None
    fields: tuple[str, ...] = ()


@dataclass(slots=True)
class _Armed:
    path: str
    fault: Fault
    passed: int = 0
    struck: int = 0

    @property
    def is_spent(self) -> bool:
        return self.fault.times is not None and self.struck >= self.fault.times


@dataclass(slots=True)
class FaultPlan:
    """Which faults are still to come, by path or `*`, in the order in which they were given."""

    _armed: list[_Armed] = field(default_factory=list)

    def add(self, path: str, fault: Fault) -> None:
        """Arm a fault for `path`, or for every path where it is `*`."""
        self._armed.append(_Armed(path, fault))

    def clear(self) -> None:
        """Forget every fault."""
        self._armed.clear()

    def take(self, path: str, *, has_page_before: bool) -> Fault | None:
        """Return the fault that strikes this request, if any, and count it."""
        for armed in self._armed:
            if armed.path not in {"*", path} or armed.is_spent:
                continue
            if armed.passed < armed.fault.after:
                armed.passed += 1
                continue
            if armed.fault.kind in NEEDS_A_PAGE_BEFORE and not has_page_before:
                continue
            armed.struck += 1
            return armed.fault
        return None


def envelope(rows: object, code: str = "0", message: str = "") -> dict[str, object]:
    """Return the object that every answer of the venue is."""
    return {"code": code, "data": rows, "msg": message}


def refused(fault: Fault) -> web.Response | None:
    """Return the answer that `fault` gives in place of any other; None where it gives one."""
    if fault.kind in _STATUSES:
        status, body = _STATUSES[fault.kind]
        pause = fault.retry_after_s if fault.kind == "status_429" else None
        headers = {} if pause is None else {"Retry-After": str(pause)}
        return web.Response(status=status, text=body, headers=headers, content_type="text/html")
    if fault.kind in _CODES:
        status, message = _CODES[fault.kind]
        code = fault.kind.removeprefix("code_")
        return web.json_response(envelope([], code, message), status=status)
    odd = _ODD_ANSWERS.get(fault.kind)
    return None if odd is None else odd()


def spoiled_page(
    fault: Fault,
    rows: list[Row],
    before: list[Row] | None,
    page_after: Callable[[list[Row]], list[Row]],
    first_page: Callable[[], list[Row]],
) -> list[Row]:
    """Return the page that `fault` puts in the place of `rows`; `rows` where it is no page fault.

    `before` is the page served last; `page_after` and `first_page` read others from the account.
    """
    again = before or []
    kept = max(0, len(again) - OVERLAP_ROWS)
    pages: Mapping[str, Callable[[], list[Row]]] = {
        "page_missing": lambda: page_after(rows),
        "page_doubled": lambda: again,
        "page_overlapping": lambda: again[-OVERLAP_ROWS:] + rows[:kept],
        "page_reordered": lambda: rows[::-1],
        "empty_page": list,
        "stuck_cursor": first_page,
    }
    return pages[fault.kind]() if fault.kind in pages else rows


def spoiled_body(fault: Fault, rows: list[Row]) -> str:
    """Return the text of an answer that holds `rows`, spoiled where `fault` is of that family."""
    answer = envelope(rows)
    if fault.kind == "data_null":
        answer = envelope(None)
    elif fault.kind == "data_missing":
        del answer["data"]
    elif fault.kind == "data_dict":
        answer = envelope(rows[0] if rows else {})
    elif fault.kind in _SPOILERS:
        spoil = _SPOILERS[fault.kind]
        answer = envelope([_spoil(row, spoil, fault.fields) for row in rows])
    body = json.dumps(answer)
    if fault.kind == "wrong_types":
        return _with_bare_numbers(rows)
    return body[: len(body) * 2 // 3] if fault.kind == "truncated_json" else body


async def broken_wire(fault: Fault, request: web.Request, body: bytes) -> web.StreamResponse | None:
    """Answer `request` as `fault` has it, or not at all; None where it leaves the wire alone."""
    transport = request.transport
    if transport is None:  # the client has gone
        return web.Response()
    if fault.kind == "hang":
        await asyncio.Event().wait()
    if fault.kind == "dropped_connection":
        transport.abort()
        return web.Response()
    if fault.kind == "dripping_head":
        transport.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while not transport.is_closing():
            transport.write(b".")
            await asyncio.sleep(DRIP_EVERY_S)
        return web.Response()
    if fault.kind not in {"dripping_body", "reset_midway"}:
        return None
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    if fault.kind == "dripping_body":
        await response.prepare(request)
        while not transport.is_closing():
            await response.write(b" ")
            await asyncio.sleep(DRIP_EVERY_S)
        return response
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    transport.close()  # after what is buffered has been sent
    return response


def _page(title: str) -> str:
    return f"<!doctype html><html><head><title>{title}</title></head><body>{title}</body></html>"


def _spoil(row: Row, spoil: object, fields: tuple[str, ...]) -> Row:
    return {key: spoil if not fields or key in fields else value for key, value in row.items()}


def _with_bare_numbers(rows: list[Row]) -> str:
    """Write the answer with every numeric text as a JSON number, digit for digit."""
    written = [
        "{" + ", ".join(f"{json.dumps(key)}: {_bare(value)}" for key, value in row.items()) + "}"
        for row in rows
    ]
    return '{"code": 0, "data": [' + ", ".join(written) + '], "msg": ""}'


def _bare(value: object) -> str:
    is_numeric = isinstance(value, str) and value.lstrip("-").replace(".", "", 1).isdecimal()
    return str(value) if is_numeric else json.dumps(value)


@lru_cache(maxsize=1)
def _bomb() -> bytes:
    """Return about 100 MB of well-formed JSON, with no rows, as some 100 kB of gzip."""
    head, tail = json.dumps(envelope([])).encode().split(b"[]")
    squeeze = zlib.compressobj(level=1, wbits=31)
    pieces = [squeeze.compress(head + b"[")]
    block = b" " * 1_000_000
    pieces += [squeeze.compress(block) for _ in range(BOMB_BYTES // len(block))]
    pieces += [squeeze.compress(b"]" + tail), squeeze.flush()]
    return b"".join(pieces)


_STATUSES: Mapping[str, tuple[int, str]] = {
    "status_401": (401, _page("401 Unauthorized")),
    "status_403": (403, _page("403 Forbidden")),
    "status_429": (429, _page("429 Too Many Requests")),
    "status_451": (451, _page("451 Unavailable For Legal Reasons")),
    "status_500": (500, _page("500 Internal Server Error")),
    "status_502": (502, _page("502 Bad Gateway")),
    "status_503": (503, _page("503 Service Unavailable")),
}
_CODES: Mapping[str, tuple[int, str]] = {
    "code_50001": (503, "Service temporarily unavailable, please try again later."),
    "code_50011": (429, "Requests too frequent."),
    "code_50013": (429, "System is busy, please try again later."),
    "code_50102": (401, "Timestamp request expired."),
    "code_50119": (401, "API key doesn't exist."),
    "code_50120": (401, "This API key doesn't have permission to use this function."),
}
_SPOILERS: Mapping[str, object] = {
    "null_fields": None,
    "nan_fields": "NaN",
    "huge_numbers": "9" * 400,
}
_ODD_ANSWERS: Mapping[str, Callable[[], web.Response]] = {
    "html_200": lambda: web.Response(text=_page("Maintenance"), content_type="text/html"),
    "empty_body": lambda: web.Response(body=b"", content_type="application/json"),
    "redirect": lambda: web.Response(status=302, headers={"Location": REDIRECTED_TO}),
    "gzip_bomb": lambda: web.Response(
        body=_bomb(), headers={"Content-Encoding": "gzip"}, content_type="application/json"
    ),
}
