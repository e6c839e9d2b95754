"""A drill: a harmless page through every channel, to see it arrive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from recon.core.page import Message
from recon.paging.channels import DEADLINE_S, Recipient, Result, send


def drill(
    recipients: Sequence[Recipient], at: datetime, *, deadline_s: float = DEADLINE_S
) -> list[dict[str, Any]]:
    """Send a drill through every channel, escalation included; return the result of each.

    A result has `channel` (its name), `status` (delivered or failed), `seconds` until the receipt,
    and `reason`. Where a page would stay open, it is resolved at once, and the channel has failed
    unless it accepted both. Nothing is stored.
    """
    when = f"{at:%Y-%m-%d %H:%M} UTC"
    page = Message(
        f"drill-{at:%Y%m%dT%H%M%S}",
        f"recon drill {when}: nothing is wrong",
        "This is a test of the way that pages take. Nothing has to be done.",
        "minor",
    )
    resolve = page._replace(title=f"{page.title}: RESOLVED", resolves=True)
    results: dict[int, Result] = dict(
        send([(one.channel, page) for one in recipients], deadline_s=deadline_s)
    )
    staying_open = [n for n, one in enumerate(recipients) if one.channel.keeps_incidents]
    jobs = [(recipients[n].channel, resolve) for n in staying_open]
    for index, result in send(jobs, deadline_s=deadline_s):
        number = staying_open[index]
        if result.reason and not results[number].reason:
            results[number] = result
    return [
        {
            "channel": one.name,
            "status": "failed" if results[n].reason else "delivered",
            "seconds": round(results[n].seconds, 3),
            "reason": results[n].reason,
        }
        for n, one in enumerate(recipients)
    ]
