"""Print documents, breaks, checks and other results for people in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recon.core.numbers import rounded
from recon.core.records import CheckItem
from recon.outside_text import shown_document, shown_line
from recon.report.page_text import causes_in_words
from recon.system.output import console as clean_console

COLOURS = {
    "agreed": "green",
    "proven": "green",
    "closed": "green",
    "complete": "green",
    "delivered": "green",
    "diverged": "bold red",
    "failed": "bold red",
    "broken": "bold red",
    "unproven": "yellow",
    "partial": "yellow",
    "absent": "dim",
    "minor": "yellow",
    "major": "red",
    "critical": "bold red",
    "open": "bold",
    "cleared": "green",
    "resolved": "green",
}
UNKNOWN = "?"
SPANS = ("window", "session")
SMALL = Decimal("0.01")
WIDE = 90
"""The terminal width from which every figure fits in full."""
BAR = 40
"""The length of a bar for 100 %, in columns."""


def print_document(
    document: Mapping[str, Any], *, verbosity: int = 0, console: Console | None = None
) -> None:
    """Print one run's document: bots, accounts, reasons, causes, breaks and pages."""
    document = shown_document(document)
    out = console or clean_console()
    out.print(f"[bold]as of {document['as_of']}[/]  {_status(document['status'])}")
    out.print(_bots(document, out.width))
    out.print(_accounts(document))
    for account in document["accounts"]:
        out.print(_evidence(account), highlight=False)
    for item in (*document["accounts"], *document["bots"]):
        name = item.get("bot") or item["account"]
        for reason in item["reasons"]:
            out.print(f"{escape(name)}: {escape(reason)}", highlight=False, soft_wrap=True)
    for line in _summary_lines(document):
        out.print(line, highlight=False, soft_wrap=True)
    for page in document["pages"]:
        out.print(f"page {page['page']}: {_status(page['status'])}", highlight=False)
    if verbosity:
        out.print(f"run {document['run']}", highlight=False)
        if end := document.get("journal"):
            out.print(f"journal: {end['entries']} entries, head {end['head']}", highlight=False)


def print_breaks(shown: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print breaks, two lines each, with the last action on each: by whom, when and why."""
    shown = shown_document(shown)
    out = console or clean_console()
    if not shown:
        out.print("no breaks")
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("break", no_wrap=True)
    table.add_column("bot, account", overflow="fold")
    table.add_column("kind", no_wrap=True)
    table.add_column("divergence", justify="right", overflow="fold")
    table.add_column("first seen, age", overflow="fold")
    table.add_column("status", overflow="fold")
    table.add_column("who, when, why", overflow="fold")
    for item in shown:
        table.add_row(
            item["break"],
            f"{escape(item['bot'])}\n{escape(item['account'])}",
            f"{item['kind']}\n{item['session'] or ''}",
            f"{_number(item['divergence'])}\n{_status(item['severity'] or UNKNOWN)}",
            f"{item['first_seen']}\n{_age(item)}",
            _standing(item),
            escape(_action(item["last_action"])),
        )
    out.print(table)
    for line in assigned_lines(one for item in shown for one in item.get("assignments", ())):
        out.print(line, highlight=False, soft_wrap=True)


def _action(action: Mapping[str, Any] | None) -> str:
    return f"{action['by']}, {_minute(action['at'])}\n{action['reason']}" if action else ""


def assigned_lines(assignments: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one line for each assignment: the order, its owner, by whom, when and why."""
    lines = [
        f"{'order ' + one['order'] if 'order' in one else 'fill ' + one['fill']}: assigned to "
        f"{one['bot'] or 'nobody'} by {one['by']}, {_minute(one['at'])}: {one['reason']}"
        for one in assignments
    ]
    yield from map(escape, dict.fromkeys(lines))


def print_unowned(fills: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print unowned fills, with the last assignment of each order: by whom, when and why."""
    fills = shown_document(fills)
    out = console or clean_console()
    if not fills:
        out.print("no unowned fills")
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("at", "account, instrument", "fill", "order, tag", "assigned to, by, why"):
        table.add_column(name, overflow="fold")
    for one in fills:
        assignments = one["assignments"]
        table.add_row(
            one["at"].replace("T", "\n"),
            escape(f"{one['account']}\n{one['instrument']}"),
            f"{one['side']} {one['qty']}\nat {one['price'] or UNKNOWN}",
            escape(f"{one['order'] or 'fill ' + one['fill']}\n{one['tag'] or ''}"),
            escape(_assigned(assignments[-1])) if assignments else "",
        )
    out.print(table)


def _assigned(one: Mapping[str, Any]) -> str:
    return f"{one['bot'] or 'nobody'}, by {one['by']}, {_minute(one['at'])}\n{one['reason']}"


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")


def print_audit(audit: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the result of checking the journal's hashes, its length and its head."""
    audit = shown_document(audit)
    out = console or clean_console()
    end = f"{audit['entries']} entries, head {audit['head']}"
    if audit["ok"]:
        out.print(f"[green]ok  [/] the journal: {end}", highlight=False, soft_wrap=True)
        return
    for problem in audit["problems"]:
        out.print(f"[bold red]FAIL[/] {escape(problem)}", highlight=False, soft_wrap=True)
    out.print(f"     sound: {end}", highlight=False, soft_wrap=True)


def print_watch(document: Mapping[str, Any], console: Console | None = None) -> None:
    """Print each watched bot and each deadline, with incidents, and the pages."""
    document = shown_document(document)
    out = console or clean_console()
    styles = {"alive": "green", "incident": "bold red", "unknown": "yellow"}
    for bot in document["bots"]:
        text = bot["why"] or f"seq {bot['seq']} of {bot['at']:%Y-%m-%d %H:%M:%S} UTC"
        kind = f"{bot['kind']}: " if bot["kind"] else ""
        out.print(
            f"[{styles[bot['status']]}]{bot['status']:<8}[/] {escape(bot['bot'])}: {kind}"
            f"{escape(text)}",
            highlight=False,
            soft_wrap=True,
        )
    for one in document["deadlines"]:
        if one["session"] is not None:
            mark = "[bold red]missed  [/]" if one["is_missed"] else "[green]met     [/]"
            out.print(
                f"{mark} {escape(one['account'])}: session {one['session']} is needed by "
                f"{one['needed_by']:%Y-%m-%d %H:%M} UTC, published is {one['published'] or 'none'}",
                highlight=False,
                soft_wrap=True,
            )
    for page in document["pages"]:
        out.print(
            f"{'page':<8} {page['status']}: {escape(page['title'])}",
            highlight=False,
            soft_wrap=True,
        )


def print_stages(seconds: Mapping[str, float], console: Console | None = None) -> None:
    """Print the time of each stage of a run on stderr, in order, with shares as bars."""
    out = console or clean_console(err=True)
    total = sum(seconds.values())
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=True)
    table.add_column("stage", footer="total")
    table.add_column("seconds", justify="right", footer=f"{total:.2f}")
    table.add_column("share", justify="right")
    table.add_column("")
    for name, each in seconds.items():
        share = each / total if total else 0.0
        table.add_row(name, f"{each:.2f}", f"{share:.0%}", "█" * round(share * BAR))
    out.print(table)


def print_drill(channels: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print the result of a drill: each channel, its receipt or error, and the seconds."""
    channels = shown_document(channels)
    out = console or clean_console()
    for one in channels:
        is_taken = one["status"] == "delivered"
        mark = "[green]ok  [/]" if is_taken else "[bold red]FAIL[/]"
        result = "receipt" if is_taken else escape(one["reason"])
        line = f"{mark} {escape(one['channel'])}: {result} after {one['seconds']} s"
        out.print(line, highlight=False, soft_wrap=True)


def print_checks(
    items: Sequence[CheckItem], console: Console | None = None, *, options: str = ""
) -> None:
    """Print each check, with a remedy if it failed, and the command to type next.

    `options` are the options of that command.
    """
    out = console or clean_console()
    for item in items:
        mark = "[green]ok  [/]" if item.is_ok else "[bold red]FAIL[/]"
        out.print(f"{mark} {_literal(item.subject)}: {_literal(item.detail)}", highlight=False)
        for line in (item.remedy, *item.notes):
            if line:
                out.print(f"     {_literal(line)}", highlight=False)
    failed = sum(not item.is_ok for item in items)
    then = (
        f"correct them, then type  recon check{options}" if failed else f"type  recon run{options}"
    )
    summary = f"{len(items) - failed} of {len(items)} checks passed, {failed} failed: {then}"
    out.print(escape(summary), highlight=False, soft_wrap=True)


def print_filled(filled: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print the evidence that a backfill read for each account, and the gaps that remain."""
    filled = shown_document(filled)
    out = console or clean_console()
    for one in filled:
        out.print(
            f"{escape(one['account'])}: {one['read']} of {one['pieces']} pieces read now, "
            f"{one['known']} were known; {one['rows']:,} rows",
            highlight=False,
        )
        for problem in one["problems"]:
            out.print(f"     {escape(problem)}", highlight=False, soft_wrap=True)


def _literal(text: str) -> str:
    """Return text from outside as markup that shows it as it is, in one line."""
    return escape(shown_line(text))


def _bots(document: Mapping[str, Any], width: int) -> Table:
    """Return a table of bots, two rows each: window and session. Figures fold but are never cut."""
    spans = [bot[span]["broker"] for bot in document["bots"] for span in SPANS]
    parts = ["gross", "fees", "funding"]
    if any(broker["other"] != "0" for broker in spans):
        parts.append("other")
    is_wide = width >= WIDE
    share = ("%",) if is_wide else ()
    table = _table("Bots: claimed PnL beside broker PnL")
    table.add_column("bot", overflow="fold")
    table.add_column("", no_wrap=True)
    for name in ("claimed", *parts, "net", "divergence" if is_wide else "diverges by", *share):
        table.add_column(name, justify="right", overflow="fold")
    for bot in document["bots"]:
        for span in SPANS:
            part = bot[span]
            table.add_row(
                escape(bot["bot"]) if span == "window" else _status(bot["status"]),
                span,
                _number(part["claimed"]),
                *(_number(part["broker"][name]) for name in (*parts, "net")),
                _number(part["divergence"]),
                *(part["divergence_pct"] or "" for _ in share),
            )
    return table


def _accounts(document: Mapping[str, Any]) -> Table:
    table = _table("Accounts: broker PnL")
    table.add_column("account", overflow="fold")
    table.add_column("")
    for name in ("net", "open_costs", "unrealised", "unowned", "netting"):
        table.add_column(name, justify="right", overflow="fold")
    for item in document["accounts"]:
        table.add_row(
            escape(item["account"]),
            _status(item["status"]),
            *(_number(item["window"][name]) for name in ("net", "open_costs", "unrealised")),
            _number(item["unowned"]["net"]),
            _number(item["netting"]),
        )
    return table


def _evidence(account: Mapping[str, Any]) -> str:
    """Return a line with an account's coverage, proofs and proven window."""
    proofs = {name: proof["status"] for name, proof in account["proofs"].items()}
    return (
        f"{escape(account['account'])}: evidence: {_grouped(account['coverage'])}; "
        f"proofs: {_grouped(proofs)}; {escape(window_text(account['proven_window']))}"
    )


def window_text(window: Mapping[str, str] | None) -> str:
    """Return the interval over which an account's evidence is complete, in words."""
    if window is None:
        return "no complete interval yet"
    start, end = (text.removesuffix("Z").replace("T", " ")[:16] for text in window.values())
    return f"complete from {start} to {end} UTC"


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )


def _grouped(statuses: Mapping[str, str]) -> str:
    """Return names grouped by status: "fills, ledger complete, positions partial"."""
    by_status: dict[str, list[str]] = {}
    for name, status in statuses.items():
        by_status.setdefault(status, []).append(name)
    return ", ".join(f"{', '.join(names)} {_status(s)}" for s, names in by_status.items())


def _summary_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of causes, restatements, sign-offs and breaks."""
    for bot in document["bots"]:
        if bot["status"] == "diverged":
            yield f"{escape(bot['bot'])}: {escape(causes_in_words(bot['window']['causes']))}"
    for item in document["restatements"]:
        whose = item["bot"] or item["account"]
        yield (
            f"restated: {escape(whose)} {item['session']}: net {_number(item['from'])} → "
            f"{_number(item['to'])}: {escape('; '.join(item['reason']))}"
        )
    for bot in document["bots"]:
        if signed := bot.get("signed_off"):
            yield (
                f"signed off: {escape(bot['bot'])} {_number(signed['amount'])} as of "
                f"{signed['as_of']} by {escape(signed['by'])}: {escape(signed['reason'])}; "
                f"{_number(signed['beyond'])} beyond it"
            )
    yield from map(_break, document["breaks"])


def _break(item: Mapping[str, Any]) -> str:
    """Return a line with the state of a break. Breaks of old releases have no severity."""
    known = [_status(item["severity"])] if item.get("severity") else []
    return (
        f"break {item['break']}: {escape(item['bot'])} {item['kind']} "
        f"{_number(item['divergence'])}, "
        f"{', '.join([_age(item), *known, _standing(item)])}"
    )


def _age(item: Mapping[str, Any]) -> str:
    return f"{item['age_sessions']} sessions old" if item["age_sessions"] else "new"


def _standing(item: Mapping[str, Any]) -> str:
    again = " (reopened)" if item.get("reopened") and item["status"] == "open" else ""
    return f"{_status(item['status'])}{again}"


def _status(status: str) -> str:
    colour = COLOURS.get(status, "")
    return f"[{colour}]{status}[/]" if colour else status


def _number(value: str | None) -> str:
    """Return a number with two decimal places, or eight if it is small; the report has all."""
    if value is None:
        return UNKNOWN
    number = Decimal(value)
    places = 2 if abs(number) >= SMALL or not number else 8
    return f"{rounded(number, places):,f}"
