"""The types of pages and messages. `recon/report/page_text.py` writes their text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from recon.core.records import Severity
from recon.outside_text import shown

MAX_BODY = 3500
"""The most characters of a body. With the incident's key it fits Telegram's limit of 4,096."""
FAILED = "run-failed"
"""The key of the incident of runs that fail."""


class Page(NamedTuple):
    """A page for the outbox: an incident's key and text. With `resolves` the incident is over.

    `subjects` maps each thing that the page is about to its account. A subject is the id of a
    break, which is acknowledged and cleared by itself, or text for anything else.
    """

    key: str
    title: str
    body: str
    severity: Severity
    resolves: bool = False
    subjects: Mapping[str, str] = {}

    def readable(self) -> Page:
        """Return the page without secrets and with every character visible."""
        return self._replace(title=shown(self.title), body=shown(self.body))


class Message(NamedTuple):
    """A message for one channel. `key` is the incident's; with `resolves` the incident is over."""

    key: str
    title: str
    body: str
    severity: Severity = "major"
    resolves: bool = False
