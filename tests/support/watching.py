"""What tests of the watch share: a configuration, a desk with a clock, nights and beats."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from recon.config.settings import Config, load
from recon.control.ledger import Ledger
from recon.monitor.watch import Watch, turn

START = datetime(2026, 5, 14, 9, 30, tzinfo=UTC)
ACCOUNTS = """
[[accounts]]
id = "okx"
venue = "okx"
currency = "USDT"
since = {since}
api_key = {{ env = "NOBODY_SET_THIS" }}
api_secret = {{ file = "nor-wrote-this" }}
passphrase = {{ env = "NOR_THIS" }}

[[accounts]]
id = "ibkr"
venue = "ibkr-flex"
currency = "USD"
since = {since}
files = "statements/*.xml"
"""


NOTHING_NEEDED = date(2999, 1, 1)
"""A `since` with which no session is ever needed: for tests of heartbeats alone."""


def configured(
    folder: Path,
    channels: tuple[str, ...] = (),
    account: str = "okx",
    base_url: str = "",
    since: date = NOTHING_NEEDED,
    **bots: Any,
) -> Config:
    """Write a configuration of bots with these heartbeats and `bar_s`, and read it as the watch."""
    text = ACCOUNTS.format(since=since)
    for bot, given in bots.items():
        heartbeat = dict(given or {})
        text += (
            f'[[bots]]\nid = "{bot}"\naccount = "{account}"\ninstruments = ["{bot}"]\n'
            f'database = "sqlite:///{bot}.sqlite"\n'
        )
        if (bar_s := heartbeat.pop("bar_s", None)) is not None:
            text += f"bar_s = {bar_s}\n"
        if heartbeat:
            pairs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in heartbeat.items())
            text += f"heartbeat = {{ {pairs} }}\n"
    for number, url in enumerate(channels):
        (folder / f"channel-{number}").write_text(url)
        (folder / f"channel-{number}").chmod(0o600)
    more = f', base_url = "{base_url}"' if base_url else ""
    named = ", ".join(f'{{ url = {{ file = "channel-{n}" }}{more} }}' for n in range(len(channels)))
    (folder / "recon.toml").write_text(f"{text}[paging]\nchannels = [{named}]\n")
    return load(folder / "recon.toml", with_secrets={"url", "redis", "api_token"})


class Desk:
    """A folder with a configuration, a ledger, and a clock that moves when it is told to."""

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self.now = START
        self.folder = config.folder
        self.said: list[str] = []
        self.watch = Watch(config, ledger, self.said.append, lambda: self.now)

    def look(self, after: timedelta = timedelta()) -> dict[str, Any]:
        self.now += after
        document, _ = turn(self.watch)
        return document


def publish(ledger: Ledger, session: date, *accounts: str) -> None:
    """Let a run have told of these accounts as of a session."""
    at, run = datetime(2026, 1, 1, tzinfo=UTC), f"{session} {' '.join(accounts)}"
    told = [{"account": account, "status": "proven"} for account in accounts]
    ledger.begin_run(run, session, at)
    ledger.end_run(run, at, {"status": "agreed", "accounts": told})


def beat(
    path: Path, seq: int, at: datetime, last_bar_at: datetime | None = None, bot: str = "btc"
) -> None:
    """Write one beat of a bot, as of any instant."""
    said = {
        "bot": bot,
        "seq": seq,
        "at": at.isoformat(),
        "last_bar_at": None if last_bar_at is None else last_bar_at.isoformat(),
        "last_loop_ms": 1,
    }
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(said))
    draft.replace(path)
