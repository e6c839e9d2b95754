"""What goes over the wire to a channel, and what of its answer is a receipt.

apprise reads the URLs and knows a hundred services. Of three it is not believed: Telegram answers
200 with `"ok": false`, PagerDuty wants its key back, and a webhook that redirects turns the page
into an empty GET. For these a channel's URL becomes requests of our own, each with the receipt that
it has to end in.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

from recon.core.page import Message
from recon.core.records import Severity
from recon.errors import ConfigError
from recon.system.bounded_json import UnreadableJson, decoded
from recon.system.web_address import is_loopback, read_address, refusal

TELEGRAM, PAGERDUTY = (
    "https://api.telegram.org",
    {
        "us": "https://events.pagerduty.com",
        "eu": "https://events.eu.pagerduty.com",
    },
)
TELEGRAM_UNITS = 4096
"""UTF-16 code units that a message may have."""
PAGERDUTY_SUMMARY = 1024
PAGERDUTY_SEVERITY: dict[Severity, str] = {
    "minor": "warning",
    "major": "error",
    "critical": "critical",
}
WEBHOOKS = {"NotifyJSON", "NotifyXML", "NotifyForm", "NotifyAppriseAPI"}
CLIPPED = "… (clipped)"


class Request(NamedTuple):
    """One HTTP request, its body JSON or nothing, and the receipt that it has to end in.

    `receipt` is `status` (any 2xx), `telegram` (`"ok": true`) or `pagerduty` (202 and its key).
    """

    url: str
    method: str
    headers: dict[str, str]
    payload: dict[str, Any] | None
    receipt: str
    is_verified: bool = True


class Channel(NamedTuple):
    """A channel as its URL was understood: its masked name, and apprise's reading of it.

    `plugin` is None for an `https://` address that is nobody's service: a webhook. `base_url`
    stands in for Telegram's or PagerDuty's own address; `api_token` reads PagerDuty's incidents.
    """

    url: str
    name: str
    plugin: Any
    base_url: str | None = None
    api_token: str | None = None

    @property
    def service(self) -> str:
        """Return what kind of channel apprise takes it for, by the plain one of its schemas."""
        return "" if self.plugin is None else _schema(self.plugin)

    @property
    def is_ours(self) -> bool:
        """Return whether the requests, and the reading of receipts, are our own."""
        return self.service in {"", "tgram", "pagerduty", "json"}

    @property
    def keeps_incidents(self) -> bool:
        """Return whether what is paged through it stays open until it is resolved."""
        return self.service == "pagerduty"


def understood(url: str, base_url: str | None = None, api_token: str | None = None) -> Channel:
    """Read a channel's URL. Raises ConfigError for one through which nothing would be sent."""
    import apprise

    logging.getLogger("apprise").disabled = True  # it logs the whole of a URL that it cannot read
    plugin: Any = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    scheme, separator, rest = url.partition("://")
    if api_token is not None and (plugin is None or _schema(plugin) != "pagerduty"):
        raise ConfigError(
            "paging.channels: api_token is for PagerDuty, whose incidents it reads: remove it"
        )
    if plugin is None and scheme in {"http", "https"} and rest.strip("/"):
        return Channel(url, f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}/...", None)
    if plugin is None:
        raise ConfigError(
            f"paging.channels: apprise knows no channel like {scheme if separator else '(none)'}"
            "://…: see the URL's form in apprise's list of services"
        )
    if _schema(plugin) == "tgram" and not plugin.targets:
        raise ConfigError("paging.channels: tgram://…: names no chat: write tgram://TOKEN/CHAT")
    if base_url is not None and _schema(plugin) not in {"tgram", "pagerduty"}:
        raise ConfigError(
            "paging.channels: base_url is for Telegram and PagerDuty: remove it, and write the "
            "address into the channel's URL"
        )
    if type(plugin).__name__ in WEBHOOKS:  # of which apprise shows the path
        port = f":{plugin.port}" if plugin.port else ""
        return Channel(url, f"{scheme}://{plugin.host}{port}/...", plugin)
    return Channel(url, str(plugin.url(privacy=True)), plugin, base_url, api_token)


def assert_private(channel: Channel, *, is_allowed: bool) -> None:
    """Raise ConfigError where a channel's secret would go to another machine without TLS.

    `is_allowed`: the channel says `allow_plain_http = true`.
    """
    try:
        found = _in_the_clear(channel)
    except ValueError as error:
        raise ConfigError(f"paging.channels: {channel.name} is no web address: {error}") from None
    if found is not None and not is_allowed and not is_loopback(found.host):
        said = refusal(found.scheme, found.host, "pages and the channel's secret", found.secure)
        raise ConfigError(f"paging.channels: {said}")


class _InTheClear(NamedTuple):
    """A way without TLS: its scheme, the host at its end, and the scheme with TLS."""

    scheme: str
    host: str
    secure: str


def _in_the_clear(channel: Channel) -> _InTheClear | None:
    """Return how a channel sends without TLS; None where it uses TLS, or has no secret.

    apprise decides for some services by itself: it writes such a URL anew with the secure scheme.
    Mail without a password has no secret. Services of this machine alone (syslog) have no host.
    """
    plugin = channel.plugin
    if plugin is None:
        address = read_address(channel.url, ("http", "https"))
        is_secure = address.scheme == "https"
        return None if is_secure else _InTheClear(address.scheme, address.host, "https")
    scheme = str(plugin.url(privacy=True)).partition("://")[0]
    secure = _names(plugin.secure_protocol)
    goes_to_https = not secure and str(getattr(plugin, "notify_url", "")).startswith("https://")
    is_mail = type(plugin).__name__ == "NotifyEmail"
    host = str((plugin.smtp_host if is_mail else plugin.host) or "").strip("[]")
    if scheme in secure or goes_to_https or not host or (is_mail and not plugin.password):
        return None
    return _InTheClear(scheme, host, next(iter(secure), "https"))


def _names(protocol: Any) -> tuple[str, ...]:
    """Return the schemes that apprise keeps as one text, several, or None."""
    if isinstance(protocol, str):
        return (protocol,)
    return tuple(map(str, protocol or ()))


def requests_for(channel: Channel, message: Message) -> list[Request]:
    """Return what is sent through a channel of ours: one request a recipient."""
    if channel.plugin is None:
        return [Request(channel.url, "POST", {}, _event(message), "status")]
    build = {"tgram": _telegram, "pagerduty": _pagerduty, "json": _webhook}
    return build[channel.service](channel, message)


def telegram_request(channel: Channel, method: str, payload: dict[str, Any]) -> Request:
    """Return a call of the Bot API, as a channel's bot."""
    plugin = channel.plugin
    url = f"{channel.base_url or TELEGRAM}/bot{plugin.bot_token}/{method}"
    return Request(url, "POST", {}, payload, "telegram", plugin.verify_certificate)


def clipped(text: str, units: int) -> str:
    """Return the beginning of a text, of so many UTF-16 code units at most."""
    encoded = text.encode("utf-16-le")
    if len(encoded) <= 2 * units:
        return text
    kept = encoded[: 2 * (units - len(CLIPPED))].decode("utf-16-le", "ignore")
    return kept + CLIPPED


def _telegram(channel: Channel, message: Message) -> list[Request]:
    """Say it in each chat; the last line has the key, by which a reply to it is understood."""
    plugin = channel.plugin
    how = "key:" if message.resolves else 'Reply "ack" to acknowledge, or write /ack'
    last = f"\n\n{how} {message.key}"
    text = clipped(f"{message.title}\n\n{message.body}", TELEGRAM_UNITS - len(last)) + last
    found = []
    for chat, thread in plugin.targets:
        topic = thread or plugin.topic
        payload = {
            "chat_id": chat,
            "text": text,
            "disable_notification": bool(plugin.silent),
            "disable_web_page_preview": True,
            **({"message_thread_id": topic} if topic else {}),
        }
        found.append(telegram_request(channel, "sendMessage", payload))
    return found


def _pagerduty(channel: Channel, message: Message) -> list[Request]:
    plugin = channel.plugin
    summary = clipped(" ".join([message.title, *message.body.split()]), PAGERDUTY_SUMMARY)
    payload: dict[str, Any] = {
        "routing_key": plugin.integration_key,
        "event_action": "resolve" if message.resolves else "trigger",
        "dedup_key": message.key,
        "payload": {
            "summary": summary,
            "source": plugin.source or "recon",
            "severity": PAGERDUTY_SEVERITY[message.severity],
            "custom_details": {"page": f"{message.title}\n\n{message.body}"},
            **{
                name: value
                for name in ("component", "group", "class_id")
                if (value := getattr(plugin, name, None))
            },
        },
    }
    if "class_id" in payload["payload"]:
        payload["payload"]["class"] = payload["payload"].pop("class_id")
    base = channel.base_url or PAGERDUTY[plugin.region_name]
    return [
        Request(f"{base}/v2/enqueue", "POST", {}, payload, "pagerduty", plugin.verify_certificate)
    ]


def _webhook(channel: Channel, message: Message) -> list[Request]:
    plugin = channel.plugin
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
    return [
        Request(url, plugin.method.upper(), headers, payload, "status", plugin.verify_certificate)
    ]


def _event(message: Message) -> dict[str, Any]:
    """Return a page as a webhook is told it: apprise's own shape, with key and severity."""
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


def _schema(plugin: Any) -> str:
    """Return what kind of channel apprise takes it for, by the plain one of its schemas."""
    name = type(plugin).__name__
    return {"NotifyTelegram": "tgram", "NotifyPagerDuty": "pagerduty", "NotifyJSON": "json"}.get(
        name, name
    )


def answered(request: Mapping[str, Any], status: int, body: bytes) -> str:
    """Return why an answer is no receipt, or nothing where it is one. No secret is in it."""
    receipt = request["receipt"]
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"redirects elsewhere (HTTP {status}), and redirects are not followed"
    if receipt == "status":
        is_taken = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
        return "" if is_taken else f"HTTP {status}"
    try:
        said = decoded(body)
    except UnreadableJson:
        said = None
    said = said if isinstance(said, dict) else {}
    if receipt == "telegram":
        is_taken = status == HTTPStatus.OK and said.get("ok") is True
        return "" if is_taken else f"Telegram did not say ok (HTTP {status})"
    key = request["payload"]["dedup_key"]
    is_taken = status == HTTPStatus.ACCEPTED and said.get("dedup_key") == key
    return "" if is_taken else f"PagerDuty did not take the event (HTTP {status})"
