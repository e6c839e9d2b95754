"""HTTP inside a child process: one request, no redirect followed, nothing said of where it went."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    build_opener,
)

FAILURES = (OSError, HTTPException, ValueError)
"""What a request may end in that has no answer."""


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def opener(*, is_verified: bool = True) -> OpenerDirector:
    """Return what opens addresses and follows no redirect."""
    context = ssl.create_default_context()
    if not is_verified:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return build_opener(_NoRedirects, HTTPSHandler(context=context))


def exchanged(request: Mapping[str, Any], most_bytes: int) -> tuple[int, bytes]:
    """Send a request (url, method, headers, payload, is_verified); return status and body.

    The status may be any. Without a payload nothing is sent as a body. Raises
    one of FAILURES where there is no answer.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "recon", **request["headers"]}
    payload = request["payload"]
    asked = Request(
        request["url"],
        None if payload is None else json.dumps(payload).encode(),
        headers,
        method=request["method"],
    )
    try:
        with opener(is_verified=request["is_verified"]).open(asked) as answer:
            return answer.status, answer.read(most_bytes)
    except HTTPError as error:
        with error:
            return error.code, error.read(most_bytes)


def in_words(error: Exception) -> str:
    """Say what went wrong without the address: what a library says may have it in it."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {cause.reason}"
    known = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else ""
    return known if known and "Unknown" not in known else type(cause).__name__
