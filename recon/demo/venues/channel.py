"""A channel on this machine: takes what apprise posts to a json:// URL, and remembers it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from aiohttp import web

from recon.demo.venues.background import stop

HOST: Final = "127.0.0.1"
PATH: Final = "/pages"


class ReceivedPage(NamedTuple):
    """One page as it arrived."""

    title: str
    message: str


@dataclass(slots=True)
class Channel:
    """The server, as an async context manager; `url` is what to configure, `pages` what came."""

    pages: list[ReceivedPage] = field(default_factory=list)
    url: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen on a free port of 127.0.0.1."""
        app = web.Application()
        app.router.add_post(PATH, self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self.url = f"json://{HOST}:{self._runner.addresses[0][1]}{PATH}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        if self._runner is not None:
            await stop(self._runner)

    async def _receive(self, request: web.Request) -> web.Response:
        try:
            posted = await request.json()
            self.pages.append(ReceivedPage(str(posted["title"]), str(posted["message"])))
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400, text="not a page")
        return web.Response(text="ok")
