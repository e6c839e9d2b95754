"""What tests of the watch share: a configuration, and beats."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from recon.config import Config, load

OKX = """
[[accounts]]
id = "okx"
venue = "okx"
currency = "USDT"
since = 2026-03-01
api_key = { env = "NOBODY_SET_THIS" }
api_secret = { file = "nor-wrote-this" }
passphrase = { env = "NOR_THIS" }

[[accounts]]
id = "ibkr"
venue = "ibkr-flex"
currency = "USD"
since = 2026-03-02
files = "statements/*.xml"
"""


def configured(
    folder: Path,
    channels: tuple[str, ...] = (),
    account: str = "okx",
    base_url: str = "",
    **bots: Any,
) -> Config:
    """Write a configuration whose bots have these heartbeats, and read it as the watch does."""
    text = OKX
    for bot, heartbeat in bots.items():
        text += (
            f'[[bots]]\nid = "{bot}"\naccount = "{account}"\ninstruments = ["{bot}"]\n'
            f'books = "sqlite:///{bot}.sqlite"\n'
        )
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
