"""Places where pages are answered: what each is asked, and which answers there are in what it says.

A Telegram bot is read as a whole, for all channels that it serves; at PagerDuty each incident is
asked for by its key. Only what was said since the place's mark counts, and only where it may.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode

from recon.control.reply_cursors import Answer, Mark
from recon.paging.notifiers import Channel, Request, clipped, telegram_request
from recon.paging.reply_parsers import MOST_UPDATES

PAGERDUTY_API = {"us": "https://api.pagerduty.com", "eu": "https://api.eu.pagerduty.com"}
MARK_HOLDS = timedelta(days=6)
"""Telegram keeps what is not read for a day; after a week of silence it may count from anywhere."""
REPLY_UNITS = 600
ACK = re.compile(r"/?ack(?:ed|nowledged?)?(?:@\w+)?[:,.!]?(?:\s+(.*))?", re.IGNORECASE | re.DOTALL)


class Said(NamedTuple):
    """An answer, and what sends a word about it back to where it was given, if anything does."""

    answer: Answer
    reply: Callable[[str], Request] | None = None


class Heard(NamedTuple):
    """What there is to deal with: answers, and the mark behind them.

    `strangers` are the chats that are not configured and wrote all the same; `is_more` says that
    there may be more at once.
    """

    answers: list[Said]
    mark: str | None = None
    strangers: tuple[str, ...] = ()
    is_more: bool = False


class Place(Protocol):
    """One place that can be asked."""

    @property
    def key(self) -> str:
        """How the ledger knows it: no secret is in it."""

    @property
    def name(self) -> str:
        """How people know it: the masked URL of its channel."""

    @property
    def reader(self) -> str:
        """What reads its answers, by `answers.READERS`."""

    def question(self, mark: Mark, at: datetime) -> Request:
        """Return what to ask, behind a mark."""

    def heard(self, said: Iterable[Mapping[str, Any]], mark: Mark, at: datetime) -> Heard:
        """Return what of that is to be dealt with."""


class TelegramBot(NamedTuple):
    """A bot, whichever channels name it: `chats` are theirs, and nobody else's word counts."""

    channel: Channel
    chats: frozenset[int | str]
    reader: str = "updates"

    @property
    def key(self) -> str:
        """The bot's own number, which is no secret; and where, unless at Telegram."""
        number, base_url = self.channel.plugin.bot_token.partition(":")[0], self.channel.base_url
        where = hashlib.sha256(base_url.encode()).hexdigest()[:12] if base_url else ""
        return f"telegram/{number}" + (f"@{where}" if where else "")

    @property
    def name(self) -> str:
        """The masked URL of a channel that it serves."""
        return self.channel.name

    def question(self, mark: Mark, at: datetime) -> Request:
        """Ask for what came after the mark, and have Telegram forget what came before."""
        payload: dict[str, Any] = {
            "limit": MOST_UPDATES,
            "timeout": 0,
            "allowed_updates": ["message", "channel_post"],
        }
        if (first := _first(mark, at)) is not None:
            payload["offset"] = first
        return telegram_request(self.channel, "getUpdates", payload)

    def heard(self, said: Iterable[Mapping[str, Any]], mark: Mark, at: datetime) -> Heard:
        """Take out what people in the bot's chats have acknowledged, in its order."""
        first = _first(mark, at)
        fresh = {each["update"]: each for each in said}
        fresh = {n: fresh[n] for n in sorted(fresh) if first is None or n >= first}
        answers, strangers = [], []
        for each in fresh.values():
            if "chat" not in each:
                continue
            if not {each["chat"], f"@{each['chat_name']}".lower()} & self.chats:
                strangers.append(str(each["chat"]))
            elif answer := _answer(each):
                answers.append(Said(answer, partial(self._reply, each)))
        after = str(max(fresh) + 1) if fresh else None
        return Heard(answers, after, tuple(strangers), len(fresh) >= MOST_UPDATES)

    def _reply(self, to: Mapping[str, Any], text: str) -> Request:
        """Answer in the chat, to the message if it is still there."""
        payload: dict[str, Any] = {
            "chat_id": to["chat"],
            "text": clipped(text, REPLY_UNITS),
            "disable_web_page_preview": True,
        }
        if to["message"] is not None:
            reply = {"message_id": to["message"], "allow_sending_without_reply": True}
            payload["reply_parameters"] = reply
        if to["thread"] is not None:
            payload["message_thread_id"] = to["thread"]
        return telegram_request(self.channel, "sendMessage", payload)


class PagerDutyIncident(NamedTuple):
    """An incident of ours that a PagerDuty channel has taken: `outlet` is the channel's id."""

    channel: Channel
    outlet: str
    incident: str
    reader: str = "acknowledgements"

    @property
    def key(self) -> str:
        """The channel's id, which is no secret, and the incident's key."""
        return f"pagerduty/{self.outlet}/{self.incident}"

    @property
    def name(self) -> str:
        """The channel's masked URL."""
        return self.channel.name

    def question(self, _mark: Mark, _at: datetime) -> Request:
        """Ask for all incidents under the key, the newest first, however old."""
        plugin = self.channel.plugin
        asked = {
            "incident_key": self.incident,
            "date_range": "all",
            "sort_by": "created_at:desc",
            "limit": 10,
        }
        base = self.channel.base_url or PAGERDUTY_API[plugin.region_name]
        headers = {
            "Accept": "application/vnd.pagerduty+json;version=2",
            "Authorization": f"Token token={self.channel.api_token}",
        }
        url = f"{base}/incidents?{urlencode(asked)}"
        return Request(url, "GET", headers, None, "", plugin.verify_certificate)

    def heard(self, said: Iterable[Mapping[str, Any]], mark: Mark, _at: datetime) -> Heard:
        """Take the last thing that a person has done to it since."""
        acts = [
            each
            for each in said
            if each["key"] in {None, self.incident} and each["at"] > (mark.text or "")
        ]
        if not acts:
            return Heard([])
        last = max(acts, key=lambda each: str(each["at"]))
        answer = Answer(
            self.incident,
            last["who"],
            last["user"],
            f"{last['act']} at PagerDuty",
            datetime.fromisoformat(last["at"]),
        )
        return Heard([Said(answer)], last["at"])


def _first(mark: Mark, at: datetime) -> int | None:
    """Return the first update that has not been dealt with, as long as they count on from it."""
    if mark.text is None or mark.at is None or at - mark.at > MARK_HOLDS:
        return None
    return int(mark.text)


def _answer(said: Mapping[str, Any]) -> Answer | None:
    """Return what a message acknowledges, or None: the page that it replies to, or one by its key.

    What follows the word, or the key, is the note.
    """
    found = ACK.fullmatch(said["text"])
    if found is None:
        return None
    rest, key, seen = (found[1] or "").strip(), said["to"], said["to_at"]
    if not key:
        key, _, rest = rest.partition(" ")
        seen = said["at"]
    note = rest.strip() or "acknowledged in Telegram"
    return Answer(key, said["who"], said["user"], note, datetime.fromtimestamp(seen, UTC))
