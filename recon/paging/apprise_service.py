"""Every other service that apprise knows: apprise sends, and says whether the service accepted.

apprise reports success also where nothing was sent. Its word counts only if the process connected
to something.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from recon.core.page import Message
from recon.paging.service import PlainRoute, Service, schemes

CONNECTING = {"socket.connect", "socket.sendto", "socket.sendmsg", "syslog.syslog"}
"""Audit events of a process that sends something."""


class AppriseService(Service):
    """A channel of any service of apprise's."""

    name = "apprise"
    title = "apprise's services"

    @classmethod
    def costs_booked(cls, _url: str, plugin: Any) -> bool:
        """Return whether apprise knows the URL."""
        return plugin is not None

    @property
    def label(self) -> str:
        """The scheme by which apprise knows the service: `slack`, `mailto`."""
        plugin = self.plugin
        names = (*schemes(plugin.protocol), *schemes(plugin.secure_protocol), self.name)
        return names[0]

    def job(self, message: Message) -> dict[str, Any]:
        """Return the URL and the message."""
        return {"url": self.url, "message": message._asdict()}

    @classmethod
    def send(cls, job: Mapping[str, Any]) -> str:
        """Send through apprise. Return why it was not delivered, or nothing."""
        import apprise

        message = Message(**job["message"])
        plugin: Any = apprise.Apprise.instantiate(job["url"], suppress_exceptions=True)
        if plugin is None:
            return "apprise knows no such channel"
        plugin.redirects = False
        plugin.overflow_mode = apprise.OverflowMode.TRUNCATE
        kind = apprise.NotifyType.WARNING if message.resolves else apprise.NotifyType.FAILURE
        channel = apprise.Apprise()
        channel.add(plugin)
        connected = _connections()
        is_taken = channel.notify(
            title=message.title, body=message.body, notify_type=kind, body_format="text"
        )
        if not is_taken:
            return "the channel did not take it"
        return "" if connected else "nothing was sent: the channel was never connected to"

    def plain_route(self) -> PlainRoute | None:
        """Return the route without TLS, as far as apprise shows it.

        apprise decides for some services by itself: it rewrites such a URL with the secure scheme,
        or has a fixed `https://` address. Mail without a password has no secret. Services of this
        machine alone (syslog) have no host.
        """
        plugin = self.plugin
        scheme = str(plugin.url(privacy=True)).partition("://")[0]
        secure = schemes(plugin.secure_protocol)
        goes_to_https = not secure and str(getattr(plugin, "notify_url", "")).startswith("https://")
        is_mail = type(plugin).__name__ == "NotifyEmail"
        host = str((plugin.smtp_host if is_mail else plugin.host) or "").strip("[]")
        if scheme in secure or goes_to_https or not host or (is_mail and not plugin.password):
            return None
        return PlainRoute(scheme, host, next(iter(secure), "https"))


def _connections() -> list[str]:
    """Return a list that grows with each connection that this process makes from now on."""
    connected: list[str] = []

    def record(event: str, _arguments: object) -> None:
        if event in CONNECTING:
            connected.append(event)

    sys.addaudithook(record)
    return connected
