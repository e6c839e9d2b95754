"""A loopback exchange: what all of them have in common, over one account's deals.

It listens on 127.0.0.1 only and serves reads only; what each exchange's REST looks like stands in
the module of its name. Faults are played on request, and `violations` holds whatever a reader must
not send.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple, Self

from aiohttp import web

from recon.demo.venues.background import in_background, stop

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FaultKind = Literal["busy", "status_500", "empty", "html", "truncated", "no_rows", "null", "drip"]
Json = Any


@dataclass(frozen=True, slots=True)
class Deal:
    """One trade: `qty` in contracts or coins, `fee` as the exchange has it, paid positive."""

    symbol: str
    side: Literal["buy", "sell"]
    qty: str
    price: str
    fee: str
    at: datetime
    id: int
    fee_currency: str = ""

    @property
    def at_ms(self) -> int:
        return (self.at - EPOCH) // timedelta(milliseconds=1)

    @property
    def signed(self) -> Fraction:
        return Fraction(self.qty) * (1 if self.side == "buy" else -1)


@dataclass(frozen=True, slots=True)
class Payment:
    """One funding payment, `amount` as cash: paid negative."""

    symbol: str
    amount: str
    at: datetime
    id: int

    @property
    def at_ms(self) -> int:
        return (self.at - EPOCH) // timedelta(milliseconds=1)


@dataclass(slots=True)
class Book:
    """What happened in one account; `coins` is what is held beside what was traded.

    The ids in `hidden` are of deals that happened and that the exchange does not show.
    """

    deals: list[Deal] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    coins: dict[str, str] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)

    @property
    def shown(self) -> list[Deal]:
        return [deal for deal in self.deals if deal.id not in self.hidden]

    def trade(
        self,
        symbol: str,
        side: Literal["buy", "sell"],
        qty: object,
        price: object,
        at: datetime,
        fee: str = "0.01",
    ) -> Deal:
        deal = Deal(symbol, side, str(qty), str(price), fee, at, 1_000 + 7 * len(self.deals))
        self.deals.append(deal)
        return deal

    def pay(self, symbol: str, amount: str, at: datetime) -> None:
        self.payments.append(Payment(symbol, amount, at, 9_000 + len(self.payments)))

    def held(self) -> dict[str, Fraction]:
        """Return what is held of each symbol, short negative; nothing where it is flat."""
        held: dict[str, Fraction] = {}
        for deal in self.deals:
            held[deal.symbol] = held.get(deal.symbol, Fraction(0)) + deal.signed
        return {symbol: qty for symbol, qty in held.items() if qty}


@dataclass(slots=True)
class Fault:
    """What goes wrong at a path that contains `path`, how often (None: always), after how many."""

    path: str
    kind: FaultKind
    times: int | None = None
    after: int = 0


class Asked(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]


@dataclass
class CcxtServer:
    """An exchange; enter it with `async with`. Subclasses answer as one exchange does."""

    book: Book
    is_disordered: bool = False
    """Rows of a page come in no order."""
    url: str = ""
    requests: list[Asked] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    before_answer: Callable[[Asked], None] | None = None
    """Called with each request before it is answered: the account may trade meanwhile."""
    _runner: web.AppRunner | None = None
    exchange: ClassVar[str] = ""
    symbols: ClassVar[tuple[str, ...]] = ()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await stop(self._runner)

    def fault(self, path: str, kind: FaultKind, times: int | None = None, after: int = 0) -> None:
        self.faults.append(Fault(path, kind, times, after))

    def key(self) -> dict[str, str]:
        """Return what recon.toml says of the key, secrets as they are."""
        return {"api_key": "loopback-key", "api_secret": "bG9vcGJhY2stc2VjcmV0"}

    # What one exchange is:

    def answer(self, asked: Asked) -> Json:
        """Return the answer to a request; None for a path that a reader does not ask."""
        raise NotImplementedError

    def is_authentic(self, request: web.Request, asked: Asked) -> bool:
        raise NotImplementedError

    def busy(self) -> web.Response:
        """Return how the exchange says that it is asked too often."""
        raise NotImplementedError

    def without_rows(self) -> Json:
        """Return an answer in which the place of the rows is missing."""
        raise NotImplementedError

    async def read(self, request: web.Request) -> Asked:
        return Asked(request.method, request.path, dict(request.query))

    # What they share:

    def page(self, rows: Sequence[Json], limit: int) -> list[Json]:
        """Return the first rows of a page, in an order or in none."""
        cut = list(rows[:limit])
        return cut[1::2] + cut[::2][::-1] if self.is_disordered else cut

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        asked = await self.read(request)
        self.requests.append(asked)
        if self.before_answer is not None:
            self.before_answer(asked)
        fault = self._fault(asked.path)
        if fault is not None:
            return await self._spoilt(fault, request)
        if not self.is_authentic(request, asked):
            self.violations.append(f"not signed: {asked.path}")
        answer = self.answer(asked)
        if answer is None:
            self.violations.append(f"{asked.method} {asked.path} {asked.query}")
            return web.Response(status=404, text="not found")
        return web.json_response(answer)

    def _fault(self, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.path not in path or fault.times == 0:
                continue
            if fault.after:
                fault.after -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None

    async def _spoilt(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        if fault.kind == "drip":
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            for _ in range(100):
                await response.write(b" ")
                await asyncio.sleep(0.1)
            return response
        if fault.kind == "busy":
            return self.busy()
        bodies = {
            "status_500": "down for a moment",
            "empty": "",
            "html": "<html><body>Just a moment</body></html>",
            "truncated": json.dumps(self.without_rows())[:-1] + ',"resu',
            "no_rows": json.dumps(self.without_rows()),
            "null": "null",
        }
        return web.Response(
            text=bodies[fault.kind],
            status=500 if fault.kind == "status_500" else 200,
            content_type="text/html" if fault.kind == "html" else "application/json",
        )


@contextmanager
def serving(server: CcxtServer) -> Iterator[CcxtServer]:
    """Serve until the block ends; nothing but signed reads may reach it."""
    with in_background(server) as running:
        yield running
        assert running.violations == []


def decimal_text(value: Fraction) -> str:
    """Return a fraction that has a short decimal form, as an exchange writes it."""
    whole = value * 10**12
    assert whole.denominator == 1
    digits = f"{abs(int(whole)):013d}"
    text = f"{digits[:-12]}.{digits[-12:]}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 else text
