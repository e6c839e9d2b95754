"""What Telegram and PagerDuty say, read in the child process that asked: short, plain and checked.

What they hand on was written by anybody. Each reader takes an HTTP status and a body, and returns
JSON: `said`, a list with what there is, `problem`, why there is nothing (and then nothing is known:
no evidence is never an answer), and `pause_s`, how long to leave them alone. None has a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from recon.system.bounded_json import UnreadableJson, decoded

MOST_UPDATES = 10
"""Asked of Telegram at once, so that what is printed fits a pipe."""
MOST_ACTS = 50
"""Read of PagerDuty's answer about one key, so that what is printed fits a pipe."""
MOST_NUMBER = 2**53
"""Above which, either way, a number is no id: Telegram's have 52 bits at most."""
LONGEST_PAUSE_S = 3600
MAX_TEXT, MAX_NAME = 300, 64
LATEST = 2**33
"""Seconds since 1970, after which a time is no time."""
KEY = re.compile(r"(?:/ack|key:) (\S+)$")
"""What the last line of a page in Telegram ends in."""
WEBHOOK = (
    "Telegram gives what is written to this bot to a webhook and not to recon: remove that "
    "(deleteWebhook), or give recon a bot of its own"
)
SHARED = (
    "another program reads what is written to this bot (getUpdates): end it, or give recon a bot "
    "of its own"
)
Said = dict[str, Any]


def no_answer(problem: str, pause_s: int = 0) -> Said:
    """Return what is known where there was no answer: nothing, and why."""
    return {"problem": problem, "pause_s": pause_s, "said": []}


def updates(status: int, body: bytes) -> Said:
    """Read what getUpdates answers: of each update its id, and of a message what it says."""
    answer = _object(body)
    if problem := _refused(status, answer):
        return problem
    found = answer.get("result")
    if not isinstance(found, list):
        return no_answer("Telegram answered, and gave no list of updates")
    if len(found) > MOST_UPDATES:
        said = f"Telegram gave {len(found)} updates, of which {MOST_UPDATES} were asked for"
        return no_answer(said)
    return {"problem": "", "pause_s": 0, "said": [_update(each) for each in found if _id(each)]}


def webhook(status: int, body: bytes) -> Said:
    """Read what getWebhookInfo answers: a problem where one is set."""
    answer = _object(body)
    if problem := _refused(status, answer):
        return problem
    found = answer.get("result")
    if not isinstance(found, dict):
        return no_answer("Telegram answered, and did not say whether there is a webhook")
    return no_answer(WEBHOOK if found.get("url") else "")


def acknowledgements(status: int, body: bytes) -> Said:
    """Read what PagerDuty says of one key: when which person acknowledged, or resolved by hand.

    What a service did (an event, a timeout) is no person's answer.
    """
    refused: dict[int, str] = {
        HTTPStatus.UNAUTHORIZED: "PagerDuty refuses the api_token: make a read-only REST API key",
        HTTPStatus.FORBIDDEN: "PagerDuty lets the api_token read no incidents",
        HTTPStatus.TOO_MANY_REQUESTS: "PagerDuty wants to be left alone for a while (HTTP 429)",
    }
    found = _object(body).get("incidents")
    if status != HTTPStatus.OK:
        return no_answer(refused.get(status, f"PagerDuty answered HTTP {status}"))
    if not isinstance(found, list):
        return no_answer("PagerDuty answered, and gave no list of incidents")
    incidents = [one for one in found if isinstance(one, dict)]
    if not all(isinstance(one.get("incident_key"), str | None) for one in incidents):
        return no_answer("PagerDuty gave an incident whose incident_key is no text")
    acts = [act for one in incidents for act in _acts(one)]
    if len(acts) > MOST_ACTS:
        return no_answer(
            f"PagerDuty gave {len(acts)} acts, more than the {MOST_ACTS} that are read"
        )
    return {"problem": "", "pause_s": 0, "said": acts}


READERS: Mapping[str, Callable[[int, bytes], Said]] = {
    "updates": updates,
    "webhook": webhook,
    "acknowledgements": acknowledgements,
}


def _refused(status: int, answer: Mapping[str, Any]) -> Said | None:
    """Return why Telegram's answer is none, or None. Its own words are never handed on."""
    if status == HTTPStatus.OK and answer.get("ok") is True:
        return None
    if status == HTTPStatus.CONFLICT:
        return no_answer(WEBHOOK if "webhook" in str(answer.get("description")) else SHARED)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND}:
        return no_answer(f"Telegram does not know the bot (HTTP {status}): correct its token")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        asked = _number(_dict(answer.get("parameters")).get("retry_after"))
        pause_s = min(asked, LONGEST_PAUSE_S) if asked is not None else 0
        return no_answer(f"Telegram wants to be left alone for {pause_s} s (HTTP 429)", pause_s)
    return no_answer(f"Telegram did not say ok (HTTP {status})")


def _update(update: Mapping[str, Any]) -> Said:
    """Return an update's id, and of a new message with a text all that matters of it.

    An edited message, a button, a poll and whatever else there is says nothing.
    """
    said: Said = {"update": update["update_id"]}
    message = _dict(update.get("message") or update.get("channel_post"))
    chat, text = _dict(message.get("chat")), message.get("text")
    at = _time(message.get("date"))
    if _number(chat.get("id")) is None or not isinstance(text, str) or not at:
        return said
    before = _dict(message.get("reply_to_message"))
    return said | {
        "chat": chat["id"],
        "chat_name": _plain(chat.get("username"), MAX_NAME),
        "text": _plain(text, MAX_TEXT),
        "at": at,
        "to": _key(before.get("text")),
        "to_at": _time(before.get("date")) or at,
        "message": _number(message.get("message_id")),
        "thread": _number(message.get("message_thread_id"))
        if message.get("is_topic_message")
        else None,
        **_author(message, chat),
    }


def _author(message: Mapping[str, Any], chat: Mapping[str, Any]) -> Said:
    """Return who wrote a message, for people and by id; in a channel that may be only its name."""
    author = _dict(message.get("from"))
    found = _number(author.get("id"))
    number = chat["id"] if found is None else found
    if name := _plain(author.get("username"), MAX_NAME):
        who = f"@{name}"
    else:
        names = " ".join(
            _plain(author.get(f"{which}_name"), MAX_NAME) for which in ("first", "last")
        )
        shown = names.strip() or message.get("author_signature") or chat.get("title")
        who = f"{_plain(shown, MAX_NAME)} ({number})".strip()
    return {"who": who, "user": f"telegram {number}"}


def _key(text: object) -> str:
    """Return the key of the page that a text is, by its last line; nothing where it is none."""
    found = KEY.search(text.rpartition("\n")[2]) if isinstance(text, str) else None
    return _plain(found[1], MAX_TEXT) if found else ""


def _acts(incident: Mapping[str, Any]) -> list[Said]:
    """Return what people have done to an incident; of one moment the acknowledgement comes last."""
    status = incident.get("status")
    if status not in ("acknowledged", "resolved"):  # a tuple, as it may be of any type
        return []
    acts = [(incident.get("last_status_change_at"), incident.get("last_status_change_by"))]
    given = incident.get("acknowledgements")
    if status == "acknowledged" and isinstance(given, list):
        acts += [(one.get("at"), one.get("acknowledger")) for one in map(_dict, given)]
    found = []
    for when, by in acts:
        at, agent = _instant(when), _dict(by)
        who = _plain(agent.get("summary"), MAX_NAME)
        if at and who and str(agent.get("type", "user")).startswith("user"):
            act = {"at": at, "who": who, "act": status, "key": _incident_key(incident)}
            found.append(act | {"user": f"pagerduty {_plain(agent.get('id'), MAX_NAME)}".strip()})
    return found


def _incident_key(incident: Mapping[str, Any]) -> str | None:
    key = incident.get("incident_key")
    return None if key is None else _plain(key, MAX_TEXT)


def _object(body: bytes) -> Said:
    try:
        return _dict(decoded(body, has_whole_numbers=True))
    except UnreadableJson:
        return {}


def _dict(value: object) -> Said:
    return value if isinstance(value, dict) else {}


def _number(value: object) -> int | None:
    return value if type(value) is int and abs(value) < MOST_NUMBER else None


def _id(update: object) -> bool:
    return _number(_dict(update).get("update_id")) is not None


def _time(seconds: object) -> int:
    number = _number(seconds)
    return number if number is not None and 0 < number < LATEST else 0


def _instant(text: object) -> str:
    """Return an instant in the form that sorts as instants do, or nothing."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
        return at.astimezone(UTC).isoformat(timespec="microseconds") if at and at.tzinfo else ""
    except (ValueError, OverflowError):
        return ""


def _plain(text: object, most: int) -> str:
    """Return a name in one line of what can be printed: nothing that a terminal would obey."""
    if not isinstance(text, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:most]
