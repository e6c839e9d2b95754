"""Print the waterfall of a divergence in a terminal: from the claim to the broker net."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recon.core.numbers import rounded
from recon.outside_text import shown_document
from recon.report.terminal import assigned_lines
from recon.system.output import console as clean_console

BAR = 36
"""The width of the chart in columns, from the smallest to the largest sum."""
MOST_ROWS = 8
"""The most causes without a trade that are printed."""


def print_explanation(explanation: Mapping[str, Any], console: Console | None = None) -> None:
    """Print a bot's causes as a waterfall, the probable errors, and the worst trades."""
    explanation = shown_document(explanation)
    out = console or clean_console()
    out.print(
        f"[bold]{escape(explanation['bot'])}[/] ({escape(explanation['account'])}), as of "
        f"{explanation['as_of']}, in {explanation['currency']}: {explanation['status']}",
        highlight=False,
    )
    for reason in explanation["reasons"]:
        out.print(escape(reason), highlight=False, soft_wrap=True)
    for line in assigned_lines(explanation["assignments"]):
        out.print(line, highlight=False, soft_wrap=True)
    if explanation["window"]["divergence"] is None:
        out.print("The claim or the broker net is unknown: there is no divergence to explain.")
        return
    out.print(_waterfall(explanation))
    out.print(
        "The causes add up to the divergence: claimed − broker net. Positive: the bot claims more.",
        soft_wrap=True,
    )
    for sentence in explanation["probably"]:
        out.print(f"Probably {escape(sentence)}.", soft_wrap=True)
    for trade in explanation["trades"]:
        _print_trade(out, trade)
    _print_without_trade(out, explanation)


def _waterfall(explanation: Mapping[str, Any]) -> Table:
    """Return a table from claim to broker net. Each cause's bar starts where the last bar ended.

    The claim less the amounts of all causes is the broker net.
    """
    claimed = Decimal(explanation["window"]["claimed"])
    amount = Decimal(explanation["window"]["divergence"])
    steps = [row for row in explanation["window"]["causes"] if row["amount"] != "0"]
    sums = [claimed]
    for row in steps:
        sums.append(sums[-1] - Decimal(row["amount"]))
    low, high = min(*sums, Decimal(0)), max(*sums, Decimal(0))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column("amount", justify="right")
    table.add_column("share", justify="right")
    table.add_column("trades", justify="right")
    table.add_column("")
    table.add_row("claimed", _money(claimed), "", "", _bar(Decimal(0), claimed, low, high))
    for row, before, after in zip(steps, sums, sums[1:], strict=False):
        moved = Decimal(row["amount"])
        share = f"{moved / amount:.1%}" if amount else ""
        bar = f"[{'red' if moved > 0 else 'green'}]{_bar(before, after, low, high)}[/]"
        name = f"[bold red]{row['cause']}[/]" if row["cause"] == "unexplained" else row["cause"]
        table.add_row(name, _money(moved, is_signed=True), share, str(row["trades"] or ""), bar)
    if not steps:
        table.add_row("no divergence", "0", "", "", "")
    net = claimed - amount
    table.add_row("broker net", _money(net), "", "", _bar(Decimal(0), net, low, high))
    return table


def _bar(start: Decimal, end: Decimal, low: Decimal, high: Decimal) -> str:
    """Return a bar from one sum to another, on the scale from the smallest to the largest."""
    width = high - low
    if not width:
        return ""
    left, right = sorted((start, end))
    first = int((left - low) / width * BAR)
    last = max(first + 1, round((right - low) / width * BAR))
    return " " * first + "█" * (last - first)


def _print_trade(out: Console, trade: Mapping[str, Any]) -> None:
    booked = trade["booked"]
    terms = ", ".join(
        f"{name} {booked[name]}"
        for name in ("side", "qty", "entry_price", "exit_price", "gross", "fee", "funding", "pnl")
        if booked[name] is not None
    )
    out.print(
        f"\n[bold]trade {escape(trade['trade'])}[/] {escape(booked['instrument'])}: divergence "
        f"{_money(Decimal(trade['amount']))}",
        highlight=False,
    )
    out.print(f"  booked: {escape(terms)}", highlight=False, soft_wrap=True)
    for row in trade["earlier"]:
        out.print(
            f"  an earlier run had it as closed {row['closed_at']}, qty {row['qty']}, "
            f"pnl {row['pnl']}",
            highlight=False,
        )
    for row in trade["causes"]:
        out.print(
            f"  {row['cause']} {_money(Decimal(row['amount']))}: {escape(row['says'])}",
            highlight=False,
            soft_wrap=True,
        )
    if not trade["fills"]:
        out.print("  the broker has no fill of this trade", highlight=False)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("at", "side", "qty", "price", "fee", "", "order", "matched by"):
        table.add_column(name, justify="right" if name in ("qty", "price", "fee") else "left")
    for fill in trade["fills"]:
        cells = (fill["at"], fill["side"], fill["qty"], fill["price"], fill["fee"])
        rest = (fill["fee_currency"], fill["order"] or "", fill["rule"])
        table.add_row(*(escape(str(cell)) for cell in (*cells, *rest)))
    out.print(table, highlight=False)


def _print_without_trade(out: Console, explanation: Mapping[str, Any]) -> None:
    rows = sorted(explanation["without_trade"], key=lambda row: -abs(Decimal(row["amount"])))
    if rows:
        out.print("\n[bold]In no trade of the bot[/]")
    for row in rows[:MOST_ROWS]:
        out.print(
            f"  {row['cause']} {_money(Decimal(row['amount']))} in session {row['session']}, "
            f"{escape(row['instrument'] or 'the account')}: {escape(row['says'])}",
            highlight=False,
            soft_wrap=True,
        )
    if len(rows) > MOST_ROWS:
        out.print(f"  … and {len(rows) - MOST_ROWS} more: --csv writes all of them")


def _money(value: Decimal, *, is_signed: bool = False) -> str:
    """Return an amount with two places, or with more if it would read as 0."""
    places = 2 if not value else max(2, 1 - value.adjusted())
    shown = rounded(value, places)
    return f"{shown:+,f}" if is_signed else f"{shown:,f}"
