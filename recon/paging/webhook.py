"""Webhooks: a JSON POST to `json://…`, or to an `https://…` address that is no known service's.

A webhook that redirects would turn the POST into an empty GET, so a receipt is any 2xx and
redirects are not followed.
"""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from recon.core.page import Message
from recon.paging.service import HttpService, PlainRoute, Request
from recon.system.web_address import read_address


class Webhook(HttpService):
    """An address that takes a page as JSON. `plugin` is None for an `https://` or `http://` URL."""

    name = "webhook"
    title = "a webhook"

    @classmethod
    def costs_booked(cls, url: str, plugin: Any) -> bool:
        """Return whether the URL is `json://`, or a web address unknown to apprise."""
        if plugin is not None:
            return type(plugin).__name__ == "NotifyJSON"
        scheme, _, rest = url.partition("://")
        return scheme in {"http", "https"} and bool(rest.strip("/"))

    def requests(self, message: Message) -> list[Request]:
        """Send the message as an event, with the URL's own headers, parameters and fields."""
        if self.plugin is None:
            return [Request(self.url, "POST", {}, _event(message))]
        plugin = self.plugin
        headers = dict(plugin.headers)
        if plugin.user:
            pair = f"{plugin.user}:{plugin.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode('ascii')}"
        payload = _event(message)
        for name, value in plugin.payload_extras.items():
            if name not in payload:
                payload[name] = value
            elif value:
                payload[value] = payload.pop(name)
            else:
                del payload[name]
        host = f"[{plugin.host}]" if ":" in plugin.host else plugin.host
        url = f"{'https' if plugin.secure else 'http'}://{host}"
        url += f":{plugin.port}" if plugin.port else ""
        url += plugin.fullpath or "/"
        if plugin.params:
            url += f"?{urlencode(plugin.params)}"
        return [Request(url, plugin.method.upper(), headers, payload, plugin.verify_certificate)]

    @classmethod
    def receipt_error(cls, _request: Request, status: int, _body: bytes) -> str:
        """Accept any 2xx."""
        is_taken = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
        return "" if is_taken else f"HTTP {status}"

    def plain_route(self) -> PlainRoute | None:
        """Return the route of `json://` and `http://`."""
        if self.plugin is not None:
            host = str(self.plugin.host).strip("[]")
            return None if self.plugin.secure else PlainRoute("json", host, "jsons")
        address = read_address(self.url, ("http", "https"))
        is_secure = address.scheme == "https"
        return None if is_secure else PlainRoute(address.scheme, address.host, "https")


def _event(message: Message) -> dict[str, Any]:
    """Return a message in the shape of apprise's own webhooks, with key, severity and action."""
    return {
        "version": "1.0",
        "title": message.title,
        "message": message.body,
        "attachments": [],
        "type": "success" if message.resolves else "failure",
        "key": message.key,
        "severity": message.severity,
        "action": "resolve" if message.resolves else "trigger",
    }
