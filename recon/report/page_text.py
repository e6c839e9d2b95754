"""The text of a run's page: the numbers first, then the commands to type next. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from recon.core.page import FAILED, MAX_BODY, Page

UNPROVEN_BOT = "bot "
"""The beginning of the subject of an unproven bot; its id and the session follow."""

MOST_NAMED = 3
"""The most bots that a title names, and that get an explain command."""


def subjects_to_page(document: Mapping[str, Any], open_breaks: Mapping[str, str]) -> dict[str, str]:
    """Return the subjects that a run pages, each with its account.

    A subject is an open break or a gap in the evidence of the session: an account that is not
    proven, or a bot that is unproven for a reason of its own.
    """
    session = document["as_of"]
    accounts = {
        f"account {item['account']} {session}": item["account"]
        for item in document["accounts"]
        if item["status"] != "proven"
    }
    bots = {f"{UNPROVEN_BOT}{bot['bot']} {session}": bot["account"] for bot in _unproven(document)}
    return {**open_breaks, **accounts, **bots}


def bot_of_subject(subject: str) -> str | None:
    """Return the bot if the subject is an unproven bot; None for any other subject."""
    if not subject.startswith(UNPROVEN_BOT):
        return None
    return subject.removeprefix(UNPROVEN_BOT).rpartition(" ")[0]


def write_page(
    document: Mapping[str, Any], config_path: str, known: Collection[str] = ()
) -> tuple[str, str] | None:
    """Return title and body of a run's page, or None if there is nothing to page.

    There is nothing to page if all bots agreed, or if only `known` bots diverge. All breaks of a
    known bot are acknowledged and no worse since. Diverged bots come before unproven accounts and
    bots. A body longer than `MAX_BODY` is clipped at its end.
    """
    if document["status"] == "agreed":
        return None
    diverged = [
        bot for bot in document["bots"] if bot["status"] == "diverged" and bot["bot"] not in known
    ]
    unproven = _unproven(document)
    accounts = [item for item in document["accounts"] if item["status"] != "proven"]
    if not (diverged or unproven or accounts):
        return None
    currencies = {item["account"]: item["currency"] for item in document["accounts"]}
    names = (
        [bot["bot"] for bot in diverged]
        or [item["account"] for item in accounts]
        or [bot["bot"] for bot in unproven]
    )
    status = "diverged" if diverged else "unproven"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    title = f"recon {document['as_of']}: {status.upper()} {', '.join(names[:MOST_NAMED])}{more}"
    blocks = [_diverged(bot, currencies[bot["account"]]) for bot in diverged]
    blocks += [_account(item) for item in accounts]
    blocks += [f"{bot['bot']}: UNPROVEN: {'; '.join(bot['reasons'])}" for bot in unproven]
    if known:
        blocks.append(f"acknowledged and no worse: {', '.join(sorted(known))}")
    blocks.append(_next(document, config_path))
    return title[:200], _clipped("\n\n".join(blocks))


def failed(what: str, reason: str, config_path: str) -> Page:
    """Return the page of a run that failed or left work undone.

    All such runs are one incident until a run succeeds.
    """
    config = shlex.quote(config_path)
    body = f"{reason}\n\nNext:\n  recon check --config {config}\n  recon run --config {config}"
    return Page(FAILED, f"recon: {what}"[:200], _clipped(body), "critical")


def runs_again() -> Page:
    """Return the page that ends the incident of `failed`."""
    return Page(
        FAILED,
        "recon: RUNNING AGAIN",
        "the last run has published its report",
        "critical",
        resolves=True,
    )


def _unproven(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the bots that are unproven for a reason of their own, beyond their account's."""
    return [
        bot
        for bot in document["bots"]
        if bot["status"] == "unproven" and not bot.get("unproven_by_account", False)
    ]


def _diverged(bot: Mapping[str, Any], currency: str) -> str:
    lines = [f"{bot['bot']} ({bot['account']}) DIVERGED"]
    for span in ("window", "session"):
        part = bot[span]
        broker, pct = part["broker"], part["divergence_pct"]
        share = "" if pct is None else f" ({pct}%)"
        lines += [
            f"{span}: claimed {part['claimed']} {currency}, broker net {broker['net']}",
            f"  divergence {part['divergence']}{share}",
            *_signed_off(bot, span),
            "  "
            + ", ".join(f"{name} {broker[name]}" for name in ("gross", "fees", "funding", "other"))
            + f": net {broker['net']}",
        ]
    return "\n".join([*lines, f"causes: {causes_in_words(bot['window']['causes'])}"])


def causes_in_words(causes: Sequence[Mapping[str, Any]]) -> str:
    """Return the causes of a divergence in one line, in their order in the document."""
    parts = [
        f"{row['cause']} {row['amount']}"
        + (f" ({row['trades']} trade{'s'[: row['trades'] != 1]})" if row["trades"] else "")
        for row in causes
        if row["amount"] != "0"
    ]
    return ", ".join(parts) or "no known cause"


def _signed_off(bot: Mapping[str, Any], span: str) -> list[str]:
    signed = bot.get("signed_off")
    if signed is None or span != "window":
        return []
    return [
        f"  signed off as of {signed['as_of']}: {signed['amount']}, beyond it: {signed['beyond']}"
    ]


def _account(item: Mapping[str, Any]) -> str:
    reasons = "\n".join(f"  {reason}" for reason in item["reasons"])
    return f"account {item['account']}: {item['status'].upper()}\n{reasons}"


def _next(document: Mapping[str, Any], config_path: str) -> str:
    config = shlex.quote(config_path)
    return (
        f"as of {document['as_of']}, run {document['run']}. Next:\n"
        + "".join(
            f"  recon explain {shlex.quote(bot['bot'])} --config {config} "
            f"--as-of {document['as_of']}\n"
            for bot in [one for one in document["bots"] if one["status"] == "diverged"][:MOST_NAMED]
        )
        + f"  recon run --config {config} --as-of {document['as_of']} --no-fetch --no-page\n"
        f"  recon breaks --config {config}\n"
        f"  recon check --config {config}"
    )


def _clipped(body: str) -> str:
    if len(body) <= MAX_BODY:
        return body
    note = "\n… (clipped: read the report for all of it)"
    return body[: MAX_BODY - len(note)] + note
