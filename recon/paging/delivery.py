"""Delivery: a run's page is noted, sent through every channel, and noted again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from recon.config import Config
from recon.domain import Clock
from recon.ledger import Ledger
from recon.paging.channels import send
from recon.paging.page import write_page

Note = Callable[[str], None]


def page_run(
    config: Config,
    ledger: Ledger,
    document: Mapping[str, Any],
    known: Collection[str],
    now: Clock,
    note: Note,
) -> list[dict[str, Any]]:
    """Send the run's page, if there is one to send; return what became of it.

    Of the `known` bots each break is acknowledged: they alone are no reason for a page. It is in
    the ledger before it leaves, and marked after. A channel that fails is said so on stderr, in
    the document and in the page's status.
    """
    written = write_page(document, str(config.path), known)
    if written is None:
        return []
    title, body = written
    urls = [channel.url.get_secret_value() for channel in config.paging.channels]
    page: dict[str, Any] = {
        "page": f"{document['as_of']}-{document['run']}",
        "title": title,
        "body": body,
        "status": "pending",
        "channels": [],
    }
    ledger.record_page(page, document["run"], now())
    page["channels"] = send(urls, title, body)
    page["status"] = _status(page["channels"], note)
    ledger.record_page(page, document["run"], now())
    return [{key: page[key] for key in ("page", "status", "title", "channels")}]


def _status(channels: Sequence[Mapping[str, Any]], note: Note) -> str:
    failed = [channel for channel in channels if channel["status"] != "delivered"]
    for channel in failed:
        note(f"PAGE NOT DELIVERED through {channel['channel']}: {channel['reason']}")
    if not channels:
        note("PAGE NOT DELIVERED: no channel is configured: add [paging] channels")
        return "failed"
    if not failed:
        return "delivered"
    return "failed" if len(failed) == len(channels) else "partial"
