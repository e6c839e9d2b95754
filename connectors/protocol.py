"""The Protocols of connectors: of venues' APIs, brokers' statements and bot databases alike."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from recon.core.records import CheckItem, Coverage, EvidenceSpec, Listing, Record, Table, Window


class Connector(Protocol):
    """A source of evidence. It fetches; it never interprets money.

    `fetch` yields the source's records verbatim, one by one or as a `Table`, in any order, each
    (kind, id) at most once. For each of its `promises` it yields at least one `Coverage` statement,
    after the records that the statement covers. A fault at the source becomes a `failed` or
    `partial` statement with a reason. A fault that makes the whole source useless raises
    `VenueRefused`, `StatementError` or `BotDatabaseError`. Every request has a hard deadline.

    Args of `fetch`: `window` is the interval that the evidence must cover. A connector may fetch
    past its end.
    """

    venue: str
    account: str
    promises: tuple[EvidenceSpec, ...]

    def fetch(self, window: Window) -> AsyncGenerator[Record | Table | Coverage, None]:
        """Yield records, then their coverage."""
        ...

    async def check(self) -> list[CheckItem]:
        """Return the result of a cheap test of reach and permissions, with remedies."""
        ...


@runtime_checkable
class Historian(Connector, Protocol):
    """A source that can serve an interval of the past alone.

    `piece` is the best length of one request. An interruption loses at most one piece.
    """

    piece: timedelta

    def history(self, window: Window) -> AsyncGenerator[Record | Table | Coverage, None]:
        """Yield the events inside the window, then the coverage of each promise of the past.

        It yields no current state, such as positions. Errors are those of `fetch`.
        """
        ...


@runtime_checkable
class Remembering(Protocol):
    """A source with records that never change and are fetched once: OKX's candles."""

    def remember(self, ids: Collection[str]) -> None:
        """Store the ids of the records that have landed: they are not fetched again."""
        ...


@runtime_checkable
class Lister(Connector, Protocol):
    """A venue that lists all its instruments: a name that it does not list does not exist there."""

    async def listing(self) -> Listing:
        """Return the instruments and currencies that the venue lists. Raises VenueError."""
        ...


@runtime_checkable
class Forgetful(Connector, Protocol):
    """A venue that serves only a limited past."""

    def serves_from(self) -> datetime:
        """Return the earliest instant (UTC) from which the venue still serves all evidence."""
        ...
