"""A guarded connection to TWS or IB Gateway through ib_async, or ib_insync in its place.

Only the library's connection is opened, without its start-up synchronisation. The synchronisation
of ib_insync ignores a request that timed out. It also requests data that recon does not read, and
as client 0 it binds orders typed into TWS to itself, even with `readonly`. Here each request is a
method of `TwsClient` and only reads. It has a hard deadline, and its answer counts only when TWS
has reported the end of it. No order can be sent from here.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from connectors.ibkr_tws.messages import MAX_SAID, TwsTape, uncorrected
from connectors.retry import RetryPolicy
from recon.errors import VenueBusy, VenueRefused, afterwards_async

CLIENT_ID_TAKEN = "326"
MAX_MESSAGE_BYTES = 256 * 1024
"""The most bytes of one message. The longest one that is requested names the login's accounts."""
MAX_VISIT_BYTES = 32 * 1024 * 1024
"""The most bytes of all messages of one connection: 100,000 executions have about 30 million."""
LENGTH_BYTES = 4
"""The bytes at the start of a message that state its length."""


@dataclass(frozen=True, slots=True)
class TwsAddress:
    """The address of TWS or IB Gateway, and the client id to connect with."""

    host: str
    port: int
    client_id: int

    def __str__(self) -> str:
        return f"TWS at {self.host}:{self.port}"


class _Frames:
    """Splits the bytes of the socket into messages of bounded size for the library.

    The library would collect any length that a message announces, and log a message that it cannot
    read. Here a message beyond a limit is a flaw of the tape, and ends the connection.
    """

    def __init__(self, client: Any, tape: TwsTape) -> None:
        self._client = client
        self._tape = tape
        self._hand_on: Callable[[bytes], None] = client._onSocketHasData  # noqa: SLF001 - there is no public name
        self._held = bytearray()
        self._bytes = 0
        client.conn.hasData -= self._hand_on
        client.conn.hasData.connect(self.take, keep_ref=True)

    def take(self, data: bytes) -> None:
        """Add bytes from the socket, and pass each complete message to the library."""
        if self._tape.flaw:
            return
        self._bytes += len(data)
        if self._bytes > MAX_VISIT_BYTES:
            self._end(f"TWS sent more than {MAX_VISIT_BYTES} bytes on one connection")
            return
        self._held += data
        start = 0
        while len(self._held) >= start + LENGTH_BYTES and not self._tape.flaw:
            [length] = struct.unpack_from(">I", self._held, start)
            end = start + LENGTH_BYTES + length
            if not 0 < length <= MAX_MESSAGE_BYTES:
                self._end(
                    f"TWS announced a message of {length} bytes, and the limit is "
                    f"{MAX_MESSAGE_BYTES}"
                )
            elif len(self._held) < end:
                break
            else:
                self._take_message(bytes(self._held[start:end]))
                start = end
        del self._held[:start]

    def _take_message(self, message: bytes) -> None:
        try:
            self._hand_on(message)
        except Exception as error:  # noqa: BLE001 - of the library, over a message
            said = message[LENGTH_BYTES:][:60]
            self._end(f"TWS sent a message that cannot be read ({type(error).__name__}): {said!r}")

    def _end(self, flaw: str) -> None:
        self._tape.flaw = flaw
        self._client.disconnect()


class TwsClient:
    """Sends one request at a time over an open connection. The answers are on `tape`."""

    def __init__(self, library: Any, ib: Any, tape: TwsTape, patience: RetryPolicy) -> None:
        self._library = library
        self._ib = ib
        self._patience = patience
        self.tape = tape

    @property
    def accounts(self) -> list[str]:
        """The broker's accounts that this login manages."""
        return list(self._ib.client.getAccounts())

    @property
    def is_connected(self) -> bool:
        """Whether another request can be sent."""
        return bool(self._ib.client.isReady())

    async def executions(self, account: str) -> None:
        """Request the account's executions since midnight. They are added to the tape's."""
        wanted = self._library.ExecutionFilter(acctCode=account)
        await self._ask("executions", lambda: self._ib.reqExecutionsAsync(wanted))

    async def positions(self) -> None:
        """Request all positions of all accounts of the login."""
        self.tape.positions.clear()
        await self._ask("positions", self._ib.reqPositionsAsync)

    async def account_values(self, account: str) -> None:
        """Request the account's values: its cash by currency, and many others."""
        self.tape.values.clear()
        await self._ask("account values", lambda: self._ib.reqAccountUpdatesMultiAsync(account))

    async def commissions(self, account: str) -> None:
        """Wait for the commission of each execution that has not been corrected.

        Commissions arrive in separate messages. At the deadline the method returns without an
        error: commissions that have not arrived are unknown, and the caller reports them.
        """
        try:
            async with asyncio.timeout(self._patience.request_timeout_s):
                while self._uncommissioned(account) and self.is_connected:
                    self.tape.commission_came.clear()
                    await self.tape.commission_came.wait()
        except TimeoutError:
            return

    def _uncommissioned(self, account: str) -> set[str]:
        mine = [
            exec_id
            for exec_id, execution in self.tape.executions.items()
            if execution["acctNumber"] == account
        ]
        return uncorrected(mine) - self.tape.commissions.keys()

    async def _ask(self, what: str, question: Callable[[], Awaitable[object]]) -> None:
        """Send a request, and wait for the complete answer.

        Raises VenueBusy if the answer is late, cut off, refused or invalid. The connection may
        still be open then: see `is_connected`.
        """
        limit_s = self._patience.request_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                await question()
        except TimeoutError:
            self._check_flaw(what)
            raise VenueBusy(
                f"{what}: TWS did not answer within {limit_s:g} s{self.tape.said()}"
            ) from None
        except ConnectionError:
            self._check_flaw(what)
            raise VenueBusy(f"{what}: the connection to TWS was lost{self.tape.said()}") from None
        except self._library.RequestError as error:
            said = str(error.message)[:MAX_SAID]
            raise VenueBusy(f"{what}: TWS refuses: {error.code}: {said}") from None
        self._check_flaw(what)
        if self.tape.outage:
            raise VenueBusy(
                f"{what}: TWS has lost its connection to IBKR ({self.tape.outage}): run again later"
            )

    def _check_flaw(self, what: str) -> None:
        if self.tape.flaw:
            raise VenueBusy(f"{what}: {self.tape.flaw}: update TWS or its Python library")


@asynccontextmanager
async def open_client(
    address: TwsAddress, zone: str, patience: RetryPolicy
) -> AsyncIterator[TwsClient]:
    """Yield an open connection, which is always closed again.

    `zone` is the zone of a time without one. Raises VenueBusy if TWS does not answer, and
    VenueRefused if another try would not help.
    """
    library = _library()
    ib = library.IB()
    ib.TimezoneTWS = zone
    ib.RequestTimeout = patience.request_timeout_s
    ib.RaiseRequestErrors = True
    ib.wrapper.clientId = address.client_id
    tape = TwsTape()
    tape.listen(ib.client.decoder.handlers)
    _Frames(ib.client, tape)

    async def disconnect() -> None:
        ib.client.disconnect()
        await asyncio.sleep(0)  # the transport closes in the loop's next turn

    async with afterwards_async(disconnect):
        await _connect(ib.client, address, tape, patience.request_timeout_s)
        yield TwsClient(library, ib, tape, patience)


async def _connect(client: Any, address: TwsAddress, tape: TwsTape, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await client.connectAsync(
                address.host, address.port, address.client_id, timeout=limit_s
            )
    except Exception as error:
        if tape.flaw:
            raise VenueBusy(f"{address}: {tape.flaw}: set host and port of TWS's API") from None
        if not isinstance(error, OSError):  # a TimeoutError is an OSError
            raise
        _raise_for(error, address, tape, limit_s)


def _raise_for(error: OSError, address: TwsAddress, tape: TwsTape, limit_s: float) -> NoReturn:
    """Raise the error for a connection that could not be opened."""
    if isinstance(error, TimeoutError):
        if tape.has_said(CLIENT_ID_TAKEN):
            raise VenueRefused(
                f"{address}: client id {address.client_id} is in use: give recon a client_id of "
                "its own, the Master API client ID"
            ) from None
        raise VenueBusy(
            f"{address} did not open the API within {limit_s:g} s{tape.said()}: accept the "
            "connection there, or add this machine to its trusted addresses"
        ) from None
    raise VenueBusy(
        f"{address} cannot be reached ({error.strerror or type(error).__name__}): start it, "
        "log in, and enable its API (Settings, API, Enable ActiveX and Socket Clients)"
    ) from None


def _library() -> Any:
    """Return ib_async, or ib_insync if only that is installed, with its log turned off.

    Coverage statements report failures, and the library's log would show the account's trades.
    """
    for name in ("ib_async", "ib_insync"):
        try:
            library = importlib.import_module(name)
            break
        except ModuleNotFoundError:
            continue
    else:
        raise VenueRefused(
            "ib_async, the library for TWS, is not installed: run  pip install 'recon-pnl[tws]'"
        )
    logging.getLogger(library.__name__).setLevel(logging.CRITICAL)
    return library
