"""The TWS connector, over the wire of a TWS on 127.0.0.1; with ib_async, and with ib_insync.

`test_ib_insync.py` runs this file again in an environment that has ib_insync in ib_async's place:
so nothing is imported here that is not in that one, too.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from connectors.ibkr_tws import client
from connectors.ibkr_tws.client import TwsAddress
from connectors.ibkr_tws.connector import IbkrTws
from connectors.ibkr_tws.messages import EXECUTION, happened_at, midnight, uncorrected
from connectors.retry import RetryPolicy
from recon.core.calendars import NEW_YORK
from recon.core.records import CheckItem, Coverage, Record, Session, Window
from recon.errors import VenueRefused
from tests.support.servers.tws_server import (
    EXECUTIONS,
    POSITIONS,
    SPY,
    VALUES,
    Faults,
    TwsAccount,
    TwsServer,
    contract,
    fill,
)

NOW = datetime(2026, 5, 15, 2, tzinfo=UTC)  # 22:00 of the 14th in New York
MIDNIGHT = datetime(2026, 5, 14, 4, tzinfo=UTC)
TODAY = Window(*[Session(date(2026, 5, 14), MIDNIGHT, NOW)] * 2)
SINCE_MAY = Window(
    Session(date(2026, 5, 1), datetime(2026, 5, 1, tzinfo=UTC), MIDNIGHT), TODAY.last
)
HASTY = RetryPolicy(
    request_timeout_s=0.4, attempts=3, first_wait_s=0.01, longest_wait_s=0.02, total_s=20.0
)
ONE = "0000e0d5.66a4.01.01"
Now = Callable[[], datetime]
Items = list[Record | Coverage]


def source(server: TwsServer, *, now: Now = lambda: NOW, **settings: Any) -> IbkrTws:
    address = TwsAddress("127.0.0.1", server.port, 900)
    return IbkrTws("tws", address, now=now, **{"patience": HASTY, **settings})


def fetched(
    server: TwsServer, window: Window = TODAY, faults: Faults | None = None, **settings: Any
) -> Items:
    """Return all that a fetch gives; nothing but reads may have reached the server."""

    async def conversation() -> Items:
        async with server:
            return [item async for item in source(server, **settings).fetch(window)]

    server.faults = faults or Faults()
    try:
        return asyncio.run(conversation())
    finally:
        assert server.violations == []


def checked(server: TwsServer, **settings: Any) -> list[CheckItem]:
    async def conversation() -> list[CheckItem]:
        async with server:
            return await source(server, **settings).check()

    return asyncio.run(conversation())


def records(items: Items, kind: str) -> dict[str, dict[str, str]]:
    return {
        item.id: json.loads(item.payload)
        for item in items
        if isinstance(item, Record) and item.kind == kind
    }


def said(items: Items) -> dict[str, Coverage]:
    return {item.evidence: item for item in items if isinstance(item, Coverage)}


def statuses(items: Items) -> dict[str, str]:
    return {evidence: statement.status for evidence, statement in said(items).items()}


def test_one_library_speaks_to_tws_and_not_both() -> None:
    found = [name for name in ("ib_async", "ib_insync") if importlib.util.find_spec(name)]
    assert len(found) == 1


def test_an_execution_is_kept_field_by_field_as_it_came() -> None:
    items = fetched(TwsServer({"DU1": TwsAccount([fill(ONE)])}))
    [record] = [item for item in items if isinstance(item, Record) and item.kind == "execution"]
    assert record.id == ONE
    assert record.at == datetime(2026, 5, 14, 14, 30, tzinfo=UTC)
    assert json.loads(record.payload) == dict(zip(EXECUTION, fill(ONE).values(), strict=False))
    assert records(items, "commission")[ONE]["commission"] == "1.0005"
    assert set(statuses(items).values()) == {"complete"}


@pytest.mark.parametrize(
    "text",
    [
        "0.1",
        "100.00",
        "0.30000000000000004",
        "123456789012345678901234567890",
        "0.000000000000000001",
        "9007199254740993",
        "1.0E7",
        "-0.0",
        "",
        "nonsense",
        "1.7976931348623157E308",
    ],
)
def test_no_number_goes_through_a_float(text: str) -> None:
    """Also what the library itself cannot read, and drops, is a record here."""
    numbers = {"shares": text, "price": text, "cumQty": text, "avgPrice": text}
    account = TwsAccount(
        [fill(ONE, **numbers)], {ONE: (text, "EUR")}, [(SPY, text, text)], {"EUR": text}
    )
    items = fetched(TwsServer({"DU1": account}))
    execution = records(items, "execution")[ONE]
    assert {name: execution[name] for name in numbers} == numbers
    assert records(items, "commission")[ONE]["commission"] == text
    assert records(items, "position")[SPY["conId"]]["position"] == text
    assert records(items, "account-value")["CashBalance/EUR"]["value"] == text


def test_unset_stays_unset_in_the_broker_s_own_pnl() -> None:
    items = fetched(TwsServer({"DU1": TwsAccount([fill(ONE)])}))
    assert records(items, "commission")[ONE]["realizedPNL"] == "1.7976931348623157E308"


def test_every_version_of_a_corrected_execution_is_kept() -> None:
    corrected = fill("0000e0d5.66a4.01.02", price="500.20")
    items = fetched(TwsServer({"DU1": TwsAccount([fill(ONE), corrected])}))
    prices = {name: one["price"] for name, one in records(items, "execution").items()}
    assert prices == {ONE: "500.25", "0000e0d5.66a4.01.02": "500.20"}


def test_a_commission_that_comes_late_is_waited_for() -> None:
    account = TwsAccount([fill(f"0000e0d5.66a{n}.01.01") for n in range(3)])
    items = fetched(TwsServer({"DU1": account}), faults=Faults(commission_delay_s=0.05))
    assert records(items, "commission").keys() == records(items, "execution").keys()


def test_a_commission_that_never_comes_is_no_record_and_never_0() -> None:
    two = "0000e0d5.66a5.01.01"
    account = TwsAccount([fill(ONE), fill(two)], {two: None})
    items = fetched(TwsServer({"DU1": account}))
    assert records(items, "execution").keys() == {ONE, two}
    assert records(items, "commission").keys() == {ONE}


def test_nobody_waits_for_the_commission_of_what_was_corrected() -> None:
    account = TwsAccount([fill(ONE), fill("0000e0d5.66a4.01.02")], {ONE: None})
    patient = replace(HASTY, request_timeout_s=60.0)  # waited for, it would outlast this test
    items = fetched(TwsServer({"DU1": account}), patience=patient)
    assert records(items, "commission").keys() == {"0000e0d5.66a4.01.02"}


def test_other_accounts_are_left_out() -> None:
    mine = TwsAccount([fill(ONE)], positions=[(SPY, "100", "500.25")])
    other = TwsAccount(
        [fill("0000e0d5.77aa.01.01", acctNumber="DU2")],
        positions=[(contract(conId="9"), "7", "1")],
        cash={"CHF": "1"},
    )
    server = TwsServer({"DU1": mine, "DU2": other})
    items = fetched(server, broker_account="DU1")
    assert records(items, "execution").keys() == {ONE}
    assert records(items, "position").keys() == {SPY["conId"]}
    assert records(items, "account-value").keys() == {"CashBalance/USD"}
    assert records(items, "account")["account"] == {"account": "DU1"}


@pytest.mark.parametrize("wanted", [None, "DU9"])
def test_which_of_several_accounts_has_to_be_said(wanted: str | None) -> None:
    server = TwsServer({"DU1": TwsAccount(), "DU2": TwsAccount()})
    with pytest.raises(VenueRefused, match=r"the login manages DU1, DU2.*broker_account"):
        fetched(server, broker_account=wanted)


def test_it_covers_today_since_midnight_and_nothing_before() -> None:
    statement = said(fetched(TwsServer(), SINCE_MAY))["fills"]
    assert statement.status == "partial"
    assert "only today, from 2026-05-14 04:00 UTC" in statement.reason
    assert (statement.served_from, statement.served_to) == (MIDNIGHT, NOW)


def test_midnight_is_that_of_the_configured_zone() -> None:
    statement = said(fetched(TwsServer(), timezone="Europe/Zurich"))["fills"]
    assert statement.served_from == datetime(2026, 5, 14, 22, tzinfo=UTC)


def test_nothing_is_complete_over_a_midnight() -> None:
    ticks = iter(range(100))
    server = TwsServer()
    at = datetime(2026, 5, 15, 3, 59, tzinfo=UTC)
    items = fetched(server, now=lambda: at + timedelta(minutes=next(ticks) // 2))
    assert server.connections == 2
    assert said(items)["fills"].served_from == datetime(2026, 5, 15, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("number", "evidence"),
    [(EXECUTIONS, "fills"), (POSITIONS, "positions"), (VALUES, "balances")],
)
@pytest.mark.parametrize("how", ["mute", "refused"])
def test_a_question_without_an_answer_fails_its_own_evidence_alone(
    number: int, evidence: str, how: str
) -> None:
    faults = (
        Faults(mute=frozenset({number}))
        if how == "mute"
        else Faults(refused={number: ("322", "Error processing request")}, mute=frozenset())
    )
    account = TwsAccount([fill(ONE)], positions=[(SPY, "100", "500.25")])
    items = fetched(TwsServer({"DU1": account}), faults=faults)
    found = statuses(items)
    assert found.pop(evidence) == "failed"
    assert set(found.values()) == {"complete"}
    assert said(items)[evidence].rows == 0
    kinds = {item.kind for item in items if isinstance(item, Record)}
    assert kinds & set(said(items)[evidence].kinds) == set()
    words = "322" if how == "refused" and number != POSITIONS else "did not answer within 0.4 s"
    assert words in said(items)[evidence].reason


def test_positions_are_empty_only_when_tws_has_said_that_this_is_all() -> None:
    found = statuses(fetched(TwsServer()))
    assert found["positions"] == "complete"


@pytest.mark.parametrize("number", [EXECUTIONS, POSITIONS])
def test_a_connection_that_drops_is_opened_again(number: int) -> None:
    account = TwsAccount([fill(ONE)], positions=[(SPY, "100", "500.25")])
    server = TwsServer({"DU1": account})
    items = fetched(server, faults=Faults(drop_in=frozenset({number}), drops=1))
    assert server.connections == 2
    assert set(statuses(items).values()) == {"complete"}
    assert len(records(items, "execution")) == len(records(items, "position")) == 1


def test_a_connection_that_always_drops_is_failed_and_gives_no_rows() -> None:
    server = TwsServer({"DU1": TwsAccount([fill(ONE), fill("0000e0d5.66a5.01.01")])})
    items = fetched(server, faults=Faults(drop_in=frozenset({EXECUTIONS})))
    assert server.connections == HASTY.attempts
    assert set(statuses(items).values()) == {"failed"}
    assert [item for item in items if isinstance(item, Record)] == []
    assert "the connection to TWS was lost" in said(items)["fills"].reason


def test_nobody_there_says_what_to_do() -> None:
    async def conversation() -> Items:
        async with TwsServer() as server:
            gone = source(server)
        return [item async for item in gone.fetch(TODAY)]

    items = asyncio.run(conversation())
    assert set(statuses(items).values()) == {"failed"}
    assert "enable its API" in said(items)["fills"].reason


def test_a_tws_that_says_nothing_is_given_up() -> None:
    items = fetched(TwsServer(), faults=Faults(is_silent=True))
    assert "did not open the API within 0.4 s" in said(items)["positions"].reason


def test_a_client_id_in_use_is_refused_at_once() -> None:
    server = TwsServer()
    with pytest.raises(VenueRefused, match="client id 900 is in use"):
        fetched(server, faults=Faults(is_client_id_taken=True))
    assert server.connections == 1


def test_a_tws_that_has_lost_ibkr_is_not_believed() -> None:
    lost = ("1100", "Connectivity between IBKR and Trader Workstation has been lost")
    items = fetched(TwsServer(), faults=Faults(greeting=[lost]))
    assert set(statuses(items).values()) == {"failed"}
    assert "TWS has lost its connection to IBKR (1100" in said(items)["fills"].reason


def test_a_connectivity_that_came_back_and_data_farms_are_no_matter() -> None:
    greeting = [("2110", "broken"), ("1102", "restored"), ("2104", "Market data farm is OK")]
    items = fetched(TwsServer(), faults=Faults(greeting=greeting))
    assert set(statuses(items).values()) == {"complete"}


def test_account_values_that_are_not_ready_are_not_taken() -> None:
    items = fetched(TwsServer(), faults=Faults(is_ready=False))
    assert "not ready" in said(items)["balances"].reason
    assert records(items, "account-value") == {}


def test_positions_are_taken_when_nothing_was_traded_meanwhile() -> None:
    server = TwsServer({"DU1": TwsAccount([fill(ONE)])})
    server.trades_while_asked = [fill("0000e0d5.66a5.01.01")]
    items = fetched(server)
    assert len(records(items, "execution")) == 2
    assert statuses(items)["positions"] == "complete"
    assert server.asked.count(POSITIONS) == 2


def test_positions_of_an_account_that_never_rests_are_failed() -> None:
    server = TwsServer({"DU1": TwsAccount()})
    server.trades_while_asked = [fill(f"0000e0d5.66b{n}.01.01") for n in range(9)]
    items = fetched(server)
    assert "traded during each request for its positions" in said(items)["positions"].reason


@pytest.mark.parametrize("number", [11, 59, 61, 73])
def test_a_message_that_is_too_short_is_never_half_read(number: int) -> None:
    account = TwsAccount([fill(ONE)], positions=[(SPY, "100", "500.25")])
    items = fetched(TwsServer({"DU1": account}), faults=Faults(short=frozenset({number})))
    assert "failed" in statuses(items).values()
    assert any(
        "update TWS or its Python library" in statement.reason for statement in said(items).values()
    )


def test_a_newer_tws_may_add_fields() -> None:
    server = TwsServer({"DU1": TwsAccount([fill(ONE)])}, version=178)
    execution = records(fetched(server), "execution")[ONE]
    assert execution["lastLiquidity"] == "2"
    assert execution.get("pendingPriceRevision", "0") == "0"


def test_what_the_library_would_log_stays_off_the_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    fetched(TwsServer({"DU1": TwsAccount([fill(ONE, shares="nonsense")])}))
    assert [one for one in caplog.records if one.name.startswith("ib_")] == []
    assert capfd.readouterr().err == ""


def test_check_names_the_account_and_the_master_client_id() -> None:
    [item] = checked(TwsServer())
    assert item.is_ok
    assert "DU1" in item.detail
    assert "Master API client ID" in item.notes[0]


def test_check_says_what_is_not_answered() -> None:
    server = TwsServer()
    server.faults = Faults(mute=frozenset({POSITIONS}))
    [item] = checked(server)
    assert (item.is_ok, "did not answer" in item.detail, item.remedy) == (
        False,
        True,
        "start TWS, log in, correct host, port and client_id, and run again",
    )


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("20260514 10:30:00 US/Eastern", datetime(2026, 5, 14, 14, 30, tzinfo=UTC)),
        ("20260514 10:30:00 America/New_York", datetime(2026, 5, 14, 14, 30, tzinfo=UTC)),
        ("20260514  10:30:00", datetime(2026, 5, 14, 14, 30, tzinfo=UTC)),
        ("20260514 16:30:00 Europe/Amsterdam", datetime(2026, 5, 14, 14, 30, tzinfo=UTC)),
        ("20260514-14:30:00", datetime(2026, 5, 14, 14, 30, tzinfo=UTC)),
        ("20261101 01:30:00 US/Eastern", None),  # twice
        ("20260308 02:30:00 US/Eastern", None),  # never
        ("20260514 10:30:00 Nowhere/Land", None),
        ("20260514-14:30:00 US/Eastern", None),
        ("20260514", None),
        ("", None),
    ],
)
def test_a_time_is_an_instant_or_none(text: str, instant: datetime | None) -> None:
    assert happened_at(text, NEW_YORK) == instant


def test_a_day_begins_at_midnight_of_its_zone() -> None:
    winter = datetime(2026, 1, 15, 4, 59, tzinfo=UTC)
    assert midnight(winter, NEW_YORK) == datetime(2026, 1, 14, 5, tzinfo=UTC)
    assert midnight(winter + timedelta(minutes=1), NEW_YORK) == datetime(2026, 1, 15, 5, tzinfo=UTC)


def test_the_highest_number_after_the_last_period_is_the_latest() -> None:
    ids = ["a.b.01", "a.b.02", "a.b.10", "a.c.01", "nothing", "other.x"]
    assert uncorrected(ids) == {"a.b.10", "a.c.01", "nothing", "other.x"}


@pytest.mark.parametrize(
    ("babbled", "flaw"),
    [
        (b"\xff\xff\xff\xff", "message of 4294967295 bytes, and the limit is 262144"),
        (b"\0\0\0\x04x\0y\0", "message that cannot be read"),
        (b"\0\0\0\0", "message of 0 bytes"),
    ],
)
def test_a_message_that_is_none_ends_the_visit_at_once(babbled: bytes, flaw: str) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(babbled)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    async def conversation() -> Items:
        async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
            address = TwsAddress("127.0.0.1", server.sockets[0].getsockname()[1], 900)
            once = replace(HASTY, attempts=1, request_timeout_s=5.0)
            visit = IbkrTws("tws", address, now=lambda: NOW, patience=once).fetch(TODAY)
            return [item async for item in visit]

    items = asyncio.run(conversation())
    assert set(statuses(items).values()) == {"failed"}
    for statement in said(items).values():
        assert flaw in statement.reason


def test_the_messages_of_a_visit_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_VISIT_BYTES", 500)
    items = fetched(TwsServer({"DU1": TwsAccount([fill(f"0000e0d5.{n}.01.01") for n in range(9)])}))
    assert set(statuses(items).values()) == {"failed"}
    assert "more than 500 bytes" in next(iter(said(items).values())).reason
