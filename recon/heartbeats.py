"""What a bot's heartbeat file says: when its main loop last turned."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from recon.config import Config


def last_beats(config: Config) -> dict[str, datetime]:
    """Return when each bot beat last (UTC), of those whose file can be read."""
    beats: dict[str, datetime] = {}
    for bot in config.bots:
        beat = None if bot.heartbeat is None else last_beat(config.folder / bot.heartbeat.file)
        if beat is not None:
            beats[bot.id] = beat
    return beats


def last_beat(path: Path) -> datetime | None:
    """Return the `at` of a beat; None where there is no such file, or it says no instant."""
    try:
        at = datetime.fromisoformat(json.loads(path.read_text(encoding="utf-8"))["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return at.astimezone(UTC) if at.tzinfo is not None else None
