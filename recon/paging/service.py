"""The protocol of a paging service, and the types that pass through it.

A service is one class in one file. An instance is one channel: its URL, parsed. The class says how
a message is sent and which answer is a receipt. Where people can reply, it also says where replies
are read and which of them acknowledge an incident. `notifiers.SERVICES` lists the classes.

`send` and the two readers are class methods. They run in a child process, which gets the service's
name and a job, and no channel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple, Protocol, Self

from recon.control.reply_cursors import Acknowledgement, Cursor
from recon.core.page import Message
from recon.system.child_http import FAILURES, exchanged, in_words

MAX_RECEIPT = 65_536
"""Bytes of an answer that are read for a receipt."""
CLIPPED = "… (clipped)"


class Request(NamedTuple):
    """One HTTP request. Its body is JSON, or empty where `payload` is None."""

    url: str
    method: str
    headers: dict[str, str]
    payload: dict[str, Any] | None
    is_verified: bool = True


class PlainRoute(NamedTuple):
    """A route without TLS: its scheme, the host at its end, and the scheme with TLS."""

    scheme: str
    host: str
    secure: str


class Reading(NamedTuple):
    """What a reader found in a service's answer: JSON items, or the problem that hides them.

    With a problem nothing is known: no reply may be assumed absent. `pause_s` is how long the
    service asks to be left alone.
    """

    items: list[dict[str, Any]]
    problem: str = ""
    pause_s: int = 0


class Reply(NamedTuple):
    """A person's acknowledgement, and the request that confirms it where it was written, if any."""

    acknowledgement: Acknowledgement
    confirm: Callable[[str], Request] | None = None


class Replies(NamedTuple):
    """The replies behind a cursor, and the cursor's next value (None: it stays).

    `strangers` are chats that wrote and that no channel names. `is_more` says that another request
    may find more.
    """

    found: list[Reply]
    cursor: str | None = None
    strangers: tuple[str, ...] = ()
    is_more: bool = False


class ReplySource(Protocol):
    """One source of replies: read with one request, from one cursor."""

    @property
    def service(self) -> str:
        """The name of its service."""

    @property
    def key(self) -> str:
        """What identifies it in the control database. Holds no secret."""

    @property
    def group(self) -> str:
        """The beginning, up to a slash, that it shares with its channel's other sources."""

    @property
    def name(self) -> str:
        """The name of its channel."""

    def request(self, cursor: Cursor, at: datetime) -> Request:
        """Return the request for the replies behind a cursor."""

    def check_request(self) -> Request:
        """Return a request that shows whether replies can be read, and changes nothing."""

    def replies(self, items: Iterable[Mapping[str, Any]], cursor: Cursor, at: datetime) -> Replies:
        """Return the acknowledgements among the items that were read from a cursor."""

    def merged(self, other: Self) -> Self:
        """Return the source that stands for both, where another channel has one of this key."""


@dataclass(frozen=True)
class Service(ABC):
    """A channel of one paging service.

    `plugin` is apprise's reading of the URL, or None for a URL that apprise does not know.
    `base_url` replaces the service's own address. `api_token` reads replies.
    """

    url: str
    plugin: Any
    base_url: str | None = None
    api_token: str | None = None

    name: ClassVar[str]
    """Identifies the service in jobs and in the default names of channels."""
    title: ClassVar[str]
    """The service's name in messages."""
    accepts_base_url: ClassVar[bool] = False
    accepts_api_token: ClassVar[bool] = False
    keeps_incidents: ClassVar[bool] = False
    """Whether a page stays open there until it is resolved."""

    @classmethod
    @abstractmethod
    def costs_booked(cls, url: str, plugin: Any) -> bool:
        """Return whether a URL is a channel of this service."""

    @abstractmethod
    def job(self, message: Message) -> dict[str, Any]:
        """Return what `send` needs, as JSON."""

    @classmethod
    @abstractmethod
    def send(cls, job: Mapping[str, Any]) -> str:
        """Send one message. Return why it was not delivered, without a secret, or nothing."""

    @property
    def label(self) -> str:
        """The first word of the channel's default name; a number follows."""
        return self.name

    def problem(self) -> str:
        """Return why nothing would be sent through this channel and how to correct it, or nothing.

        The text does not contain the URL.
        """
        return ""

    def plain_route(self) -> PlainRoute | None:
        """Return how the channel's secret would leave without TLS; None where it would not.

        Raises ValueError for a URL that is no web address.
        """
        return None

    def reply_sources(
        self, _recipient: str, _name: str, _incidents: Collection[str]
    ) -> list[ReplySource]:
        """Return where replies to these incidents are read: nowhere, unless the service says so.

        The parameters are the recipient's key, its name, and the keys of unacknowledged incidents
        of which it took a page.
        """
        return []

    def missing_for_replies(self) -> str:
        """Return the setting without which replies stay unread; empty where none is missing."""
        return ""

    @classmethod
    def read_replies(cls, status: int, body: bytes) -> Reading:
        """Read the answer to a source's `request`, strictly: anybody may have written it."""
        raise NotImplementedError(f"{cls.title} has no replies: HTTP {status}, {len(body)} bytes")

    @classmethod
    def read_check(cls, status: int, body: bytes) -> Reading:
        """Read the answer to a source's `check_request`."""
        return cls.read_replies(status, body)


class HttpService(Service):
    """A service that takes HTTP requests and answers each with a receipt."""

    @abstractmethod
    def requests(self, message: Message) -> list[Request]:
        """Return the requests that deliver a message: one for each addressee."""

    @classmethod
    @abstractmethod
    def receipt_error(cls, request: Request, status: int, body: bytes) -> str:
        """Return why an answer is not a receipt, or nothing where it is one. Shows no secret."""

    def job(self, message: Message) -> dict[str, Any]:
        """Return the requests."""
        return {"requests": [each._asdict() for each in self.requests(message)]}

    @classmethod
    def send(cls, job: Mapping[str, Any]) -> str:
        """Send each request; return why one was not accepted, or nothing."""
        problems = {cls._send_one(Request(**each)) for each in job["requests"]}
        return "; ".join(sorted(problems - {""}))

    @classmethod
    def _send_one(cls, request: Request) -> str:
        try:
            status, body = exchanged(request._asdict(), MAX_RECEIPT)
        except FAILURES as error:
            return f"no answer: {in_words(error)}"
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return f"redirects elsewhere (HTTP {status}), and redirects are not followed"
        return cls.receipt_error(request, status, body)


def clipped(text: str, units: int) -> str:
    """Return the beginning of a text, at most this many UTF-16 code units long."""
    encoded = text.encode("utf-16-le")
    if len(encoded) <= 2 * units:
        return text
    kept = encoded[: 2 * (units - len(CLIPPED))].decode("utf-16-le", "ignore")
    return kept + CLIPPED


def schemes(protocol: Any) -> tuple[str, ...]:
    """Return the URL schemes that apprise keeps as one text, several, or None."""
    if isinstance(protocol, str):
        return (protocol,)
    return tuple(map(str, protocol or ()))
