"""A drill: a page that says that nothing is wrong, through every channel, to see it arrive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from recon.core.page import Message
from recon.paging.channels import DEADLINE_S, Outlet, Result, send


def drill(
    channels: Sequence[Outlet], at: datetime, *, deadline_s: float = DEADLINE_S
) -> list[dict[str, Any]]:
    """Send a drill through every channel, the second list's too; return how each one ended.

    Of each: `channel`, `status` (delivered or failed), `seconds` until its receipt, `reason`. Where
    a page would stay open it is resolved again, and it counts only if both were taken. Nothing of
    it is kept.
    """
    when = f"{at:%Y-%m-%d %H:%M} UTC"
    page = Message(
        f"drill-{at:%Y%m%dT%H%M%S}",
        f"recon drill {when}: nothing is wrong",
        "This is a test of the way that pages take. Nothing has to be done.",
        "minor",
    )
    over = page._replace(title=f"{page.title}: RESOLVED", resolves=True)
    results: dict[int, Result] = dict(
        send([(one.channel, page) for one in channels], deadline_s=deadline_s)
    )
    kept = [n for n, one in enumerate(channels) if one.channel.keeps_incidents]
    for place, ended in send([(channels[n].channel, over) for n in kept], deadline_s=deadline_s):
        if ended.reason and not results[kept[place]].reason:
            results[kept[place]] = ended
    return [
        {
            "channel": one.channel.name,
            "status": "failed" if results[n].reason else "delivered",
            "seconds": round(results[n].seconds, 3),
            "reason": results[n].reason,
        }
        for n, one in enumerate(channels)
    ]
