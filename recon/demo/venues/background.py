"""How loopback servers run where there is no event loop, and how they stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from aiohttp import web

Server = TypeVar("Server")

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30
_TURNS_TO_ACCEPT = 3
"""Turns of the loop after which a connection that a client has made is one of the server's."""


async def stop(runner: web.AppRunner) -> None:
    """Stop listening, cut what is still being answered, and close every connection.

    asyncio leaves a connection open for good if its server stops between accepting it and giving it
    to a protocol. So connections that clients have made by now are let in first.
    """
    for _ in range(_TURNS_TO_ACCEPT):
        await asyncio.sleep(0)
    await runner.cleanup()


@contextmanager
def in_background(server: AbstractAsyncContextManager[Server]) -> Iterator[Server]:
    """Enter `server` on an event loop in a daemon thread, and leave it when the block ends.

    Yields what `async with server` gives. An error while entering or leaving is raised here;
    TimeoutError where the thread does not answer within 30 s.
    """
    stop = asyncio.Event()
    ready: Future[tuple[asyncio.AbstractEventLoop, Server]] = Future()
    done: Future[None] = Future()

    async def serve() -> None:
        async with server as entered:
            ready.set_result((asyncio.get_running_loop(), entered))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 — carried over to the thread that waits
            (done if ready.done() else ready).set_exception(error)
        finally:
            if not done.done():
                done.set_result(None)

    thread = threading.Thread(target=run, name="loopback-server", daemon=True)
    thread.start()
    loop, entered = ready.result(START_TIMEOUT_S)
    try:
        yield entered
    finally:
        # A server that failed on its way has closed its loop; its error waits in `done`.
        if not done.done():
            loop.call_soon_threadsafe(stop.set)
        thread.join(STOP_TIMEOUT_S)
        done.result(0)
