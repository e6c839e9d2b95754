"""Attribution of fills by assignment, order tag and instrument, and the bots left unproven."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recon.cli import run_cli
from recon.demo.venues.okx_account import OkxAccount
from recon.demo.venues.okx_faults import Fault
from tests.support.fleet import (
    BTC,
    ETH,
    OPENING,
    SOL,
    Desk,
    Document,
    Trader,
    account,
    figures,
    one_night,
    rows,
    run,
    run_desks,
    serving,
)

AT, HOUR = OPENING + timedelta(days=2), timedelta(hours=1)
ORDERS = ("trade/orders-history", "trade/orders-history-archive", "trade/orders-pending")


def claims(*amounts: str) -> tuple[Any, ...]:
    return tuple((AT + 2 * HOUR, amount) for amount in amounts)


def trader(name: str, *amounts: str, instruments: tuple[str, ...] = ()) -> Trader:
    return Trader(name, instruments=instruments, order_tag=name, claims=claims(*amounts))


def stopped(**stop: Any) -> OkxAccount:
    """Alpha buys 100 and beta 10; alpha's are sold at a loss of 1,000 by an order without a tag."""
    book = account()
    book.trade(BTC, "buy", 100, 60_000, AT, fee=0, cl_ord_id="alpha1")
    book.trade(BTC, "buy", 10, 60_000, AT + HOUR, fee=0, cl_ord_id="beta1")
    book.trade(BTC, "sell", 10, 60_100, AT + 2 * HOUR, fee=0, cl_ord_id="beta2")
    book.trade(BTC, "sell", 100, 59_000, AT + 3 * HOUR, fee=0, **stop)
    return book


def bots_of(document: Document) -> dict[str, Any]:
    return {bot["bot"]: bot for bot in document["bots"]}


def statuses(document: Document) -> dict[str, str]:
    return {name: bot["status"] for name, bot in bots_of(document).items()}


def untagged_order(folder: Path) -> str:
    [(order,)] = rows(folder, "select order_id from evidence.fills where order_tag is null")
    return str(order)


def typed(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = run_cli([*words, "--config", str(folder / "recon.toml")])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_an_order_that_a_stop_placed_belongs_to_the_stop_s_bot(tmp_path: Path) -> None:
    book = stopped(algo_cl_ord_id="alpha1sl")
    bots = [trader("alpha", "-1000"), trader("beta", "10")]
    with serving(book) as server:
        document = run(tmp_path, server, bots=bots)
        asked = [seen.query for seen in server.requests if "/orders-" in seen.path]
    assert statuses(document) == {"alpha": "agreed", "beta": "agreed"}
    assert document["accounts"][0]["unowned"] == {"net": "0", "fills": 0}
    assert all(query["instType"] == "SWAP" for query in asked)

    silent = [trader("alpha"), trader("beta", "10")]
    document = one_night(tmp_path / "silent", book, bots=silent)
    assert statuses(document) == {"alpha": "diverged", "beta": "agreed"}
    assert bots_of(document)["alpha"]["window"]["divergence"] == "1000.00"
    assert bots_of(document)["alpha"]["window"]["causes"][0]["cause"] == "unrecorded"


def test_an_order_that_still_rests_is_attributed_and_known_once_it_has_ended(
    tmp_path: Path,
) -> None:
    book, late = account(), OPENING + timedelta(days=12)
    book.trade(BTC, "buy", 10, 60_000, late, fee=0, cl_ord_id="alpha1")
    order: dict[str, Any] = {
        "ord_id": "1400000000000000001",
        "algo_cl_ord_id": "alpha1tp",
        "fee": 0,
    }
    book.trade(BTC, "sell", 4, 61_000, late + HOUR, is_resting=True, **order)
    document = one_night(tmp_path, book, bots=[trader("alpha", "40")])
    assert statuses(document) == {"alpha": "agreed"}
    state = "select state from evidence.orders where order_id = '1400000000000000001'"
    assert rows(tmp_path, state) == [("partially_filled",)]

    book.trade(BTC, "sell", 6, 61_000, late + 2 * HOUR, **order)
    document = one_night(tmp_path, book, bots=[trader("alpha", "40", "60")])
    assert statuses(document) == {"alpha": "agreed"}
    assert rows(tmp_path, state) == [("filled",)]


def test_only_bots_that_held_a_position_beside_an_unowned_fill_are_unproven(tmp_path: Path) -> None:
    book = stopped()
    bots = [trader("alpha"), trader("beta", "10"), Trader("owner", instruments=(ETH,))]
    document = one_night(tmp_path, book, bots=bots)
    [entry] = document["accounts"]
    assert entry["status"] == "proven"
    assert entry["unowned"]["fills"] == 1
    assert statuses(document) == {"alpha": "unproven", "beta": "agreed", "owner": "agreed"}
    [reason] = bots_of(document)["alpha"]["reasons"]
    assert untagged_order(tmp_path) in reason
    assert BTC in reason


def test_the_orders_of_an_account_without_order_tags_are_never_fetched(tmp_path: Path) -> None:
    with serving(stopped()) as server:
        document = run(tmp_path, server, bots=[Trader(instruments=(BTC,), claims=claims("-990"))])
        assert statuses(document) == {"btc": "agreed"}
        assert not [seen for seen in server.requests if "/orders-" in seen.path]


@pytest.mark.parametrize("kind", ["code_50001", "code_50120"])
def test_without_order_records_a_fill_has_no_owner(tmp_path: Path, kind: Any) -> None:
    """It is neither unowned nor the instrument owner's: the record could name either bot."""
    book = stopped(algo_cl_ord_id="alpha1sl")
    book.trade(ETH, "buy", 1, 2_000, AT + HOUR, fee=0)
    bots = [
        trader("alpha", "-1000"),
        trader("beta", "10"),
        Trader("owner", instruments=(BTC,), claims=()),
        Trader("other", instruments=(SOL,)),
    ]
    with serving(book) as server:
        for path in ORDERS[1:]:
            server.fault(path, Fault(kind, times=None))
        blind = run(tmp_path, server, bots=bots)
        server.clear_faults()
        seeing = run(tmp_path, server, bots=bots)
    assert blind["accounts"][0]["status"] == "proven"
    assert blind["accounts"][0]["unowned"]["fills"] == 2
    doubted = dict.fromkeys(("alpha", "beta", "owner"), "unproven")
    assert statuses(blind) == {**doubted, "other": "agreed"}
    assert all("could not be fetched" in bots_of(blind)[name]["reasons"][0] for name in doubted)
    assert set(statuses(seeing).values()) == {"agreed"}
    assert figures(seeing) == figures(one_night(tmp_path / "fresh", book, bots=bots))


def test_a_person_assigns_an_order_and_may_assign_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = stopped()
    bots = [trader("alpha", "-1000"), trader("beta", "10")]
    with serving(book) as server:
        run(tmp_path, server, bots=bots)
        order = untagged_order(tmp_path)

        status, out, _ = typed(capsys, tmp_path, "unowned", "--json")
        [fill] = json.loads(out)["unowned"]
        assert status == 0
        assert {name: fill[name] for name in ("side", "qty", "price", "order", "tag")} == {
            "side": "sell",
            "qty": "100.00",
            "price": "59000.00",
            "order": order,
            "tag": None,
        }
        words = ("assign", order, "--reason", "its stop", "--by", "ann")
        assert typed(capsys, tmp_path, *words, "--bot", "beta")[0] == 0
        mistaken = run(tmp_path, server, bots=bots)
        assert statuses(mistaken) == {"alpha": "diverged", "beta": "agreed"}
        assert typed(capsys, tmp_path, *words, "--bot", "alpha")[0] == 0
        assigned = run(tmp_path, server, bots=bots)
        assert statuses(assigned) == {"alpha": "agreed", "beta": "agreed"}
        moved = {one["bot"]: one["reason"] for one in assigned["restatements"]}
        assert "1 assignment of" in moved["alpha"][0]

    status, out, _ = typed(capsys, tmp_path, "unowned", "--json")
    assert json.loads(out)["unowned"] == []
    status, out, _ = typed(capsys, tmp_path, "unowned", "--all", "--json")
    [fill] = json.loads(out)["unowned"]
    assert [(one["bot"], one["by"], one["reason"]) for one in fill["assignments"]] == [
        ("beta", "ann", "its stop"),
        ("alpha", "ann", "its stop"),
    ]
    status, out, _ = typed(capsys, tmp_path, "explain", "alpha", "--json")
    assert json.loads(out)["assignments"][0]["bot"] == "alpha"
    assert "ann" in typed(capsys, tmp_path, "unowned", "--all")[1]
    assert "assigned to alpha by ann" in typed(capsys, tmp_path, "explain", "alpha")[1]
    assert typed(capsys, tmp_path, "audit")[0] == 0


def test_a_person_s_own_trade_leaves_no_bot_unproven(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """This also holds for a fill without an order, which is named by its own id."""
    book = stopped(algo_cl_ord_id="person")
    fill = book.fills.rows[-1]
    fill["ordId"] = ""
    bots = [trader("alpha"), trader("beta", "10")]
    with serving(book) as server:
        assert statuses(run(tmp_path, server, bots=bots))["alpha"] == "unproven"
        said = typed(capsys, tmp_path, "assign", str(fill["billId"]), "--nobody", "--reason", "me")
        assert said[0] == 0
        document = run(tmp_path, server, bots=bots)
    assert statuses(document) == {"alpha": "agreed", "beta": "agreed"}
    assert document["accounts"][0]["unowned"]["fills"] == 1
    assert rows(tmp_path, "select count(*) from lots.bystanders") == [(0,)]
    out = typed(capsys, tmp_path, "unowned")[1]
    assert f"fill {fill['billId']}" in " ".join(out.split())
    assert "nobody" in out


def test_an_impossible_assignment_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = stopped(ord_id="1400000000000000001")
    bots = [trader("alpha"), Trader("far", account="two", instruments=(BTC,))]
    assert typed(capsys, tmp_path, "unowned")[0] == 2
    with serving(book) as server:
        run_desks(tmp_path, [(Desk(), server), (Desk("two"), server)], bots=bots)
    before = json.loads(typed(capsys, tmp_path, "audit", "--json")[1])["entries"]
    order = "1400000000000000001"
    for words, said in (
        ((order, "--reason", "r"), "either --bot BOT or --nobody"),
        ((order, "--reason", "r", "--bot", "alpha", "--nobody"), "either --bot BOT or --nobody"),
        ((order, "--reason", " ", "--nobody"), "--reason"),
        ((order, "--reason", "r", "--nobody"), "name one by --account"),
        ((order, "--reason", "r", "--nobody", "--account", "three"), "there is no such account"),
        ((order, "--reason", "r", "--bot", "gamma", "--account", "okx"), "there is no such bot"),
        ((order, "--reason", "r", "--bot", "far", "--account", "okx"), "this bot trades two"),
        (("12", "--reason", "r", "--nobody"), "no order in the evidence"),
        ((order, "12", "--reason", "r", "--nobody", "--account", "okx"), "no order of okx"),
    ):
        status, _, error = typed(capsys, tmp_path, "assign", *words)
        assert (status, said in error) == (2, True), (words, error)
    assert json.loads(typed(capsys, tmp_path, "audit", "--json")[1])["entries"] == before
    assign = ("assign", order, "--reason", "r", "--account", "two", "--bot", "far")
    assert typed(capsys, tmp_path, *assign)[0] == 0
    out = typed(capsys, tmp_path, "unowned", "--all", "--account", "two", "--json")[1]
    assert [one["account"] for one in json.loads(out)["unowned"]] == ["two"]
