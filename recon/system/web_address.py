"""Web addresses: read so strictly that every library reads them alike, and whether TLS is needed.

One function decides for every venue, heartbeat, ping and channel whether an address is this
machine's own: `is_loopback`. Everything else needs TLS where a secret goes along.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from urllib.parse import parse_qs

ALLOWED = "allow_plain_http = true"
"""The setting that lets one item go without TLS."""

LOCALHOST = "localhost"
LONGEST = 8192
_SHAPE = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?:(?P<user>[^\s@/\\?#\[\]]*)@)?"
    r"(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])"
    r"(?::(?P<port>\d{1,5}))?"
    r"(?P<rest>(?:[/?][^\s\\#]*)?)",
    re.IGNORECASE | re.ASCII,
)
HIGHEST_PORT = 65535
_LONGEST_HOST = 253
_LONGEST_LABEL = 63


class Address(NamedTuple):
    """The parts of a web address. `host` has no brackets; `rest` is path and query."""

    scheme: str
    user: str | None
    host: str
    port: int | None
    rest: str

    @property
    def has_password(self) -> bool:
        """Whether a user, or a password, is in it: before the host or in the query."""
        query = parse_qs(self.rest.partition("?")[2], keep_blank_values=True)
        return bool(self.user) or not query.keys().isdisjoint({"password", "username"})


def read_address(url: str, schemes: Sequence[str]) -> Address:
    """Return the parts of a URL that begins with one of `schemes`.

    Raises ValueError that does not show the URL, as it may be a secret. Refused is what two
    libraries may read differently: backslashes, other letters than ASCII's, fragments.
    """
    shape = _SHAPE.fullmatch(url) if len(url) <= LONGEST else None
    if shape is None or shape["scheme"].lower() not in schemes:
        raise ValueError(
            f"begin it with {' or '.join(schemes)}, then ://, then a host in ASCII letters and "
            "digits; no spaces, no backslash, no #"
        )
    host = shape["host"]
    if host.startswith("["):
        host = host[1:-1]
        _assert_ipv6(host)
    elif len(host) > _LONGEST_HOST or not all(
        0 < len(label) <= _LONGEST_LABEL for label in host.removesuffix(".").split(".")
    ):
        raise ValueError("its host is no name of a host: correct it")
    port = None if shape["port"] is None else int(shape["port"])
    if port is not None and not 0 < port <= HIGHEST_PORT:
        raise ValueError(f"its port is out of range: use one from 1 to {HIGHEST_PORT}")
    return Address(shape["scheme"].lower(), shape["user"], host, port, shape["rest"])


def _assert_ipv6(host: str) -> None:
    try:
        IPv6Address(host)
    except ValueError:
        raise ValueError("what its brackets hold is no IPv6 address: correct it") from None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine's own: 127.0.0.0/8, ::1 or localhost, written so.

    Any other spelling (hexadecimal, a trailing dot, an IPv4 address inside IPv6) is not: libraries
    disagree about it, or a resolver decides.
    """
    if host.lower() == LOCALHOST:
        return True
    try:
        return IPv4Address(host).is_loopback
    except ValueError:
        pass
    try:
        return IPv6Address(host) == IPv6Address("::1")
    except ValueError:
        return False


def assert_private(address: Address, what: str, *, is_allowed: bool, secure: str = "https") -> None:
    """Raise ValueError where `what` would go to another machine without TLS.

    `is_allowed`: the item says `allow_plain_http = true`. `secure` is the scheme with TLS.
    """
    if address.scheme != secure and not is_allowed and not is_loopback(address.host):
        raise ValueError(refusal(address.scheme, address.host, what, secure))


def refusal(scheme: str, host: str, what: str, secure: str = "https") -> str:
    """Return why `what` is not sent to `host` without TLS, and what to do."""
    return (
        f"{scheme}:// sends {what} in the clear to {host}: use {secure}://, or write {ALLOWED} "
        "beside it"
    )
