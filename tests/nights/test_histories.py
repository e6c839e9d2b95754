"""Sequences of nights and of evidence that must not add up to a false "agreed"."""

from __future__ import annotations

import json
from collections.abc import Callable
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
    Desk,
    Document,
    Trader,
    account,
    one_night,
    round_trips,
    run,
    run_desks,
    serving,
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


def test_coin_held_before_is_not_sold_short(tmp_path: Path) -> None:
    book = account()
    book.deposit("LTC", 10, OPENING + HOUR)
    book.trade("LTC-USDT", "sell", 3, 70, OPENING + DAY, fee=0)
    book.trade("LTC-USDT", "buy", 3, 60, OPENING + 2 * DAY, fee=0)
    document = one_night(tmp_path, book, desk=Desk(instrument_types=("SPOT",)))
    assert document["status"] == "unproven"
    assert "more was sold than was bought since the window began" in reasons(document)


def test_a_spot_round_trip_is_proven_and_a_repeated_one_is_not(tmp_path: Path) -> None:
    book = account()
    book.trade("LTC-USDT", "buy", 3, 60, OPENING + DAY, fee="-0.003")
    book.trade("LTC-USDT", "sell", "2.997", 70, OPENING + 2 * DAY, fee="-0.2")
    desk = Desk(instrument_types=("SPOT",))
    document = one_night(
        tmp_path / "once", book, desk=desk, bots=(Trader(instruments=("LTC-USDT",)),)
    )
    [entry] = document["accounts"]
    assert entry["status"] == "proven", reasons(document)
    assert Decimal(entry["window"]["net"]) == Decimal("2.997") * 70 - 180 - Decimal("0.2")
    for row, bill in zip(
        list(book.fills.rows), ("800000000000000001", "800000000000000002"), strict=True
    ):
        book.fills.rows.append({**row, "billId": bill})
        book.fills.ids.append(int(bill))
        book.fills.times_ms.append(int(str(row["ts"])))
    again = one_night(tmp_path / "twice", book, desk=desk)
    assert again["status"] == "unproven"
    assert again["accounts"][0]["proofs"]["cash"]["status"] == "broken"


def test_funding_of_a_hedged_bot_is_carried_by_it(tmp_path: Path) -> None:
    book = OkxAccount(now=lambda: NOW, profile=Profile(pos_mode="long_short_mode"))
    book.deposit("USDT", 10_000, OPENING)
    for side, way in (("long", "buy"), ("short", "sell")):
        book.trade(BTC, way, 5, 60_000, OPENING + DAY, fee=0, cl_ord_id="aaa1", pos_side=side)  # type: ignore[arg-type]
    book.funding(BTC, OPENING + DAY + HOUR, amount="-10", pos_side="long")
    bots = (Trader(id="a", instruments=(), order_tag="aaa"), Trader(id="owner"))
    document = one_night(tmp_path, book, bots=bots)
    truth = {bot["bot"]: bot["window"]["broker"] for bot in document["bots"]}
    assert (truth["a"]["funding"], truth["a"]["open_costs"]) == ("0", "-10.00")
    assert truth["owner"]["funding"] == truth["owner"]["open_costs"] == "0"


def test_a_trade_that_closes_after_it_was_read_makes_the_books_unreadable(tmp_path: Path) -> None:
    bot = Trader(claims=((NOW + HOUR, "5000"),))
    document = one_night(tmp_path, account(), bots=(bot,))
    [entry] = document["bots"]
    assert entry["status"] == "unproven"
    assert "give closed_at in UTC" in entry["reasons"][0]


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


def test_quarantined_fills_leave_no_sum_to_be_read(tmp_path: Path) -> None:
    book = account()
    round_trips(book, 2)
    for row in book.fills.rows:
        row["fee"] = ""
    document = one_night(tmp_path, book)
    [entry] = document["accounts"]
    assert set(entry["window"].values()) == {None}
    assert document["bots"][0]["window"]["divergence"] is None


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


def flex_night(folder: Path, text: str) -> Document:
    (folder / "statement.xml").write_text(text)
    (folder / "recon.toml").write_text(
        '[[accounts]]\nid = "ib"\nvenue = "ibkr-flex"\ncurrency = "USD"\nsince = 2026-05-01\n'
        'files = "statement.xml"\n'
    )
    return night_of(folder / "recon.toml", AS_OF)


def summary(level: str) -> str:
    return (
        f'<CashTransaction accountId="U1" currency="USD" fxRateToBase="1" type="Other Fees" '
        f'dateTime="20260506" reportDate="20260506" amount="-400" transactionID="{len(level)}" '
        f'levelOfDetail="{level}" />'
    )


TRIP = trade(1, 5, 100) + trade(2, -5, 110, pnl=48)
WRONG: dict[str, tuple[Callable[[], str], str]] = {
    "orders only": (
        lambda: statement(TRIP + trade(3, 1, 100, level="ORDER")),
        "came without its executions",
    ),
    "cash summary only": (
        lambda: statement(TRIP, summary("SUMMARY")),
        'cash of type "Other Fees" came only as a summary',
    ),
}


def test_a_whole_statement_is_proven(tmp_path: Path) -> None:
    document = flex_night(tmp_path, statement(TRIP, summary("DETAIL") + summary("SUMMARY")))
    [entry] = document["accounts"]
    assert entry["status"] == "proven", reasons(document)
    assert entry["window"]["net"] == "-352.00"


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_what_only_restates_is_not_enough(
    text: Callable[[], str], expected: str, tmp_path: Path
) -> None:
    document = flex_night(tmp_path, text())
    assert document["status"] == "unproven"
    assert expected in reasons(document)


def test_statements_of_another_account_under_one_id_are_noticed(tmp_path: Path) -> None:
    assert flex_night(tmp_path, statement(TRIP))["accounts"][0]["status"] == "proven"
    document = flex_night(tmp_path, statement(trade(7, 1, 5, who="U2"), who="U2"))
    assert document["status"] == "unproven"
    assert "statements of several IBKR accounts" in reasons(document)


def test_costs_in_another_currency_are_what_they_were_when_paid(tmp_path: Path) -> None:
    def euros(text: str, rate: str) -> str:
        return text.replace('"USD"', '"EUR"').replace('fxRateToBase="1"', f'fxRateToBase="{rate}"')

    trip = euros(trade(1, 5, 100), "1.1") + euros(trade(2, -5, 110), "1.2")
    [entry] = flex_night(tmp_path, statement(trip))["accounts"]
    assert (entry["window"]["gross"], entry["window"]["fees"]) == ("60.00", "-2.30")
    assert entry["window"]["open_costs"] == "0"


def test_a_fill_and_its_entry_astride_midnight_are_one_trade(tmp_path: Path) -> None:
    book = account()
    round_trips(book, 3)
    early, late = datetime(2026, 4, 30, 23, 59, 59, 999_000, UTC), datetime(2026, 5, 1, tzinfo=UTC)
    traded = OkxAccount(now=lambda: NOW)
    traded.deposit("USDT", 1_000, OPENING - 3 * DAY)
    for side in ("buy", "sell"):
        traded.trade(BTC, side, 1, 60_000, early, fee="-0.25")
    for row in traded.bills.rows[1:]:
        row["ts"] = str(int(late.timestamp() * 1000))
    traded.bills.times_ms[1:] = [int(late.timestamp() * 1000)] * 2
    document = one_night(tmp_path, traded)
    assert document["accounts"][0]["status"] == "proven", reasons(document)


def test_a_liquidation_and_its_penalty_are_one_trade(tmp_path: Path) -> None:
    book = account()
    book.trade(BTC, "buy", 10, 60_000, OPENING + DAY, fee=-3)
    book.liquidate(BTC, 55_000, OPENING + 2 * DAY, penalty=-40)
    [entry] = one_night(tmp_path, book)["accounts"]
    assert entry["status"] == "proven", entry["reasons"]
    assert entry["window"]["gross"] == "-500.00"
    assert entry["window"]["other"] == "-40.00"


def test_an_entry_that_names_no_trade_is_noticed(tmp_path: Path) -> None:
    book = account()
    round_trips(book, 2)
    bill = book.entry("USDT", "-400", OPENING + 3 * DAY, "2", "1")
    book.bills.rows[-1].update(pnl="0", fee="0")
    document = one_night(tmp_path, book)
    assert document["status"] == "unproven"
    assert f"ledger entry {bill} (USDT) names no instId and no tradeId" in reasons(document)


def test_an_entry_of_a_type_that_is_not_known_is_noticed_and_the_rest_is_shown(
    tmp_path: Path,
) -> None:
    book = account()
    round_trips(book, 2)
    book.entry("USDT", "-400", OPENING + 3 * DAY, "99", "1")
    document = one_night(tmp_path, book)
    [entry] = document["accounts"]
    assert entry["status"] == "unproven"
    assert "type 99, which is not known" in reasons(document)
    assert Decimal(entry["window"]["gross"])


@pytest.mark.parametrize(("key", "value"), [("fillPx", "6"), ("fee", "0"), ("ts", "1777766400000")])
def test_spot_fills_are_held_against_both_legs(key: str, value: str, tmp_path: Path) -> None:
    book = account()
    book.trade("LTC-USDT", "buy", 3, 60, OPENING + DAY, fee="-0.003")
    book.trade("LTC-USDT", "sell", "2.997", 70, OPENING + 5 * DAY, fee="-0.2")
    book.fills.rows[1][key] = value
    document = one_night(tmp_path, book, desk=Desk(instrument_types=("SPOT",)))
    assert document["accounts"][0]["proofs"]["cash"]["status"] == "broken"


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
