"""Where pages are answered, on 127.0.0.1: a Bot API and a PagerDuty as awkward as the real ones."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from recon.core.records import Clock
from tests.support.servers.channels import TOKEN, Replying, listening

REST_TOKEN = "canary-rest-token"
ANNA = {"id": 7, "is_bot": False, "first_name": "Anna", "username": "anna"}
CHAT = 987654321
BOT = {"id": int(TOKEN.partition(":")[0]), "is_bot": True, "first_name": "recon"}
Fault = Callable[["Handler"], None]
S = TypeVar("S", bound="Service")


class Handler(Replying):
    """One request of either service; a fault that waits answers in its place."""

    service: Service

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(json.loads(body or b"{}"))

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self._answer(query)

    def _answer(self, asked: dict[str, Any]) -> None:
        with self.service.lock:
            self.service.requests.append((self.path, asked))
            fault = self.service.faults.pop(0) if self.service.faults else None
        if fault is not None:
            fault(self)
            return
        with self.service.lock:
            status, said = self.service.answer(self, asked)
        self.reply(status, said)


@dataclass
class Service:
    """What a service was asked, and what stands in for its next answers."""

    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    base: str = ""
    now: Clock = lambda: datetime.now(UTC)

    def answer(self, handler: Handler, asked: dict[str, Any]) -> tuple[int, Any]:
        raise NotImplementedError

    def asked(self, method: str) -> list[dict[str, Any]]:
        return [asked for path, asked in self.requests if urlsplit(path).path.endswith(method)]


@dataclass
class BotApi(Service):
    """Telegram: updates wait until they are confirmed by a higher offset."""

    updates: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    webhook: str = ""
    next_update: int = 730_000_000
    next_message: int = 1

    def answer(self, handler: Handler, asked: dict[str, Any]) -> tuple[int, Any]:
        if urlsplit(handler.path).path.split("/")[1] != f"bot{TOKEN}":
            return 401, {"ok": False, "error_code": 401, "description": "Unauthorized"}
        method = handler.path.rpartition("/")[2]
        if method == "getWebhookInfo":
            return 200, {"ok": True, "result": {"url": self.webhook, "pending_update_count": 0}}
        if method == "getUpdates":
            return self._updates(asked)
        message = self.posted(asked["text"], asked["chat_id"], BOT)
        self.sent.append({**asked, "message": message})
        return 200, {"ok": True, "result": message}

    def _updates(self, asked: dict[str, Any]) -> tuple[int, Any]:
        if self.webhook:
            said = (
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook"
            )
            return 409, {"ok": False, "error_code": 409, "description": said}
        if "offset" in asked:
            self.updates = [one for one in self.updates if one["update_id"] >= asked["offset"]]
        return 200, {"ok": True, "result": self.updates[: asked.get("limit", 100)]}

    def posted(
        self, text: Any, chat: int | str = CHAT, by: Any = ANNA, at: datetime | None = None
    ) -> dict[str, Any]:
        """Return a message as Telegram shows it."""
        self.next_message += 1
        number = -55 if isinstance(chat, str) else chat
        kind = {"id": number, "type": "private" if number > 0 else "supergroup"}
        when = int((at or self.now()).timestamp())
        return {
            "message_id": self.next_message,
            "from": by,
            "chat": kind,
            "date": when,
            "text": text,
        }

    def update(self, gap: int = 1, **content: Any) -> int:
        """Have an update wait; some ids are left out now and then. Return its id."""
        with self.lock:
            self.next_update += gap
            self.updates.append({"update_id": self.next_update, **content})
            return self.next_update

    def write(self, text: Any, to: dict[str, Any] | None = None, **more: Any) -> int:
        """Have a person write something, maybe in reply to a message."""
        message = self.posted(text, **more)
        return self.update(message=message | ({"reply_to_message": to} if to else {}))

    def page(self, number: int = -1) -> dict[str, Any]:
        """Return a message of the bot's, as a reply quotes it."""
        message: dict[str, Any] = self.sent[number]["message"]
        return message

    def replies(self) -> list[str]:
        return [one["text"] for one in self.sent if one["text"].startswith("recon: ")]


@dataclass
class PagerDuty(Service):
    """Events v2, and the incidents that its events make, as the REST API shows them."""

    incidents: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, handler: Handler, asked: dict[str, Any]) -> tuple[int, Any]:
        if handler.command == "POST":
            return self._event(asked)
        if handler.headers.get("Authorization") != f"Token token={REST_TOKEN}":
            return 401, {"error": {"message": "Unauthorized", "code": 2006}}
        found = [
            {name: value for name, value in one.items() if name != "alert_key"}
            for one in reversed(self.incidents)
            if one["alert_key"] == asked["incident_key"]
        ]
        return 200, {"incidents": found, "limit": int(asked["limit"]), "offset": 0, "more": False}

    def _event(self, event: dict[str, Any]) -> tuple[int, Any]:
        key = event["dedup_key"]
        standing = [
            one for one in self.incidents if one["alert_key"] == key and one["status"] != "resolved"
        ]
        if event["event_action"] == "resolve":
            for one in standing:
                self.change(one, "resolved", "Desk", "service_reference")
        elif not standing:
            made = {"id": f"Q{len(self.incidents)}", "alert_key": key, "incident_key": None}
            self.incidents.append(made)
            self.change(made, "triggered", "Desk", "service_reference")
        return 202, {"status": "success", "dedup_key": key}

    def change(
        self,
        incident: dict[str, Any],
        status: str,
        who: str = "Anna Abel",
        kind: str = "user_reference",
        at: datetime | None = None,
    ) -> None:
        """Have somebody change an incident's status."""
        agent = {"id": "PXPGF42", "type": kind, "summary": who}
        when = (at or self.now()).strftime("%Y-%m-%dT%H:%M:%SZ")
        given = [{"at": when, "acknowledger": agent}] if status == "acknowledged" else []
        incident.update(
            status=status,
            acknowledgements=given,
            last_status_change_at=when,
            last_status_change_by=agent,
        )


@contextmanager
def serving(service: S) -> Iterator[S]:
    """Serve until the block ends."""
    with listening(type("Bound", (Handler,), {"service": service})) as port:
        service.base = f"http://127.0.0.1:{port}"
        yield service


def says(status: int, said: Any, **headers: str) -> Fault:
    """Answer so, once."""
    return lambda handler: handler.reply(status, said, **headers)


def too_many(handler: Handler) -> None:
    said = "Too Many Requests: retry after 300"
    parameters = {"retry_after": 300}
    handler.reply(
        429, {"ok": False, "error_code": 429, "description": said, "parameters": parameters}
    )


def another_reader(handler: Handler) -> None:
    said = "Conflict: terminated by other getUpdates request"
    handler.reply(409, {"ok": False, "error_code": 409, "description": said})


def redirects(handler: Handler) -> None:
    handler.reply(302, {}, Location="/elsewhere")


def loses_the_reply(handler: Handler) -> None:
    handler.close_connection = True


def drips(handler: Handler) -> None:
    """Answer 200, and never end."""
    with suppress(OSError):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(600):
            handler.wfile.write(b" ")
            time.sleep(0.05)
