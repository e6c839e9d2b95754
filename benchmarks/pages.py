"""How long a page takes from its decision to the channel: a child process and all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.promises import Line, Run, Target
from recon.control.ledger import Ledger
from recon.core.page import Page
from recon.paging.channels import Recipient
from recon.paging.delivery import deliver
from recon.paging.notifiers import parse_channel

CHANNELS = 8
REPEATS = 5
TARGET = Target("at most", 5, "s")


def measure(run: Run) -> list[Line]:
    """Page through eight channels at once, five times; the slowest request's arrival counts."""
    run.note("pages: from the decision to eight channels")
    folder = run.folder / "pages"
    folder.mkdir()
    slowest, first = [], []
    with _channel() as (url, arrived), Ledger(folder / "control.sqlite") as ledger:
        recipients = [
            Recipient(f"{n}", f"webhook {n}", parse_channel(f"{url}/{n}"), "minor")
            for n in range(CHANNELS)
        ]
        for turn in range(REPEATS):
            arrived.clear()
            decided = time.monotonic()
            ledger.enqueue(Page(f"{turn}", "a page", "1682.00", "major"), _now())
            deliver(folder, ledger, recipients, _now, run.note)
            first.append(min(arrived) - decided)
            slowest.append(max(arrived) - decided)
    detail = f"the first of {CHANNELS} after {max(first):.2f} s; the slowest of {REPEATS} turns"
    return [Line(0, "a page, from decision to channel", TARGET, max(slowest), detail)]


@contextmanager
def _channel() -> Iterator[tuple[str, list[float]]]:
    """Serve a webhook that notes when each request has come."""
    arrived: list[float] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.append(time.monotonic())
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"json://127.0.0.1:{server.server_port}", arrived
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _now() -> datetime:
    return datetime.now(UTC)
