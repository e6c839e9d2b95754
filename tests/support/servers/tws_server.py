"""TWS on 127.0.0.1, for tests: its wire, its delays and its bad habits. Real clients connect to it.

A frame is a length (4 bytes, big-endian) and fields that each end with a NUL. What a client asks
is kept in `asked`, by the number of its message: `violations` are those that do more than read.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

START, POSITIONS, EXECUTIONS, VALUES, SUMMARY = 71, 61, 7, 76, 62
READS = frozenset({START, POSITIONS, EXECUTIONS, VALUES, SUMMARY})
"""The libraries ask for a summary of their own accord, when a lost connection has come back."""
CONTRACT = (
    "conId",
    "symbol",
    "secType",
    "expiry",
    "strike",
    "right",
    "multiplier",
    "exchange",
    "currency",
    "localSymbol",
    "tradingClass",
)
SPY: Mapping[str, str] = {
    "conId": "756733",
    "symbol": "SPY",
    "secType": "STK",
    "expiry": "",
    "strike": "0.0",
    "right": "",
    "multiplier": "",
    "exchange": "ARCA",
    "currency": "USD",
    "localSymbol": "SPY",
    "tradingClass": "SPY",
}
FILL: Mapping[str, str] = {
    "orderId": "0",
    **SPY,
    "execId": "0000e0d5.66a4.01.01",
    "time": "20260514 10:30:00 US/Eastern",
    "acctNumber": "DU1",
    "executedOn": "ARCA",
    "side": "BOT",
    "shares": "100",
    "price": "500.25",
    "permId": "77",
    "clientId": "5",
    "liquidation": "0",
    "cumQty": "100",
    "avgPrice": "500.25",
    "orderRef": "bot-7",
    "evRule": "",
    "evMultiplier": "",
    "modelCode": "",
    "lastLiquidity": "2",
}
UNSET = "1.7976931348623157E308"


def fill(exec_id: str, **changes: str) -> dict[str, str]:
    """Return an execution of 100 SPY, changed where `changes` says so."""
    return {**FILL, "execId": exec_id, **changes}


def contract(**changes: str) -> dict[str, str]:
    """Return SPY, changed where `changes` says so."""
    return {**SPY, **changes}


@dataclass
class TwsAccount:
    """What TWS knows of one account. A commission that is None never comes."""

    fills: list[dict[str, str]] = field(default_factory=list)
    commissions: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    """By execution: (commission, currency); 1.0005 USD where it is not named."""
    positions: list[tuple[Mapping[str, str], str, str]] = field(default_factory=list)
    """(contract, quantity, average cost)."""
    cash: dict[str, str] = field(default_factory=lambda: {"USD": "10000.50"})


@dataclass
class Faults:
    """What goes wrong. All of it can be changed while the server runs."""

    mute: frozenset[int] = frozenset()
    """Questions, by number, that are never answered."""
    refused: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """Questions that are answered by an error: (code, message)."""
    drop_in: frozenset[int] = frozenset()
    """Questions in the middle of whose answer the connection drops."""
    drops: int = 1_000
    """How often that happens."""
    greeting: Sequence[tuple[str, str]] = ()
    """Notices (code, message) that come as soon as the API has started."""
    is_client_id_taken: bool = False
    is_silent: bool = False
    """The connection is accepted, and nothing is ever said."""
    is_ready: bool = True
    """Whether account values are ready."""
    commission_delay_s: float = 0.0
    short: frozenset[int] = frozenset()
    """Messages, by number, that come with their last three fields missing."""


class TwsServer:
    """A TWS that manages these accounts. Use as an async context manager."""

    def __init__(
        self, accounts: Mapping[str, TwsAccount] | None = None, *, version: int = 176
    ) -> None:
        self.accounts = dict(accounts or {"DU1": TwsAccount()})
        self.faults = Faults()
        self.asked: list[int] = []
        self.connections = 0
        self.trades_while_asked: list[dict[str, str]] = []
        """Each is filled as soon as positions are asked for, one a question."""
        self._version = version
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._serving.values():
            writer.close()
        await asyncio.gather(*self._serving, *self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def violations(self) -> list[int]:
        """Return what was asked that does more than read, or is nothing that recon reads."""
        return [number for number in self.asked if number not in READS]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task: asyncio.Task[None] = asyncio.current_task()  # type: ignore[assignment]
        self._serving[task] = writer
        try:
            if self.faults.is_silent:
                await reader.read()
                return
            assert await reader.readexactly(4) == b"API\0"
            versions = (await self._frame(reader))[0]
            newest = int(versions.partition("..")[2].split(" ")[0])
            self._send(writer, min(self._version, newest), "20260514 22:00:00 EST")
            while True:
                fields = await self._frame(reader)
                self.asked.append(int(fields[0]))
                if not self._answer(writer, int(fields[0]), fields):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
            del self._serving[task]

    async def _frame(self, reader: asyncio.StreamReader) -> list[str]:
        [length] = struct.unpack(">I", await reader.readexactly(4))
        return (await reader.readexactly(length)).decode().split("\0")

    def _send(self, writer: asyncio.StreamWriter, *fields: object) -> None:
        if fields[0] in self.faults.short:
            fields = fields[:-3]
        body = "".join(f"{one}\0" for one in fields).encode()
        writer.write(struct.pack(">I", len(body)) + body)

    def _answer(self, writer: asyncio.StreamWriter, number: int, fields: list[str]) -> bool:
        """Answer one question; say whether the connection stands after it."""
        request = fields[2] if number in {EXECUTIONS, VALUES} else "-1"
        if number == START:
            return self._start(writer)
        if number in self.faults.mute:
            return True
        if number in self.faults.refused:
            self._send(writer, 4, 2, request, *self.faults.refused[number], "")
            return True
        is_dropping = number in self.faults.drop_in and self.faults.drops > 0
        if number == POSITIONS:
            self._positions(writer, is_cut=is_dropping)
        elif number == EXECUTIONS:
            self._executions(writer, request, wanted=fields[4], is_cut=is_dropping)
        elif number == VALUES:
            self._values(writer, request, fields[3])
        if is_dropping:
            self.faults.drops -= 1
        return not is_dropping

    def _start(self, writer: asyncio.StreamWriter) -> bool:
        if self.faults.is_client_id_taken:
            self._send(writer, 4, 2, -1, 326, "Unable to connect as the client id is in use", "")
            return False
        self._send(writer, 15, 1, ",".join(self.accounts))
        self._send(writer, 9, 1, 1)
        for code, message in self.faults.greeting:
            self._send(writer, 4, 2, -1, code, message, "")
        return True

    def _positions(self, writer: asyncio.StreamWriter, *, is_cut: bool) -> None:
        for name, account in self.accounts.items():
            for held, qty, cost in account.positions:
                values = [held[key] for key in CONTRACT]
                self._send(writer, 61, 3, name, *values, qty, cost)
        if not is_cut:
            self._send(writer, 62, 1)
        if self.trades_while_asked:
            done = self.trades_while_asked.pop(0)
            self.accounts[done["acctNumber"]].fills.append(done)

    def _executions(
        self, writer: asyncio.StreamWriter, request: str, *, wanted: str, is_cut: bool
    ) -> None:
        """Send every execution, the wanted account's or not, as a TWS does that ignores filters."""
        assert wanted in self.accounts
        reports = []
        for account in self.accounts.values():
            for one in account.fills:
                newer = ("0",) if self._version >= 178 and "pendingPriceRevision" not in one else ()
                self._send(writer, 11, request, *one.values(), *newer)
                if is_cut:
                    return
                stated = account.commissions.get(one["execId"], ("1.0005", "USD"))
                if stated is not None:
                    reports.append((59, 1, one["execId"], *stated, UNSET, "", ""))
        if not is_cut:
            self._send(writer, 55, 1, request)
        if not self.faults.commission_delay_s:
            self._report(writer, reports)
            return
        task = asyncio.create_task(self._report_late(writer, reports))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _report(self, writer: asyncio.StreamWriter, reports: Sequence[tuple[object, ...]]) -> None:
        for report in reports:
            self._send(writer, *report)

    async def _report_late(
        self, writer: asyncio.StreamWriter, reports: Sequence[tuple[object, ...]]
    ) -> None:
        for report in reports:
            await asyncio.sleep(self.faults.commission_delay_s)
            self._send(writer, *report)

    def _values(self, writer: asyncio.StreamWriter, request: str, name: str) -> None:
        ready = "true" if self.faults.is_ready else "false"
        values = [("AccountReady", ready, ""), ("NetLiquidation", "99999.99", "USD")]
        values += [("CashBalance", amount, ccy) for ccy, amount in self.accounts[name].cash.items()]
        for key, value, currency in values:
            self._send(writer, 73, 1, request, name, "", key, value, currency)
        self._send(writer, 74, 1, request)
