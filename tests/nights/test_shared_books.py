"""Several bots that name one database: each is held to its own share of it, whatever changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from recon.config.settings import load
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_position import Side
from recon.fetch.plan import shared_databases
from tests.support.fleet import (
    BTC,
    ETH,
    OPENING,
    SOL,
    Desk,
    Row,
    Trader,
    account,
    figures,
    run,
    run_desks,
    serving,
    write_folder,
)

AT, HOUR = OPENING + timedelta(days=2), timedelta(hours=1)
MULTIPLIERS = {BTC: Decimal("0.01"), ETH: Decimal("0.1"), SOL: Decimal(1)}


def trip(book: OkxAccount, name: str, instrument: str, gain: int, tag: str = "") -> Row:
    """Trade ten contracts to and fro at the venue; return the row that books it right."""
    prices, orders = (1_000, 1_000 + gain), []
    day = AT + timedelta(days=len(book.fills.rows) // 2)
    sides: tuple[Side, Side] = ("buy", "sell")
    for place, (side, price) in enumerate(zip(sides, prices, strict=True)):
        orders.append(f"7{len(book.fills.rows):03}")
        book.trade(
            instrument,
            side,
            10,
            price,
            day + place * HOUR,
            fee=-1,
            ord_id=orders[-1],
            cl_ord_id=f"{tag}{orders[-1]}" if tag else "",
        )
    pnl = 10 * MULTIPLIERS[instrument] * gain - 2
    return {
        "trade_id": name,
        "instrument": instrument,
        "side": "long",
        "qty": "10",
        "pnl": str(pnl),
        "opened_at": f"{day:%Y-%m-%d %H:%M:%S}",
        "closed_at": f"{day + HOUR:%Y-%m-%d %H:%M:%S}",
        "entry_price": "1000",
        "exit_price": str(1_000 + gain),
        "order_ids": ",".join(orders),
    }


def sharing(rows: list[Row], *more: Trader, **first: Any) -> list[Trader]:
    """Return bots of which the first keeps the database, and the others spell it otherwise."""
    return [
        Trader(id="a", trades=rows, **first),
        *(
            replace(
                one, claims=None, mapping="whole", database="sqlite:///vaults/../vaults/a.sqlite"
            )
            for one in more
        ),
    ]


def claims(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {bot["bot"]: (bot["window"]["claimed"], bot["status"]) for bot in document["bots"]}


def test_a_claim_counts_what_a_bot_owns_or_has_orders_of(tmp_path: Path) -> None:
    book = account()
    rows = [trip(book, "1", BTC, 50), trip(book, "2", ETH, 70), trip(book, "3", BTC, 90, "fast")]
    bots = sharing(
        rows,
        Trader(id="b", instruments=(ETH,)),
        Trader(id="c", instruments=(), order_tag="fast"),
        instruments=(BTC,),
    )
    with serving(book) as server:
        document = run(tmp_path, server, bots=bots)
        assert claims(document) == {
            "a": ("3.00", "agreed"),
            "b": ("68.00", "agreed"),
            "c": ("7.00", "agreed"),
        }
        # What is wrong with one bot's share is that bot's alone.
        rows[1]["pnl"] = "70"
        rows[2] |= {"order_ids": "", "pnl": "8"}
        document = run(tmp_path, server, bots=bots)
    found = claims(document)
    assert found["b"] == ("70.00", "diverged")
    # Two of them trade BTC, and nothing says whose trade 3 is: it counts for neither.
    assert found["a"] == ("3.00", "unproven")
    assert found["c"] == ("0", "unproven")


def test_a_trade_of_none_of_them_is_named_and_no_claim_is_known(tmp_path: Path) -> None:
    book = account()
    rows = [trip(book, "1", BTC, 50), trip(book, "2", ETH, 70)]
    ghost = {**rows[0], "trade_id": "9", "instrument": SOL, "order_ids": "never"}
    bots = sharing([*rows, ghost], Trader(id="b", instruments=(ETH,)), instruments=(BTC,))
    with serving(book) as server:
        document = run(tmp_path, server, bots=bots)
        assert claims(document) == {"a": ("3.00", "unproven"), "b": ("68.00", "unproven")}
        for bot in document["bots"]:
            [reason] = bot["reasons"]
            assert f"trade 9 on {SOL}" in reason
            assert "a, b name" in reason
        assert document["accounts"][0]["status"] == "proven"
        # A bot with a database of its own is held to all of it.
        alone = [replace(bots[0], instruments=(BTC, ETH))]
        document = run(tmp_path, server, bots=alone)
    assert claims(document) == {"a": ("74.00", "diverged")}


def test_what_changes_between_nights_leaves_the_numbers_of_a_fresh_build(tmp_path: Path) -> None:
    book = account()
    rows = [
        trip(book, "1", BTC, 50),
        trip(book, "2", ETH, 70, "fast"),
        trip(book, "3", SOL, 30),
        trip(book, "4", BTC, 90, "fast"),
    ]
    own = [{**rows[2], "trade_id": "own"}]
    nights = [
        sharing(rows, Trader(id="b", instruments=(ETH, SOL)), instruments=(BTC,)),
        sharing(rows, Trader(id="b", instruments=(SOL,), order_tag="fast"), instruments=(BTC, ETH)),
        sharing(rows, Trader(id="b", instruments=(ETH,)), instruments=(BTC, SOL)),
        [
            Trader(id="a", trades=rows, instruments=(BTC, ETH)),
            Trader(id="b", trades=own, instruments=(SOL,)),
        ],
        sharing(rows[:3], Trader(id="b", instruments=(BTC,)), instruments=(ETH, SOL)),
    ]
    with serving(book) as server:
        fresh = figures(
            run_desks(
                tmp_path / "fresh",
                [(Desk(f"okx{number}"), server) for number, _ in enumerate(nights)],
                bots=[
                    of_account(bot, number) for number, bots in enumerate(nights) for bot in bots
                ],
            )
        )
        fresh_bots = iter(fresh["bots"])
        for number, bots in enumerate(nights):
            kept = figures(run(tmp_path / "kept", server, bots=bots))
            assert kept["accounts"] == [fresh["accounts"][number]], number
            for bot, alone in zip(kept["bots"], fresh_bots, strict=False):
                assert {**bot, "bot": f"{bot['bot']}{number}"} == alone


def of_account(bot: Trader, number: int) -> Trader:
    """Return the bot with another name, and with a database and an account of its own."""
    books = bot.database and bot.database.replace("/a.sqlite", f"/a{number}.sqlite")
    return replace(bot, id=f"{bot.id}{number}", account=f"okx{number}", database=books)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("sqlite:///v/a.sqlite", "sqlite:///./v/../v/a.sqlite", True),
        ("sqlite:///v/a.sqlite", "sqlite:////{folder}/v/a.sqlite", True),
        ("sqlite:///v/a.sqlite", "sqlite:///link.sqlite", True),
        ("sqlite:///v/a.sqlite", "sqlite:///v/b.sqlite", False),
        ("csv:///v#trades", "csv:///v#fills", False),
        ("postgresql://x@LocalHost/d", "postgresql://y@127.0.0.1:5432/d?sslmode=disable", True),
        ("postgresql://x@h/d", "postgresql://x@h/e", False),
        ("postgresql://x@h/d", "postgresql://x@h/d?options=-csearch_path%3Db", False),
    ],
)
def test_a_database_is_the_same_however_it_is_spelt(
    one: str,
    other: str,
    is_same: bool,
    tmp_path: Path,
) -> None:
    bots = [
        Trader(id="a", instruments=(BTC,), claims=None, database=one),
        Trader(id="b", instruments=(ETH,), claims=None, database=other.format(folder=tmp_path)),
    ]
    (tmp_path / "v").mkdir()
    (tmp_path / "link.sqlite").symlink_to("v/a.sqlite")
    with serving(account()) as server:
        config = load(write_folder(tmp_path, [(Desk(), server)], bots, ""))
    assert [shared.bot.id for shared in shared_databases(config)] == (["a", "b"] if is_same else [])
