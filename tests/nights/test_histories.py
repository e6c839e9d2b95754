"""Sequences of nights and of evidence that must not add up to a false "agreed"."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from recon.config.settings import load
from recon.demo.venues.background import in_background
from recon.demo.venues.okx_account import OkxAccount, Profile
from recon.demo.venues.okx_faults import Fault
from recon.demo.venues.okx_instruments import swap
from recon.demo.venues.okx_server import OkxServer
from recon.errors import ConfigError
from recon.run.nightly import Night, run_night
from tests.support.fleet import (
    AS_OF,
    BTC,
    NOW,
    OPENING,
    Case,
    Desk,
    Document,
    Trader,
    account,
    round_trips,
    run,
    run_desks,
    serving,
    shared_night,
    write_folder,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def reasons(document: Document) -> str:
    return " | ".join(reason for entry in document["accounts"] for reason in entry["reasons"])


def night_of(path: Path, as_of: date, **options: Any) -> Document:
    return run_night(Night(load(path), as_of=as_of, is_paging=False, now=lambda: NOW, **options))


def test_what_did_not_close_is_read_again_whole(tmp_path: Path) -> None:
    whole, holed = account(), account()
    for book in (whole, holed):
        round_trips(book, 20)
    for tape in (holed.fills, holed.bills):
        del tape.rows[3], tape.ids[3], tape.times_ms[3]
    with serving(holed) as server:
        first = run(tmp_path, server, as_of=AS_OF - DAY)
    with serving(whole) as server:
        second = run(tmp_path, server)
    assert first["accounts"][0]["status"] == "unproven"
    assert second["accounts"][0]["status"] == "proven", reasons(second)


def test_another_account_behind_the_same_id_is_noticed(tmp_path: Path) -> None:
    with serving(OkxAccount(now=lambda: NOW, profile=Profile(uid="111"))) as server:
        run(tmp_path, server, as_of=AS_OF - DAY)
    with serving(OkxAccount(now=lambda: NOW, profile=Profile(uid="222"))) as server:
        document = run(tmp_path, server)
    assert document["status"] == "unproven"
    assert "another OKX account than before" in reasons(document)


def test_a_changed_contract_value_is_noticed(tmp_path: Path) -> None:
    book = account()
    round_trips(book, 5)
    with serving(book) as server:
        assert run(tmp_path, server, as_of=AS_OF - DAY)["accounts"][0]["status"] == "proven"
        book.add_instrument(swap(BTC, "0.1"))
        document = run(tmp_path, server)
    assert f"{BTC}: its contract value has changed" in reasons(document)


SPOT = "LTC-USDT"


def coin_held_before() -> Case:
    book = account()
    book.deposit("LTC", 10, OPENING + HOUR)
    book.trade(SPOT, "sell", 3, 70, OPENING + DAY, fee=0)
    book.trade(SPOT, "buy", 3, 60, OPENING + 2 * DAY, fee=0)
    return Case(book, ("SPOT",))


def spot_trip(sold: timedelta = 2 * DAY) -> OkxAccount:
    book = account()
    book.trade(SPOT, "buy", 3, 60, OPENING + DAY, fee="-0.003")
    book.trade(SPOT, "sell", "2.997", 70, OPENING + sold, fee="-0.2")
    return book


def spot_repeated() -> Case:
    book = spot_trip()
    for row, bill in zip(
        list(book.fills.rows), ("800000000000000001", "800000000000000002"), strict=True
    ):
        book.fills.rows.append({**row, "billId": bill})
        book.fills.ids.append(int(bill))
        book.fills.times_ms.append(int(str(row["ts"])))
    return Case(book, ("SPOT",))


def spot_altered(key: str, value: str) -> Case:
    book = spot_trip(5 * DAY)
    book.fills.rows[1][key] = value
    return Case(book, ("SPOT",))


def hedged() -> Case:
    book = OkxAccount(now=lambda: NOW, profile=Profile(pos_mode="long_short_mode"))
    book.deposit("USDT", 10_000, OPENING)
    for side, way in (("long", "buy"), ("short", "sell")):
        book.trade(BTC, way, 5, 60_000, OPENING + DAY, fee=0, cl_ord_id="aaa1", pos_side=side)  # type: ignore[arg-type]
    book.funding(BTC, OPENING + DAY + HOUR, amount="-10", pos_side="long")
    return Case(book, bots=(Trader(id="a", instruments=(), order_tag="aaa"), Trader(id="owner")))


def without_fees() -> Case:
    book = account()
    round_trips(book, 2)
    for row in book.fills.rows:
        row["fee"] = ""
    return Case(book)


def astride_midnight() -> Case:
    early, late = datetime(2026, 4, 30, 23, 59, 59, 999_000, UTC), datetime(2026, 5, 1, tzinfo=UTC)
    book = OkxAccount(now=lambda: NOW)
    book.deposit("USDT", 1_000, OPENING - 3 * DAY)
    for side in ("buy", "sell"):
        book.trade(BTC, side, 1, 60_000, early, fee="-0.25")
    for row in book.bills.rows[1:]:
        row["ts"] = str(int(late.timestamp() * 1000))
    book.bills.times_ms[1:] = [int(late.timestamp() * 1000)] * 2
    return Case(book)


def liquidated() -> Case:
    book = account()
    book.trade(BTC, "buy", 10, 60_000, OPENING + DAY, fee=-3)
    book.liquidate(BTC, 55_000, OPENING + 2 * DAY, penalty=-40)
    return Case(book)


def entry_of_no_trade() -> Case:
    book = account()
    round_trips(book, 2)
    book.entry("USDT", "-400", OPENING + 3 * DAY, "2", "1")
    book.bills.rows[-1].update(pnl="0", fee="0")
    return Case(book)


def entry_of_an_unknown_type() -> Case:
    book = account()
    round_trips(book, 2)
    book.entry("USDT", "-400", OPENING + 3 * DAY, "99", "1")
    return Case(book)


ALTERED = [("fillPx", "6"), ("fee", "0"), ("ts", "1777766400000")]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Document]:
    """Give what one night tells of each case, by its name."""
    cases = {
        "coin-held-before": coin_held_before(),
        "spot-once": Case(spot_trip(), ("SPOT",), (Trader(instruments=(SPOT,)),)),
        "spot-twice": spot_repeated(),
        "hedged": hedged(),
        "closes-later": Case(account(), bots=(Trader(claims=((NOW + HOUR, "5000"),)),)),
        "without-fees": without_fees(),
        "astride-midnight": astride_midnight(),
        "liquidated": liquidated(),
        "no-trade": entry_of_no_trade(),
        "unknown-type": entry_of_an_unknown_type(),
        **{key: spot_altered(key, value) for key, value in ALTERED},
    }
    return shared_night(tmp_path_factory.mktemp("told"), cases)


def test_coin_held_before_is_not_sold_short(told: dict[str, Document]) -> None:
    document = told["coin-held-before"]
    assert document["status"] == "unproven"
    assert "more was sold than was bought since the window began" in reasons(document)


def test_a_spot_round_trip_is_proven_and_a_repeated_one_is_not(told: dict[str, Document]) -> None:
    [entry] = told["spot-once"]["accounts"]
    assert entry["status"] == "proven", entry["reasons"]
    assert Decimal(entry["window"]["net"]) == Decimal("2.997") * 70 - 180 - Decimal("0.2")
    again = told["spot-twice"]
    assert again["status"] == "unproven"
    assert again["accounts"][0]["proofs"]["cash"]["status"] == "broken"


def test_funding_of_a_hedged_bot_is_carried_by_it(told: dict[str, Document]) -> None:
    truth = {bot["bot"]: bot["window"]["broker"] for bot in told["hedged"]["bots"]}
    assert (truth["a"]["funding"], truth["a"]["open_costs"]) == ("0", "-10.00")
    assert truth["owner"]["funding"] == truth["owner"]["open_costs"] == "0"


def test_a_trade_that_closes_after_it_was_read_makes_the_books_unreadable(
    told: dict[str, Document],
) -> None:
    [entry] = told["closes-later"]["bots"]
    assert entry["status"] == "unproven"
    assert "give closed_at in UTC" in entry["reasons"][0]


def test_quarantined_fills_leave_no_sum_to_be_read(told: dict[str, Document]) -> None:
    [entry], [bot] = told["without-fees"]["accounts"], told["without-fees"]["bots"]
    assert set(entry["window"].values()) == {None}
    assert bot["window"]["divergence"] is None


def test_a_fill_and_its_entry_astride_midnight_are_one_trade(told: dict[str, Document]) -> None:
    document = told["astride-midnight"]
    assert document["status"] == "proven", reasons(document)


def test_a_liquidation_and_its_penalty_are_one_trade(told: dict[str, Document]) -> None:
    [entry] = told["liquidated"]["accounts"]
    assert entry["status"] == "proven", entry["reasons"]
    assert entry["window"]["gross"] == "-500.00"
    assert entry["window"]["other"] == "-40.00"


def test_an_entry_that_names_no_trade_is_noticed(told: dict[str, Document]) -> None:
    document = told["no-trade"]
    bill = entry_of_no_trade().book.bills.rows[-1]["billId"]
    assert document["status"] == "unproven"
    assert f"ledger entry {bill} (USDT) names no instId and no tradeId" in reasons(document)


def test_an_entry_of_a_type_that_is_not_known_is_noticed_and_the_rest_is_shown(
    told: dict[str, Document],
) -> None:
    [entry] = told["unknown-type"]["accounts"]
    assert entry["status"] == "unproven"
    assert "type 99, which is not known" in reasons(told["unknown-type"])
    assert Decimal(entry["window"]["gross"])


@pytest.mark.parametrize("key", [key for key, _ in ALTERED])
def test_spot_fills_are_held_against_both_legs(key: str, told: dict[str, Document]) -> None:
    assert told[key]["accounts"][0]["proofs"]["cash"]["status"] == "broken"


def test_looking_back_changes_no_break_and_a_part_is_no_report(tmp_path: Path) -> None:
    book = account()
    round_trips(book, 5)
    bot = Trader(claims=((OPENING + 4 * DAY, "500"),))
    with serving(book) as server:
        tonight = run(tmp_path, server, bots=(bot,))
        back = run(tmp_path, server, bots=(bot,), as_of=date(2026, 5, 3))
        report = tmp_path / "state" / "reports" / f"{AS_OF}.json"
        told = report.read_text()
        run(tmp_path, server, bots=(bot,), accounts=("okx",))
        assert report.read_text() == told
        again = run(tmp_path, server, bots=(bot,))
    assert [one["kind"] for one in tonight["breaks"]] == ["window"]
    assert back["breaks"] == []  # it was first seen later
    assert again["breaks"] == tonight["breaks"]
    assert json.loads((report.parent / f"{AS_OF}.okx.json").read_text())["status"] == "diverged"


@pytest.mark.parametrize(
    ("bot", "expected"),
    [
        (Trader(instruments=(), order_tag=None), "owns nothing"),
        (Trader(instruments=(BTC, BTC)), "name each once"),
    ],
)
def test_ownership_is_explicit(bot: Trader, expected: str, tmp_path: Path) -> None:
    with serving(account()) as server:
        path = write_folder(tmp_path, [(Desk(), server)], [bot], "")
    with pytest.raises(ConfigError, match=expected):
        load(path)


TRADE = (
    '<Trade accountId="{who}" currency="USD" assetCategory="STK" fxRateToBase="1" symbol="SPY" '
    'multiplier="1" tradeID="{n}" transactionID="{n}" ibOrderID="{order}" reportDate="20260505" '
    'tradeDate="20260505" dateTime="20260505;1000{n:02d}" quantity="{qty}" tradePrice="{price}" '
    'proceeds="{proceeds}" taxes="0" ibCommission="-1" ibCommissionCurrency="USD" '
    'netCash="{net}" fifoPnlRealized="{pnl}" transactionType="ExchTrade" notes="" '
    'buySell="{side}" levelOfDetail="{level}" />'
)


def trade(
    n: int, qty: int, price: int, *, pnl: int = 0, level: str = "EXECUTION", who: str = "U1"
) -> str:
    return TRADE.format(
        n=n,
        order=n + 100,
        qty=qty,
        price=price,
        proceeds=-qty * price,
        net=-qty * price - 1,
        side="BUY" if qty > 0 else "SELL",
        level=level,
        who=who,
        pnl=pnl,
    )


def statement(trades: str, cash: str = "", *, who: str = "U1", generated: str = "0515") -> str:
    return (
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1">'
        f'<FlexStatement accountId="{who}" fromDate="20260501" toDate="20260514" period="" '
        f'whenGenerated="2026{generated};050000"><AccountInformation currency="USD"/>'
        f"<Trades>{trades}</Trades><OpenPositions/>"
        f"<CashTransactions>{cash}</CashTransactions></FlexStatement></FlexStatements>"
        "</FlexQueryResponse>"
    )


def flex_night(folder: Path, texts: Mapping[str, str]) -> Document:
    """Run one night of an account for each statement."""
    config = ""
    for name, text in texts.items():
        (folder / f"{name}.xml").write_text(text)
        config += (
            f'[[accounts]]\nid = "{name}"\nvenue = "ibkr-flex"\ncurrency = "USD"\n'
            f'since = 2026-05-01\nfiles = "{name}.xml"\n'
        )
    (folder / "recon.toml").write_text(config)
    return night_of(folder / "recon.toml", AS_OF)


def summary(level: str) -> str:
    return (
        f'<CashTransaction accountId="U1" currency="USD" fxRateToBase="1" type="Other Fees" '
        f'dateTime="20260506" reportDate="20260506" amount="-400" transactionID="{len(level)}" '
        f'levelOfDetail="{level}" />'
    )


TRIP = trade(1, 5, 100) + trade(2, -5, 110, pnl=48)
WRONG = {
    "orders-only": "came without its executions",
    "summary-only": 'cash of type "Other Fees" came only as a summary',
}


def euros(text: str, rate: str) -> str:
    return text.replace('"USD"', '"EUR"').replace('fxRateToBase="1"', f'fxRateToBase="{rate}"')


@pytest.fixture(scope="module")
def stated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Document]:
    """Give what one night tells of the account of each statement, by its name.

    A second night told of `another`, whose statements came to be those of another account.
    """
    folder = tmp_path_factory.mktemp("stated")
    texts = {
        "whole": statement(TRIP, summary("DETAIL") + summary("SUMMARY")),
        "orders-only": statement(TRIP + trade(3, 1, 100, level="ORDER")),
        "summary-only": statement(TRIP, summary("SUMMARY")),
        "euros": statement(euros(trade(1, 5, 100), "1.1") + euros(trade(2, -5, 110), "1.2")),
        "another": statement(TRIP),
    }
    first = flex_night(folder, texts)
    texts["another"] = statement(trade(7, 1, 5, who="U2"), who="U2")
    second = flex_night(folder, texts)
    return {entry["account"]: entry for entry in first["accounts"]} | {
        "another again": next(one for one in second["accounts"] if one["account"] == "another")
    }


def test_a_whole_statement_is_proven(stated: dict[str, Document]) -> None:
    assert stated["whole"]["status"] == "proven", stated["whole"]["reasons"]
    assert stated["whole"]["window"]["net"] == "-352.00"


@pytest.mark.parametrize("name", WRONG)
def test_what_only_restates_is_not_enough(name: str, stated: dict[str, Document]) -> None:
    assert stated[name]["status"] == "unproven"
    assert any(WRONG[name] in reason for reason in stated[name]["reasons"])


def test_statements_of_another_account_under_one_id_are_noticed(
    stated: dict[str, Document],
) -> None:
    assert stated["another"]["status"] == "proven"
    again = stated["another again"]
    assert again["status"] == "unproven"
    assert any("statements of several IBKR accounts" in reason for reason in again["reasons"])


def test_costs_in_another_currency_are_what_they_were_when_paid(
    stated: dict[str, Document],
) -> None:
    total = stated["euros"]["window"]
    assert (total["gross"], total["fees"]) == ("60.00", "-2.30")
    assert total["open_costs"] == "0"


def test_late_fills_of_two_types_are_both_found(tmp_path: Path) -> None:
    book = account()
    round_trips(book, 1)

    class Busy(OkxServer):
        """Trades twice, swap and then spot, the first time its positions are asked for."""

        def _spoiled(self, *arguments: Any) -> Any:
            if book.fills.rows[-1]["instId"] != "LTC-USDT":
                book.trade(BTC, "buy", 1, 60_000, NOW - HOUR)
                book.trade("LTC-USDT", "buy", 1, 60, NOW - HOUR)
            return super()._spoiled(*arguments)

    with in_background(Busy(book, throttle=0)) as server:
        server.fault("account/positions", Fault("page_missing", times=1))
        document = run(tmp_path, server, desk=Desk(instrument_types=("SWAP", "SPOT")))
    assert document["accounts"][0]["status"] == "proven", reasons(document)


def test_breaks_of_one_account_do_not_wait_for_another(tmp_path: Path) -> None:
    books = {name: account() for name in ("one", "two")}
    bots = tuple(Trader(id=f"bot-{name}", account=name, claims=((OPENING, "9"),)) for name in books)
    with serving(books["one"]) as first, serving(books["two"]) as second:
        desks = [(Desk(id="one"), first), (Desk(id="two"), second)]
        run_desks(tmp_path, desks, bots=bots, accounts=("one",))
        document = run_desks(tmp_path, desks, bots=bots, accounts=("two",), as_of=AS_OF - DAY)
    assert [one["bot"] for one in document["breaks"]] == ["bot-two"]
