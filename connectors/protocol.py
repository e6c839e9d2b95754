"""What every connector is, be it a venue's API, a broker's statements or a bot's own database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from recon.core.records import CheckItem, Coverage, EvidenceSpec, Listing, Record, Table, Window


class Connector(Protocol):
    """A source of evidence. It fetches; it never interprets money.

    `fetch` yields the source's records verbatim, one by one or as a `Table`, each (kind, id) at
    most once, in any order, and for each of its `promises` at least one `Coverage` statement, after
    the records that the statement speaks of. What goes wrong at the source becomes a
    `failed` or `partial` statement with a reason; only what makes the whole source useless raises
    (`VenueRefused`, `StatementError`, `BotDatabaseError`). Every request has a hard deadline.

    Args of `fetch`: `window` is what the evidence must cover. A connector may fetch past its end.
    """

    venue: str
    account: str
    promises: tuple[EvidenceSpec, ...]

    def fetch(self, window: Window) -> AsyncGenerator[Record | Table | Coverage, None]:
        """Yield records, then what was covered."""
        ...

    async def check(self) -> list[CheckItem]:
        """Try reach and permissions, as cheaply as that can be known, and say what to do."""
        ...


@runtime_checkable
class Historian(Connector, Protocol):
    """A source that can be asked for a stretch of the past, and for no more than that.

    `piece` is how much is best asked for at once: what is lost when it is stopped.
    """

    piece: timedelta

    def history(self, window: Window) -> AsyncGenerator[Record | Table | Coverage, None]:
        """Yield what happened inside the window, then what was covered of each such promise.

        Nothing that only says how things stand now. Errors are those of `fetch`.
        """
        ...


@runtime_checkable
class Remembering(Protocol):
    """A source some of whose records never change, and are fetched once: OKX's candles."""

    def remember(self, ids: Collection[str]) -> None:
        """Take the ids of those that have landed."""
        ...


@runtime_checkable
class Lister(Connector, Protocol):
    """A venue that lists its instruments: a name that is not among them does not exist there."""

    async def listing(self) -> Listing:
        """Return the instruments and currencies that the venue lists. Raises VenueError."""
        ...


@runtime_checkable
class Forgetful(Connector, Protocol):
    """A venue that serves its past for a limited time."""

    def serves_from(self) -> datetime:
        """Return the earliest instant (UTC) of which the venue still serves all evidence."""
        ...
