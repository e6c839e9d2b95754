"""A page: what a person is told. The types only; `recon/report/page_text.py` writes the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from recon.core.records import Severity
from recon.outside_text import shown

MAX_BODY = 3500
"""Fits the smallest channel in use (Telegram, 4,096 characters) with room for its own words."""
FAILED = "run-failed"
"""The incident of nights that fail."""


class Page(NamedTuple):
    """What the outbox is given: an incident's key and words, or with `resolves` that it is over.

    `subjects` are what it is about, each with its account: ids of breaks, which are acknowledged
    and cleared one by one, and words for anything else.
    """

    key: str
    title: str
    body: str
    severity: Severity
    resolves: bool = False
    subjects: Mapping[str, str] = {}

    def readable(self) -> Page:
        """Return it as text that can be kept and sent: without secrets, all of it visible."""
        return self._replace(title=shown(self.title), body=shown(self.body))


class Message(NamedTuple):
    """What is said through a channel. `key` is the incident's; `resolves` says that it is over."""

    key: str
    title: str
    body: str
    severity: Severity = "major"
    resolves: bool = False
