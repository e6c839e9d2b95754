"""Telegram: messages through the Bot API; replies in the chats that the channels name.

Telegram may answer HTTP 200 with `"ok": false`, so a receipt is `"ok": true`. A bot has one queue
of updates for all its chats, and one reader. Channels of one bot therefore share one reply source.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, Self

from recon.control.reply_cursors import Acknowledgement, Cursor
from recon.core.page import Message
from recon.paging.reply_parsers import (
    MAX_NAME,
    MAX_TEXT,
    as_line,
    as_number,
    as_object,
    as_unix_time,
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

API = "https://api.telegram.org"
MESSAGE_UNITS = 4096
"""UTF-16 code units of the longest message."""
CONFIRMATION_UNITS = 600
MOST_UPDATES = 10
"""Updates of one request: what the child process prints of them fits a pipe."""
CURSOR_VALID_FOR = timedelta(days=6)
"""After a week without updates Telegram may number the next one from anywhere."""
LONGEST_PAUSE_S = 3600
ACK = re.compile(r"/?ack(?:ed|nowledged?)?(?:@\w+)?[:,.!]?(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)
KEY = re.compile(r"(?:/ack|key:) (\S+)$")
"""The end of a page's last line: the incident's key."""
WEBHOOK = (
    "Telegram gives what is written to this bot to a webhook and not to recon: remove that "
    "(deleteWebhook), or give recon a bot of its own"
)
SHARED = (
    "another program reads what is written to this bot (getUpdates): end it, or give recon a bot "
    "of its own"
)


class Telegram(HttpService):
    """A bot and the chats that it writes to."""

    name = "telegram"
    title = "Telegram"
    accepts_base_url = True

    @classmethod
    def costs_booked(cls, _url: str, plugin: Any) -> bool:
        """Return whether apprise reads the URL as one of Telegram's: `tgram://`."""
        return type(plugin).__name__ == "NotifyTelegram"

    def problem(self) -> str:
        """Refuse a URL without a chat."""
        return "" if self.plugin.targets else "tgram://…: names no chat: write tgram://TOKEN/CHAT"

    def requests(self, message: Message) -> list[Request]:
        """Send the message to each chat. The last line has the key, by which a reply is matched."""
        how = "key:" if message.resolves else 'Reply "ack" to acknowledge, or write /ack'
        last = f"\n\n{how} {message.key}"
        text = clipped(f"{message.title}\n\n{message.body}", MESSAGE_UNITS - len(last)) + last
        found = []
        for chat, thread in self.plugin.targets:
            topic = thread or self.plugin.topic
            payload = {
                "chat_id": chat,
                "text": text,
                "disable_notification": bool(self.plugin.silent),
                "disable_web_page_preview": True,
                **({"message_thread_id": topic} if topic else {}),
            }
            found.append(self.call("sendMessage", payload))
        return found

    @classmethod
    def receipt_error(cls, _request: Request, status: int, body: bytes) -> str:
        """Accept `"ok": true`."""
        is_ok = status == HTTPStatus.OK and json_object(body).get("ok") is True
        return "" if is_ok else f"Telegram did not say ok (HTTP {status})"

    def reply_sources(
        self, _recipient: str, name: str, _incidents: Collection[str]
    ) -> list[ReplySource]:
        """Return the bot: one source for all incidents."""
        chats = (chat for chat, _ in self.plugin.targets)
        folded = (chat.lower() if isinstance(chat, str) else chat for chat in chats)
        return [TelegramBot(self, name, frozenset(folded))]

    @classmethod
    def read_replies(cls, status: int, body: bytes) -> Reading:
        """Read the answer to getUpdates: the id of each update, and the content of messages."""
        answer = json_object(body)
        if (refusal := _refusal(status, answer)) is not None:
            return refusal
        found = answer.get("result")
        if not isinstance(found, list):
            return Reading([], "Telegram answered, and gave no list of updates")
        if len(found) > MOST_UPDATES:
            return Reading(
                [], f"Telegram gave {len(found)} updates, of which {MOST_UPDATES} were asked for"
            )
        updates = [
            one for one in map(as_object, found) if as_number(one.get("update_id")) is not None
        ]
        return Reading([_update(one) for one in updates])

    @classmethod
    def read_check(cls, status: int, body: bytes) -> Reading:
        """Read the answer to getWebhookInfo: a webhook is a problem."""
        answer = json_object(body)
        if (refusal := _refusal(status, answer)) is not None:
            return refusal
        found = answer.get("result")
        if not isinstance(found, dict):
            return Reading([], "Telegram answered, and did not say whether there is a webhook")
        return Reading([], WEBHOOK if found.get("url") else "")

    def call(self, method: str, payload: dict[str, Any]) -> Request:
        """Return a call of the Bot API by this channel's bot."""
        url = f"{self.base_url or API}/bot{self.plugin.bot_token}/{method}"
        return Request(url, "POST", {}, payload, self.plugin.verify_certificate)


class TelegramBot(NamedTuple):
    """The updates of a bot. Only messages in `chats`, which channels name, count as replies."""

    channel: Telegram
    name: str
    chats: frozenset[int | str]
    service: str = Telegram.name

    @property
    def key(self) -> str:
        """The bot's public number, and a hash of its server unless that is Telegram's own."""
        number, base_url = self.channel.plugin.bot_token.partition(":")[0], self.channel.base_url
        server = hashlib.sha256(base_url.encode()).hexdigest()[:12] if base_url else ""
        return f"telegram/{number}" + (f"@{server}" if server else "")

    @property
    def group(self) -> str:
        """The bot itself."""
        return self.key

    def merged(self, other: TelegramBot) -> Self:
        """Return the bot with the chats of both channels."""
        return self._replace(chats=self.chats | other.chats)

    def request(self, cursor: Cursor, at: datetime) -> Request:
        """Ask for the updates behind the cursor. Telegram forgets the earlier ones."""
        payload: dict[str, Any] = {
            "limit": MOST_UPDATES,
            "timeout": 0,
            "allowed_updates": ["message", "channel_post"],
        }
        if (first := _first_update(cursor, at)) is not None:
            payload["offset"] = first
        return self.channel.call("getUpdates", payload)

    def check_request(self) -> Request:
        """Ask for the webhook: getUpdates could take updates from the next reader."""
        return self.channel.call("getWebhookInfo", {})

    def replies(self, items: Iterable[Mapping[str, Any]], cursor: Cursor, at: datetime) -> Replies:
        """Return the acknowledgements in the bot's chats, in the order of the updates."""
        first = _first_update(cursor, at)
        by_id = {each["update"]: each for each in items}
        updates = [by_id[n] for n in sorted(by_id) if first is None or n >= first]
        found, strangers = [], []
        for each in updates:
            if "chat" not in each:
                continue
            if not {each["chat"], f"@{each['chat_name']}".lower()} & self.chats:
                strangers.append(str(each["chat"]))
            elif acknowledgement := _acknowledgement(each):
                found.append(Reply(acknowledgement, partial(self._confirmation, each)))
        after = str(updates[-1]["update"] + 1) if updates else None
        return Replies(found, after, tuple(strangers), len(updates) >= MOST_UPDATES)

    def _confirmation(self, reply: Mapping[str, Any], text: str) -> Request:
        """Return the request that answers a reply in its chat."""
        payload: dict[str, Any] = {
            "chat_id": reply["chat"],
            "text": clipped(text, CONFIRMATION_UNITS),
            "disable_web_page_preview": True,
        }
        if reply["message"] is not None:
            target = {"message_id": reply["message"], "allow_sending_without_reply": True}
            payload["reply_parameters"] = target
        if reply["thread"] is not None:
            payload["message_thread_id"] = reply["thread"]
        return self.channel.call("sendMessage", payload)


def _first_update(cursor: Cursor, at: datetime) -> int | None:
    """Return the first update behind the cursor, while Telegram still counts on from it."""
    if cursor.value is None or cursor.at is None or at - cursor.at > CURSOR_VALID_FOR:
        return None
    return int(cursor.value)


def _acknowledgement(message: Mapping[str, Any]) -> Acknowledgement | None:
    """Return what a message acknowledges: the page that it replies to, or the key that it names.

    The text after `ack`, or after the key, is the note.
    """
    found = ACK.fullmatch(message["text"])
    if found is None:
        return None
    rest, key, seen = (found[1] or "").strip(), message["to"], message["to_at"]
    if not key:
        key, _, rest = rest.partition(" ")
        seen = message["at"]
    note = rest.strip() or "acknowledged in Telegram"
    seen_at = datetime.fromtimestamp(seen, UTC)
    return Acknowledgement(key, message["who"], message["user"], note, seen_at)


def _refusal(status: int, answer: Mapping[str, Any]) -> Reading | None:
    """Return the problem of an answer that is not ok, or None. Quotes nothing of the answer."""
    if status == HTTPStatus.OK and answer.get("ok") is True:
        return None
    if status == HTTPStatus.CONFLICT:
        return Reading([], WEBHOOK if "webhook" in str(answer.get("description")) else SHARED)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND}:
        return Reading([], f"Telegram does not know the bot (HTTP {status}): correct its token")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        parameters = as_object(answer.get("parameters"))
        pause_s = min(max(as_number(parameters.get("retry_after")) or 0, 0), LONGEST_PAUSE_S)
        return Reading([], f"Telegram wants to be left alone for {pause_s} s (HTTP 429)", pause_s)
    return Reading([], f"Telegram did not say ok (HTTP {status})")


def _update(update: Mapping[str, Any]) -> dict[str, Any]:
    """Return an update's id, and for a new message with a text the fields that a reply needs.

    An edited message, a button or a poll is no reply.
    """
    found: dict[str, Any] = {"update": update["update_id"]}
    message = as_object(update.get("message") or update.get("channel_post"))
    chat, text = as_object(message.get("chat")), message.get("text")
    at = as_unix_time(message.get("date"))
    if as_number(chat.get("id")) is None or not isinstance(text, str) or not at:
        return found
    page = as_object(message.get("reply_to_message"))
    return found | {
        "chat": chat["id"],
        "chat_name": as_line(chat.get("username"), MAX_NAME),
        "text": as_line(text, MAX_TEXT),
        "at": at,
        "to": _key_of_page(page.get("text")),
        "to_at": as_unix_time(page.get("date")) or at,
        "message": as_number(message.get("message_id")),
        "thread": as_number(message.get("message_thread_id"))
        if message.get("is_topic_message")
        else None,
        **_author(message, chat),
    }


def _author(message: Mapping[str, Any], chat: Mapping[str, Any]) -> dict[str, str]:
    """Return a message's author, for people and by id. A channel post may have only a signature."""
    author = as_object(message.get("from"))
    found = as_number(author.get("id"))
    number = chat["id"] if found is None else found
    if name := as_line(author.get("username"), MAX_NAME):
        who = f"@{name}"
    else:
        names = " ".join(
            as_line(author.get(f"{which}_name"), MAX_NAME) for which in ("first", "last")
        )
        shown = names.strip() or message.get("author_signature") or chat.get("title")
        who = f"{as_line(shown, MAX_NAME)} ({number})".strip()
    return {"who": who, "user": f"telegram {number}"}


def _key_of_page(text: object) -> str:
    """Return the incident's key in the last line of a page; empty where the text is no page."""
    found = KEY.search(text.rpartition("\n")[2]) if isinstance(text, str) else None
    return as_line(found[1], MAX_TEXT) if found else ""
