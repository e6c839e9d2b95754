"""What a page says: the numbers first, then what to type next. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from recon.core.page import FAILED, MAX_BODY, Page

BOT_HOLE = "bot "
"""Begins the subject of a bot that is unproven: its name and the session follow."""

MOST_NAMED = 3
"""Bots that a title names, and whose explanation is named as what to type next."""


def concerns(document: Mapping[str, Any], loud: Mapping[str, str]) -> dict[str, str]:
    """Return what a run has to page of, each with its account: the `loud` breaks, and every hole.

    A hole in the evidence is its session's own. Where an account has one, its bots' are the same.
    """
    day = document["as_of"]
    holes = {
        f"account {item['account']} {day}": item["account"]
        for item in document["accounts"]
        if item["status"] != "proven"
    }
    bots = {f"{BOT_HOLE}{bot['bot']} {day}": bot["account"] for bot in _unproven(document)}
    return {**loud, **holes, **bots}


def write_page(
    document: Mapping[str, Any], config_path: str, known: Collection[str] = ()
) -> tuple[str, str] | None:
    """Return title and body of the one page that a run sends, or None where there is no need.

    There is none where all agreed, or nothing is amiss but `known` bots' breaks, each of them
    acknowledged and no worse since. Diverged bots come first, then what is unproven. The body is
    clipped to `MAX_BODY`, its end first: the numbers stand at the top.
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
        blocks.append(f"acknowledged, and no worse: {', '.join(sorted(known))}")
    blocks.append(_next(document, config_path))
    return title[:200], _clipped("\n\n".join(blocks))


def failed(what: str, why: str, config_path: str) -> Page:
    """Return the page of a night that ended before it had told anything, or of what it left undone.

    One incident, however often it fails, until a night has run again.
    """
    config = shlex.quote(config_path)
    body = f"{why}\n\nNext:\n  recon check --config {config}\n  recon run --config {config}"
    return Page(FAILED, f"recon: {what}"[:200], _clipped(body), "critical")


def runs_again() -> Page:
    """Return the end of what `failed` told."""
    return Page(
        FAILED, "recon: the night RUNS AGAIN", "it has published", "critical", resolves=True
    )


def _unproven(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the bots that are unproven for a reason of their own, and not their account's."""
    return [
        bot
        for bot in document["bots"]
        if bot["status"] == "unproven"
        and not (
            bot["reasons"]
            and all(each.startswith(f"its account {bot['account']} is ") for each in bot["reasons"])
        )
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
    return "\n".join([*lines, f"because: {causes_in_words(bot['window']['causes'])}"])


def causes_in_words(causes: Sequence[Mapping[str, Any]]) -> str:
    """Return the causes of a divergence in one line, the largest first."""
    parts = [
        f"{row['cause']} {row['amount']}"
        + (f" ({row['trades']} trade{'s'[: row['trades'] != 1]})" if row["trades"] else "")
        for row in causes
        if row["amount"] != "0"
    ]
    return ", ".join(parts) or "no cause is known"


def _signed_off(bot: Mapping[str, Any], span: str) -> list[str]:
    signed = bot.get("signed_off")
    if signed is None or span != "window":
        return []
    return [
        f"  of it {signed['amount']} signed off as of {signed['as_of']}, {signed['beyond']} not"
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
    note = "\n… (clipped; the whole is in the report)"
    return body[: MAX_BODY - len(note)] + note
