"""PagerDuty: messages through the Events API; acknowledgements read from the REST API.

A receipt is HTTP 202 with the incident's key. The Events API tells nobody who has acknowledged. The
REST API does, with an `api_token`; each incident is asked for by its key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

from recon.control.reply_cursors import Acknowledgement, Cursor
from recon.core.page import Message
from recon.core.records import Severity
from recon.paging.reply_parsers import (
    MAX_NAME,
    MAX_TEXT,
    as_instant,
    as_line,
    as_object,
    json_object,
)
from recon.paging.service import (
    HttpService,
    Reading,
    Replies,
    Reply,
    ReplySource,
    Request,
    clipped,
)

EVENTS_API = {"us": "https://events.pagerduty.com", "eu": "https://events.eu.pagerduty.com"}
REST_API = {"us": "https://api.pagerduty.com", "eu": "https://api.eu.pagerduty.com"}
SUMMARY_UNITS = 1024
SEVERITY: dict[Severity, str] = {"minor": "warning", "major": "error", "critical": "critical"}
OPTIONAL_FIELDS = {"component": "component", "group": "group", "class_id": "class"}
"""Fields of an event that the URL may set: apprise's names and PagerDuty's."""
MOST_ACTS = 50
"""Acts of one answer: what the child process prints of them fits a pipe."""


class PagerDuty(HttpService):
    """An integration of a PagerDuty service."""

    name = "pagerduty"
    title = "PagerDuty"
    accepts_base_url = True
    accepts_api_token = True
    keeps_incidents = True

    @classmethod
    def costs_booked(cls, _url: str, plugin: Any) -> bool:
        """Return whether apprise reads the URL as one of PagerDuty's: `pagerduty://`."""
        return type(plugin).__name__ == "NotifyPagerDuty"

    def requests(self, message: Message) -> list[Request]:
        """Trigger or resolve the incident under its key."""
        plugin = self.plugin
        summary = clipped(" ".join([message.title, *message.body.split()]), SUMMARY_UNITS)
        payload: dict[str, Any] = {
            "routing_key": plugin.integration_key,
            "event_action": "resolve" if message.resolves else "trigger",
            "dedup_key": message.key,
            "payload": {
                "summary": summary,
                "source": plugin.source or "recon",
                "severity": SEVERITY[message.severity],
                "custom_details": {"page": f"{message.title}\n\n{message.body}"},
                **{
                    theirs: value
                    for name, theirs in OPTIONAL_FIELDS.items()
                    if (value := getattr(plugin, name, None))
                },
            },
        }
        url = f"{self.base_url or EVENTS_API[plugin.region_name]}/v2/enqueue"
        return [Request(url, "POST", {}, payload, plugin.verify_certificate)]

    @classmethod
    def receipt_error(cls, request: Request, status: int, body: bytes) -> str:
        """Accept 202 with the key of the event."""
        key = (request.payload or {}).get("dedup_key")
        is_taken = status == HTTPStatus.ACCEPTED and json_object(body).get("dedup_key") == key
        return "" if is_taken else f"PagerDuty did not take the event (HTTP {status})"

    def reply_sources(
        self, recipient: str, name: str, incidents: Collection[str]
    ) -> list[ReplySource]:
        """Return one source for each incident; none without an API token."""
        if self.api_token is None:
            return []
        return [PagerDutyIncident(self, recipient, name, key) for key in incidents]

    def missing_for_replies(self) -> str:
        """Return `api_token` where it is missing."""
        return "api_token" if self.api_token is None else ""

    @classmethod
    def read_replies(cls, status: int, body: bytes) -> Reading:
        """Read the incidents under one key: when which person acknowledged or resolved by hand.

        The acts of automations, events and timeouts are left out.
        """
        refused: dict[int, str] = {
            HTTPStatus.UNAUTHORIZED: "PagerDuty refuses the api_token: make a read-only REST API "
            "key",
            HTTPStatus.FORBIDDEN: "PagerDuty lets the api_token read no incidents",
            HTTPStatus.TOO_MANY_REQUESTS: "PagerDuty wants to be left alone for a while (HTTP 429)",
        }
        found = json_object(body).get("incidents")
        if status != HTTPStatus.OK:
            return Reading([], refused.get(status, f"PagerDuty answered HTTP {status}"))
        if not isinstance(found, list):
            return Reading([], "PagerDuty answered, and gave no list of incidents")
        incidents = [one for one in found if isinstance(one, dict)]
        if not all(isinstance(one.get("incident_key"), str | None) for one in incidents):
            return Reading([], "PagerDuty gave an incident whose incident_key is no text")
        acts = [act for one in incidents for act in _acts(one)]
        if len(acts) > MOST_ACTS:
            return Reading(
                [], f"PagerDuty gave {len(acts)} acts, more than the {MOST_ACTS} that are read"
            )
        return Reading(acts)


class PagerDutyIncident(NamedTuple):
    """An incident that a channel has taken: `recipient` is the channel's key."""

    channel: PagerDuty
    recipient: str
    name: str
    incident: str
    service: str = PagerDuty.name

    @property
    def key(self) -> str:
        """The channel's key and the incident's."""
        return f"{self.group}/{self.incident}"

    @property
    def group(self) -> str:
        """The channel."""
        return f"pagerduty/{self.recipient}"

    def merged(self, _other: PagerDutyIncident) -> Self:
        """Return this one: it has the same channel and incident as the other."""
        return self

    def request(self, _cursor: Cursor, _at: datetime) -> Request:
        """Ask for all incidents under the key, the newest first, however old."""
        query = {
            "incident_key": self.incident,
            "date_range": "all",
            "sort_by": "created_at:desc",
            "limit": 10,
        }
        plugin = self.channel.plugin
        headers = {
            "Accept": "application/vnd.pagerduty+json;version=2",
            "Authorization": f"Token token={self.channel.api_token}",
        }
        base = self.channel.base_url or REST_API[plugin.region_name]
        url = f"{base}/incidents?{urlencode(query)}"
        return Request(url, "GET", headers, None, plugin.verify_certificate)

    def check_request(self) -> Request:
        """Ask as `request` does: reading changes nothing."""
        return self.request(Cursor(), datetime.now(UTC))

    def replies(self, items: Iterable[Mapping[str, Any]], cursor: Cursor, _at: datetime) -> Replies:
        """Return the last act of a person on the incident behind the cursor."""
        acts = [
            each
            for each in items
            if each["key"] in {None, self.incident} and each["at"] > (cursor.value or "")
        ]
        if not acts:
            return Replies([])
        last = max(acts, key=lambda each: str(each["at"]))
        acknowledgement = Acknowledgement(
            self.incident,
            last["who"],
            last["user"],
            f"{last['act']} at PagerDuty",
            datetime.fromisoformat(last["at"]),
        )
        return Replies([Reply(acknowledgement)], last["at"])


def _acts(incident: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the acts of people on an incident; of the same instant the acknowledgement is last."""
    status = incident.get("status")
    if status not in ("acknowledged", "resolved"):  # a tuple: the value may be unhashable
        return []
    acts = [(incident.get("last_status_change_at"), incident.get("last_status_change_by"))]
    given = incident.get("acknowledgements")
    if status == "acknowledged" and isinstance(given, list):
        acts += [(one.get("at"), one.get("acknowledger")) for one in map(as_object, given)]
    key = incident.get("incident_key")
    found = []
    for when, by in acts:
        at, agent = as_instant(when), as_object(by)
        who = as_line(agent.get("summary"), MAX_NAME)
        if at and who and str(agent.get("type", "user")).startswith("user"):
            user = f"pagerduty {as_line(agent.get('id'), MAX_NAME)}".strip()
            of = None if key is None else as_line(key, MAX_TEXT)
            found.append({"at": at, "who": who, "user": user, "act": status, "key": of})
    return found
