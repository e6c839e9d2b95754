"""The compiled kernel gives the plain program's rows, every one of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recon.core.records import Method
from recon.lots.realise import Event, realise
from recon.system.resources import sql_root

pytest.importorskip("numba", reason="the extra for volume is not installed")

from recon.lots.compiled import MONEY, Outcome, realise_compiled
from tests.conftest import drawn
from tests.lots.compiled.histories import (
    METHODS,
    batch_of,
    batches_of,
    check,
    codes_of,
    decoded,
    fill,
    histories,
    keys_of,
    left_before,
    methods,
    opened,
    sorted_out,
    unknown_in,
)

EVENTS_QUERY = (sql_root() / "kernel" / "events.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("method", METHODS)
def test_every_row_is_the_plain_program_s(method: Method) -> None:
    rng = drawn("every row is the")
    handed_over = 0
    for _ in range(12):
        handed_over += len(check(rng, histories(rng, 30), method))
    assert handed_over < 12 * 30 * 2 // 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "terms",
    [
        {"qty": (2, 0), "price": (6, 2)},
        {"qty": (9, 8), "price": (7, 2)},
        {"qty": (9, 8), "price": (7, 2), "is_finer": True, "odd": 0.0},
        {"qty": (12, 0), "price": (6, 10), "odd": 0.0, "is_inverse": False},
        {"qty": (3, 18), "price": (9, 4)},
        {"qty": (6, 4), "price": (6, 2), "is_base": True},
        {"qty": (5, 0), "price": (6, 1), "is_inverse": True},
    ],
)
def test_what_is_ordinary_is_not_handed_over(method: Method, terms: dict[str, Any]) -> None:
    rng = drawn("what is ordinary is")
    events = histories(rng, 40, **{"odd": 0.0, **terms})
    assert set(check(rng, events, method)) <= unknown_in(events, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "terms",
    [
        {"other_rates": 0.1, "is_inverse": True, "qty": (5, 0), "price": (6, 1)},
        {"other_rates": 0.5, "is_base": True, "qty": (6, 4), "price": (6, 2)},
        {"other_rates": 1.0, "is_inverse": False, "qty": (9, 8), "price": (7, 2)},
        {"other_rates": 0.8, "in_account": 0.6, "qty": (6, 4), "price": (6, 2)},
    ],
)
def test_amounts_are_taken_at_their_rates(method: Method, terms: dict[str, Any]) -> None:
    rng = drawn("amounts are taken at")
    events = histories(rng, 60, odd=0.0, **terms)
    assert set(check(rng, events, method)) <= unknown_in(events, method)


@pytest.mark.parametrize(
    "rate",
    [
        "0",
        "0.000000000000000001",
        "1.000000000000000001",
        "4.611686018427387905",
        "9.223372036854775808",
        "18.446744073709551615",
        "18.5",
        "4000000000000",
    ],
)
def test_rates_at_the_edges_of_a_word(rate: str) -> None:
    at = Decimal(rate)
    bought = fill(1, "3", "33.33", amount=Decimal("-0.123456789012345678"), rate=at)
    events = [
        fill(0),
        bought,
        fill(2, kind="funding", amount=Decimal("-0.7"), rate=at),
        fill(3, "-2.9", "33.34", amount=Decimal("0.000000000000000007"), rate=at),
        fill(4, "-1.1", "1", rate=at),
        fill(5, kind="fee", amount=Decimal("-0.7"), rate=at),
    ]
    for method in METHODS:
        assert check(drawn("rates at the edges"), events, method) == []


def test_an_amount_may_fit_only_at_its_rate() -> None:
    fee = fill(1, amount=Decimal("-1e16"), rate=Decimal("0.01"))
    assert check(drawn("an amount may fit"), [fee], "fifo") == []
    interest = fill(1, kind="interest", amount=Decimal("1e16"), rate=Decimal("0.01"))
    assert check(drawn("an amount may fit"), [fill(0), interest], "fifo") == []


@pytest.mark.parametrize("method", METHODS)
def test_long_histories_of_few_sessions(method: Method) -> None:
    rng = drawn("long histories of few sessions")
    assert check(rng, histories(rng, 4, 3000, qty=(6, 4), price=(6, 2), odd=0.0), method) == []


def test_more_than_is_told_at_once() -> None:
    rng = drawn("more than is told")
    terms: dict[str, Any] = {"qty": (6, 4), "price": (6, 2), "odd": 0.0, "is_inverse": False}
    few: list[Event] = []
    while len(few) < 300:
        few = histories(rng, 1, 400, **terms)
    events = [e._replace(instrument=f"{n:05}") for n in range(400) for e in few]
    keys = keys_of(events)
    outcome = realise_compiled([batch_of(events, keys)], codes_of(events, "fifo"))
    plain = sorted_out(list(realise(few, methods(few, "fifo"))))
    told = (outcome.realised, outcome.books, outcome.lots)
    assert [table.num_rows for table in told] == [400 * len(rows) for rows in plain]
    assert outcome.lots[0].num_chunks > 1
    for n in (0, 131, 399):
        realised, books, lots = (table.filter(pc.equal(table["key"], n)) for table in told)
        assert decoded(Outcome(realised, books, lots, []), [few[0][:2]] * 400) == plain


@pytest.mark.parametrize("method", METHODS)
def test_what_is_handed_over_is_done_by_the_plain_program(method: Method) -> None:
    rng = drawn("what is handed over")
    assert check(rng, histories(rng, 30, 30, qty=(30, 12), price=(12, 8)), method)
    some = histories(rng, 60, 30, qty=(16, 8), price=(12, 8))
    assert set() < set(check(rng, some, method)) < set(keys_of(some))


def test_each_scope_may_have_its_own_method() -> None:
    rng = drawn("each scope may have its")
    events = histories(rng, 30, qty=(6, 4), price=(6, 2), odd=0.0)
    keys = keys_of(events)
    outcome = realise_compiled([batch_of(events, keys)], codes_of(events, "fifo", "average"))
    realised, books, _ = decoded(outcome, keys)
    for scope, method in (("bot", "fifo"), ("account", "average")):
        plain = list(realise(events, dict.fromkeys({e.account for e in events}, method)))  # type: ignore[arg-type]
        plain_realised, plain_books, _ = sorted_out(plain)
        assert [r for r in realised if r.scope == scope] == [
            r for r in plain_realised if r.scope == scope
        ]
        assert [b for b in books if b.scope == scope] == [
            b for b in plain_books if b.scope == scope
        ]


@pytest.mark.parametrize("method", METHODS)
def test_a_run_goes_on_from_where_any_session_left_it(method: Method) -> None:
    rng = drawn("a run goes on")
    for _ in range(3):
        events = histories(rng, 20, qty=(9, 6), price=(7, 3), other_rates=0.2)
        keys = keys_of(events)
        plain = list(realise(events, methods(events, method)))
        whole = sorted_out(plain)
        for session in rng.sample(sorted({event.session_date for event in events}), 8):
            rest = [event for event in events if event.session_date >= session]
            opening = opened(left_before(whole, session), keys)
            outcome = realise_compiled(
                batches_of(rng, rest, keys), codes_of(events, method), opening
            )
            gone = {keys[key] for key in outcome.handed_over}
            expected = [item for item in plain if item.session_date >= session]
            assert decoded(outcome, keys) == sorted_out(expected, list(gone))
            assert len(gone) < len(keys) // 2


@pytest.mark.parametrize("method", METHODS)
def test_duckdb_feeds_it(method: Method) -> None:
    rng = drawn("duckdb feeds it")
    events = histories(rng, 20)
    keys = keys_of(events)
    con = duckdb.connect()
    table = pa.Table.from_pylist(
        [event._asdict() | {"seq": n} for n, event in enumerate(events)],
        schema=pa.schema(
            [
                *(
                    (name, pa.string())
                    for name in (
                        "account",
                        "instrument",
                        "kind",
                        "event_id",
                        "bot",
                        "position_side",
                        "fee_in",
                    )
                ),
                ("at", pa.timestamp("us")),
                ("session_date", pa.date32()),
                ("seq", pa.int64()),
                *((name, MONEY) for name in ("qty", "price", "multiplier", "amount", "rate")),
                ("is_inverse", pa.bool_()),
            ]
        ),
    )
    con.register("given", table)
    con.sql("create schema config; create table config.lot_kinds (kind varchar)")
    con.sql("insert into config.lot_kinds values ('interest')")
    con.sql("create schema affected; use affected")
    con.sql("create table events as from given order by hash(event_id)")
    con.sql(
        "create table keys as select account, instrument,"
        " (row_number() over (order by account, instrument) - 1)::integer as key"
        " from (select distinct account, instrument from events)"
    )
    con.sql("create table plain (account varchar, instrument varchar)")
    con.sql("create table bots as select unnest(['a', 'b', 'c']) as bot, unnest([0, 1, 2]) as code")
    stream = con.sql(EVENTS_QUERY).to_arrow_reader(100)
    outcome = realise_compiled(stream, codes_of(events, method))
    gone = [keys[key] for key in outcome.handed_over]
    plain = list(realise(events, methods(events, method)))
    assert decoded(outcome, keys) == sorted_out(plain, gone)


def test_what_the_plain_kernel_alone_can_run_is_not_fed() -> None:
    """A broker's own lots, and instruments of which bots and nobody have fills."""
    con = duckdb.connect()
    con.sql("create schema affected; create schema config")
    con.sql("create table config.lot_kinds (kind varchar)")
    con.sql("create schema lots")
    con.sql("create table lots.closing_books (account text, instrument text, bot text, qty int)")
    con.sql("insert into lots.closing_books values ('okx', 'HELD', 'a', 1), ('okx', 'NO', 'a', 0)")
    con.sql(
        "create table affected.events as select account, instrument, bot, bot is null as is_unowned"
        ", 'fill' as kind, date '2026-01-05' as session_date,"
        " timestamp '2026-01-05' as at, 1 as seq,"
        " 'net' as position_side, 1 as qty, 1 as price, 1 as multiplier,"
        " false as is_inverse, 0 as amount, 'settlement' as fee_in, 1 as rate"
        " from (values ('okx', 'X', 'a'), ('ibkr', 'X', 'a'), ('okx', 'MIX', 'a'),"
        " ('okx', 'MIX', null), ('okx', 'HELD', null), ('okx', 'NO', null))"
        " as v (account, instrument, bot)"
    )
    con.sql(
        "create table affected.keys as select account, instrument,"
        " (row_number() over (order by account, instrument) - 1)::integer as key"
        " from (select distinct account, instrument from affected.events)"
    )
    con.sql("create table affected.bots as select 'a' as bot, 0 as code")
    con.sql(
        "create table config.accounts as select unnest(['okx', 'ibkr']) as account,"
        " unnest([null, 'fifo']) as broker_lots"
    )
    query = (sql_root() / "affected" / "plain.sql").read_text(encoding="utf-8")
    con.sql(f"create table affected.plain as {query}")
    fed = {row[0] for row in con.sql(EVENTS_QUERY).fetchall()}
    names = con.sql("select key, account, instrument from affected.keys").fetchall()
    assert {(account, name) for key, account, name in names if key in fed} == {
        ("okx", "X"),
        ("okx", "NO"),
    }
