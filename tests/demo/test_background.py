"""Servers in a thread of their own."""

from __future__ import annotations

import asyncio
import gc
import socket
import urllib.error
import urllib.request
from types import TracebackType
from urllib.parse import urlsplit

import pytest

from recon.demo.venues.background import in_background
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_server import OkxServer


def test_a_server_answers_from_its_thread_and_is_gone_afterwards() -> None:
    with in_background(OkxServer(OkxAccount())) as server:
        with urllib.request.urlopen(server.url + "/api/v5/public/time", timeout=5) as answer:
            assert b'"code": "0"' in answer.read()
        assert server.url.startswith("http://127.0.0.1:")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(server.url + "/api/v5/public/time", timeout=5)


@pytest.mark.parametrize("turns", range(6))
def test_a_connection_made_as_a_server_stops_is_closed(turns: int) -> None:
    async def conversation() -> bytes:
        async with OkxServer(OkxAccount()) as server:
            address = urlsplit(server.url)
            client = socket.create_connection((str(address.hostname), address.port or 0))
            for _ in range(turns):
                await asyncio.sleep(0)
        with client:
            return client.recv(1)

    assert asyncio.run(conversation()) == b""
    gc.collect()  # what is left open is a warning now, and warnings are errors


class Broken:
    """Fails where it is told to."""

    def __init__(self, *, on_entry: bool) -> None:
        self.on_entry = on_entry

    async def __aenter__(self) -> str:
        if self.on_entry:
            raise OSError("no port")
        return "up"

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        raise OSError("no end")


def test_what_fails_while_starting_or_stopping_is_raised_to_the_caller() -> None:
    with pytest.raises(OSError, match="no port"), in_background(Broken(on_entry=True)):
        pass
    with pytest.raises(OSError, match="no end"), in_background(Broken(on_entry=False)) as what:
        assert what == "up"
