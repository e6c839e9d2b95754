"""The address of the dead-man's switch: a secret of the configuration, `recon.ping`."""

from __future__ import annotations

from pathlib import Path

from recon.config.secrets import read_secret
from recon.system.web_address import assert_private, read_address


def read_ping(source: object, folder: Path) -> str:
    """Return the address that `recon.ping` names; `folder` is what a relative file is relative to.

    It is a secret, and beside it there may be `allow_plain_http`. Raises ValueError for an address
    that cannot be pinged, or would be in the clear.
    """
    secret, is_allowed = split_ping(source)
    url = read_secret(secret, folder, "recon.ping")
    try:
        found = read_address(url, ("http", "https"))
    except ValueError as error:
        raise ValueError(f"the secret is no web address: {error}") from None
    assert_private(found, "the address, which is a secret,", is_allowed=is_allowed)
    return url


def split_ping(source: object) -> tuple[object, bool]:
    """Return the secret that `recon.ping` names, and whether it may be sent without TLS."""
    if not isinstance(source, dict):
        return source, False
    is_allowed = source.get("allow_plain_http", False)
    if not isinstance(is_allowed, bool):
        raise ValueError("allow_plain_http: write true or false")  # noqa: TRY004 - as pydantic wants
    return {key: value for key, value in source.items() if key != "allow_plain_http"}, is_allowed
