"""The demo, played end to end; and its fleet, held to a slow reckoner with fractions."""

from __future__ import annotations

import json
import shlex
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from recon.cli import run_cli
from recon.config.settings import load
from recon.core.calendars import NEW_YORK
from recon.demo.story import btc_quantum, play
from recon.demo.story.fleet import Fleet, build_fleet, story_day
from recon.demo.story.folder import Addresses, fill_folder, make_folder
from recon.demo.venues.background import in_background
from recon.demo.venues.channel import Channel
from recon.errors import ReconError, UsageError

AS_OF = date(2026, 5, 14)
FUNDING_HOURS = (0, 8, 16)
FACES = {"BTC-USDT-SWAP": "0.01", "ETH-USDT-SWAP": "0.1", "SOL-USDT-SWAP": "1"}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return build_fleet(AS_OF)


@pytest.fixture(scope="module")
def fills(fleet: Fleet) -> list[dict[str, Any]]:
    return [dict(row) for row in fleet.okx_account().fills.rows]


@pytest.fixture(scope="module")
def bills(fleet: Fleet) -> list[dict[str, Any]]:
    return [dict(row) for row in fleet.okx_account().bills.rows]


@pytest.fixture(scope="module")
def statement(fleet: Fleet) -> ET.Element:
    document = ET.fromstring(fleet.flex_statement(datetime(2026, 5, 15, 9, tzinfo=UTC)))
    found = document.find("FlexStatements/FlexStatement")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def trades(statement: ET.Element) -> list[dict[str, str]]:
    return [row.attrib for row in statement.iterfind("Trades/Trade")]


class TestTheStory:
    def test_it_ends_as_planted_and_what_it_suggests_works(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the child that sends the page
        monkeypatch.chdir(tmp_path)
        assert run_cli(["demo", "--folder", "the demo"]) == 0
        said = capsys.readouterr().out
        day = story_day(datetime.now(UTC))
        for part in (
            "DIVERGED btc-quantum, sol-forgetful",
            "claimed 1309.00 USDT, broker net -373.00",
            "divergence 1682.00 (450.94%)",
            "-1,650.00",
            "delivered",
        ):
            assert part in said

        document = json.loads(Path("the demo", "state", "reports", f"{day}.json").read_text())
        self.check_figures(document)
        suggested = play.suggested(Path("the demo"), day)
        assert all(command in said for command in suggested)
        for command in suggested:
            name, *arguments = shlex.split(command)
            assert (name, run_cli(arguments)) == ("recon", 1)
            answer = capsys.readouterr().out
            if "--json" in arguments:
                again = json.loads(answer)
                assert again["status"] == "diverged"
                assert again["bots"] == document["bots"]
        config = Path("the demo", "recon.toml")
        assert (
            run_cli(
                [
                    "run",
                    "--config",
                    str(config),
                    "--account",
                    "ibkr-demo",
                    "--as-of",
                    str(day),
                    "--no-fetch",
                    "--no-page",
                ]
            )
            == 0
        )

    def test_a_second_time_in_the_same_folder_with_json(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "demo"
        make_folder(folder)
        (folder / "state").mkdir()
        (folder / "state" / "warehouse.duckdb").write_text("of an earlier, broken run")
        (folder / "mine.txt").write_text("a note of one's own")
        assert run_cli(["demo", "--folder", str(folder), "--json"]) == 0
        said = capsys.readouterr()
        self.check_figures(json.loads(said.out))
        assert "as the channel received it" in said.err
        assert (folder / "mine.txt").read_text() == "a note of one's own"
        keys = folder / "keys"
        assert {path.stat().st_mode & 0o777 for path in keys.iterdir()} == {0o600}
        secrets = [
            path.read_text().strip() for path in keys.iterdir() if path.name != "channel-url"
        ]
        assert not [one for one in secrets if one in said.out + said.err]
        assert not [one for one in secrets if one in (folder / "recon.toml").read_text()]

    def check_figures(self, document: dict[str, Any]) -> None:
        bots = {bot["bot"]: bot for bot in document["bots"]}
        quantum = bots["btc-quantum"]["window"]
        assert quantum["claimed"] == "1309.00"
        assert quantum["broker"] == {
            "gross": "1277.00",
            "fees": "-1650.00",
            "funding": "0",
            "other": "0",
            "net": "-373.00",
            "open_costs": "0",
        }
        assert (quantum["divergence"], quantum["divergence_pct"]) == ("1682.00", "450.94")
        forgetful = bots["sol-forgetful"]["window"]
        assert Decimal(forgetful["divergence"]) == -Decimal(forgetful["broker"]["funding"])
        assert 80 < Decimal(forgetful["divergence"]) < 110
        assert forgetful["broker"]["open_costs"] != "0"
        assert {name: bot["status"] for name, bot in bots.items()} == {
            "btc-quantum": "diverged",
            "eth-honest": "agreed",
            "sol-forgetful": "diverged",
            "basket": "agreed",
        }
        assert [bots[name]["window"]["divergence"] for name in ("eth-honest", "basket")] == [
            "0",
            "0",
        ]
        assert bots["eth-honest"]["session"]["claimed"] != "0"
        accounts = {item["account"]: item for item in document["accounts"]}
        assert {item["status"] for item in accounts.values()} == {"proven"}
        assert accounts["okx-demo"]["proofs"]["cash"]["status"] == "closed"
        assert accounts["ibkr-demo"]["unowned"]["net"] == "41.17"
        assert [page["status"] for page in document["pages"]] == ["delivered"]
        assert document["status"] == "diverged"

    def test_what_differs_from_the_plan_is_said(self, fleet: Fleet) -> None:
        bots = [
            {
                "bot": name,
                "status": "unproven",
                "reasons": ["because"],
                "window": {
                    "claimed": None,
                    "divergence": None,
                    "causes": [],
                    "broker": dict.fromkeys(("gross", "fees", "funding", "net")),
                },
            }
            for name in fleet.planted()
        ]
        document = {"accounts": [], "bots": bots, "pages": []}
        played = play._Played(document, [], ["POST /"])
        with pytest.raises(ReconError, match=r"claimed is None, and not 1309\.00") as caught:
            play._check(fleet, played)
        for part in ("btc-quantum is unproven, and not diverged: ['because']", "POST /", "pages"):
            assert part in str(caught.value)


def test_the_channel_takes_pages_and_nothing_else() -> None:
    with in_background(Channel()) as channel:
        url = channel.url.replace("json:", "http:")
        for body, status in (
            (b"{}", 400),
            (b"[1]", 400),
            (b"not json", 400),
            (b'{"title": "t", "message": "m"}', 200),
        ):
            asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(asked, timeout=5) as answer:
                    found = answer.status
            except urllib.error.HTTPError as error:
                found = error.code
                error.close()
            assert found == status
    assert channel.pages == [("t", "m")]


class TestTheFolder:
    def test_a_foreign_folder_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir()
        (tmp_path / "recon.toml").write_text("mine")
        assert run_cli(["demo", "--folder", str(tmp_path)]) == 2
        assert (tmp_path / "recon.toml").read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["recon.toml", "state"]

    def test_a_file_and_a_place_that_cannot_be_written_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UsageError, match="is not a folder"):
            make_folder(tmp_path / "file")
        with pytest.raises(UsageError, match=r"cannot be made anew \(Not a directory\)"):
            make_folder(tmp_path / "file" / "below")

    def test_an_empty_one_is_taken_and_a_link_is_not_followed(self, tmp_path: Path) -> None:
        kept = tmp_path / "elsewhere"
        kept.mkdir()
        (kept / "precious").touch()
        folder = tmp_path / "demo"
        folder.mkdir()
        make_folder(folder)
        (folder / "state").symlink_to(kept)
        make_folder(folder)
        assert not (folder / "state").exists()
        assert (kept / "precious").exists()

    def test_the_configuration_is_in_the_shape_of_the_contract(
        self, tmp_path: Path, fleet: Fleet
    ) -> None:
        make_folder(tmp_path)
        names = ("okx-api-key", "okx-api-secret", "okx-passphrase", "ibkr-flex-token")
        secrets = dict.fromkeys(names, "x") | {"channel-url": "json://127.0.0.1:9/"}
        addresses = Addresses("http://127.0.0.1:1", "http://127.0.0.1:2", play.QUERY_ID)
        config = load(fill_folder(tmp_path, fleet, addresses, secrets))
        assert [bot.id for bot in config.bots] == list(fleet.planted())
        assert {account.since for account in config.accounts} == {date(2026, 4, 4)}


@pytest.mark.parametrize(
    ("now", "day"),
    [
        ("2026-05-15 00:10", "2026-05-13"),  # New York's session of the 14th ends at 00:20
        ("2026-05-15 00:20", "2026-05-14"),
        ("2026-05-18 00:05", "2026-05-17"),  # a Sunday has no session of its own
        ("2026-01-14 01:10", "2026-01-12"),  # and at 01:20 in winter
        ("2026-01-14 12:00", "2026-01-13"),
    ],
)
def test_the_story_ends_with_sessions_that_have_ended(now: str, day: str) -> None:
    assert story_day(datetime.fromisoformat(now).replace(tzinfo=UTC)) == date.fromisoformat(day)


class TestTheSwaps:
    """Average cost, by hand: one position an instrument, in fractions."""

    def reckoned(
        self, fills: Sequence[dict[str, Any]], bills: Sequence[dict[str, Any]], instrument: str
    ) -> dict[str, Fraction]:
        """Gross, fees and funding of what was closed; a position that is open keeps its own."""
        face = Fraction(FACES[instrument])
        events = [(int(row["billId"]), row) for row in fills if row["instId"] == instrument]
        events += [
            (int(row["billId"]), row)
            for row in bills
            if row["instId"] == instrument and row["type"] == "8"
        ]
        held, average = Fraction(0), Fraction(0)
        carried = {"fees": Fraction(0), "funding": Fraction(0)}
        sums = {"gross": Fraction(0), "fees": Fraction(0), "funding": Fraction(0)}
        for _, row in sorted(events, key=lambda event: event[0]):
            if "fillPx" not in row:
                carried["funding"] += Fraction(row["balChg"])
                continue
            sign = 1 if row["side"] == "buy" else -1
            qty, price = sign * Fraction(row["fillSz"]) * face, Fraction(row["fillPx"])
            if held * qty >= 0:
                average = (average * held + price * qty) / (held + qty)
                carried["fees"] += Fraction(row["fee"])
            else:
                assert abs(qty) <= abs(held)
                share = abs(qty / held)
                sums["gross"] += -qty * (price - average)
                sums["fees"] += Fraction(row["fee"]) + carried["fees"] * share
                sums["funding"] += carried["funding"] * share
                carried = {name: value * (1 - share) for name, value in carried.items()}
            held += qty
        return sums

    @pytest.mark.parametrize(
        ("bot", "instrument"),
        [
            ("btc-quantum", "BTC-USDT-SWAP"),
            ("eth-honest", "ETH-USDT-SWAP"),
            ("sol-forgetful", "SOL-USDT-SWAP"),
        ],
    )
    def test_the_venue_holds_what_is_planted(
        self,
        fleet: Fleet,
        fills: list[dict[str, Any]],
        bills: list[dict[str, Any]],
        bot: str,
        instrument: str,
    ) -> None:
        planted = fleet.planted()[bot]
        sums = self.reckoned(fills, bills, instrument)
        assert sums == {name: Fraction(getattr(planted, name)) for name in sums}
        # And the venue says so itself, closed position by closed position.
        rows = [
            row
            for row in fleet.okx_account().closed_positions().rows
            if row["instId"] == instrument
        ]
        assert sum(Fraction(str(row["realizedPnl"])) for row in rows) == sum(sums.values())

    def test_btc_quantum_is_the_story(self, fleet: Fleet, fills: list[dict[str, Any]]) -> None:
        mine = [row for row in fills if row["instId"] == "BTC-USDT-SWAP"]
        assert sum(Decimal(row["fee"]) for row in mine) == Decimal(-1650)
        assert sum(Decimal(row["fillPnl"]) for row in mine) == Decimal(1277)
        assert all(row["clOrdId"].startswith("btcq") for row in mine)
        assert not any(
            row["clOrdId"].startswith("btcq") for row in fills if row["instId"] != "BTC-USDT-SWAP"
        )
        for row in mine:
            assert Decimal(row["fillPx"]) % btc_quantum.TICK == 0
            notional = Decimal(row["fillPx"]) * Decimal(row["fillSz"]) / 100
            assert Decimal(row["fee"]) == -notional / 2000
        booked = [row.pnl for row in fleet.btc_rows()]
        assert (len(booked), sum(booked)) == (104, Decimal(1309))
        wrong = [
            pnl - trip.gross
            for pnl, trip in zip(booked, fleet.btc, strict=True)
            if pnl != trip.gross
        ]
        assert wrong == [Decimal(32)]

    def test_its_orders_are_filled_in_parts_some_within_a_millisecond(
        self, fills: list[dict[str, Any]]
    ) -> None:
        by_order = defaultdict(list)
        for row in fills:
            by_order[row["ordId"]].append(row["ts"])
        parts = [times for times in by_order.values() if len(times) > 1]
        assert len(parts) > 20
        assert any(len(set(times)) == 1 for times in parts)
        assert any(len(set(times)) == 2 for times in parts)

    def test_its_trips_lie_within_a_day_and_between_two_funding_times(self, fleet: Fleet) -> None:
        for trip in fleet.btc:
            opened, closed = trip.opened_at, trip.closed_at
            assert closed is not None
            assert opened < closed
            assert opened.date() == closed.date()
            assert opened.hour // 8 == closed.hour // 8
        assert all(a.closed_at and a.closed_at < b.opened_at for a, b in pairwise(fleet.btc))

    def test_the_freqtrade_bots_pay_at_funding_times_while_they_hold(self, fleet: Fleet) -> None:
        for trip in (*fleet.eth, *fleet.sol):
            for payment in trip.funding:
                assert payment.at.hour in FUNDING_HOURS
                assert trip.opened_at < payment.at
                assert trip.closed_at is None or payment.at < trip.closed_at
        assert sum(bool(trip.funding) for trip in fleet.eth) > 10
        assert {trip.is_short for trip in fleet.eth} == {True, False}
        assert [trip.closed_at for trip in fleet.sol].count(None) == 1

    def test_all_of_it_lies_in_the_window(self, fills: list[dict[str, Any]]) -> None:
        times = [datetime.fromtimestamp(int(row["ts"]) / 1000, UTC).date() for row in fills]
        assert times == sorted(times)
        assert (min(times) > date(2026, 4, 4), max(times)) == (True, AS_OF)

    def test_it_is_the_same_each_time(self, fleet: Fleet, fills: list[dict[str, Any]]) -> None:
        again = build_fleet(AS_OF)
        assert [dict(row) for row in again.okx_account().fills.rows] == fills
        other_day = build_fleet(date(2026, 11, 3)).planted()
        assert {bot: due.claimed for bot, due in other_day.items()} == {
            bot: due.claimed for bot, due in fleet.planted().items()
        }


class TestTheBasket:
    """First in, first out, by hand, from the statement's own rows."""

    def standing(self, trades: Sequence[dict[str, str]]) -> list[dict[str, str]]:
        """What is left when each cancel and the booking that it takes back are gone."""
        left: list[dict[str, str]] = []
        for row in trades:
            if row["transactionType"] == "TradeCancel":
                left.remove(next(o for o in left if o["tradeID"] == row["origTradeID"]))
            else:
                left.append(row)
        return left

    def test_each_row_adds_up(self, trades: list[dict[str, str]]) -> None:
        assert 25 <= len(trades) <= 30
        for row in trades:
            names = (
                "quantity",
                "tradePrice",
                "proceeds",
                "ibCommission",
                "netCash",
                "cost",
                "fifoPnlRealized",
            )
            qty, price, proceeds, commission, net, cost, pnl = (Fraction(row[n]) for n in names)
            assert proceeds == -qty * price
            assert net == proceeds + commission
            assert pnl == proceeds + commission + cost
        assert len({row["transactionID"] for row in trades}) == len(trades)

    def test_the_closes_earn_what_fifo_gives(
        self, fleet: Fleet, statement: ET.Element, trades: list[dict[str, str]]
    ) -> None:
        gross = fees = Fraction(0)
        lots: defaultdict[str, list[list[Fraction]]] = defaultdict(list)
        for row in self.standing(trades):
            qty, price = Fraction(row["quantity"]), Fraction(row["tradePrice"])
            fee = Fraction(row["ibCommission"])
            if qty > 0:
                lots[row["symbol"]].append([qty, price, fee / qty])
                continue
            before = gross + fees
            fees += fee
            while qty:
                lot = lots[row["symbol"]][0]
                closed = min(-qty, lot[0])
                gross += closed * (price - lot[1])
                fees += closed * lot[2]
                lot[0] -= closed
                qty += closed
                if not lot[0]:
                    lots[row["symbol"]].pop(0)
            assert gross + fees - before == Fraction(row["fifoPnlRealized"])
        planted = fleet.planted()["basket"]
        assert (gross, fees) == (Fraction(planted.gross), Fraction(planted.fees))
        assert gross + fees == Fraction(planted.claimed)
        assert gross + fees == sum(Fraction(row.pnl) for row in fleet.basket.vault_rows())
        held = {symbol: sum(lot[0] for lot in some) for symbol, some in lots.items() if some}
        positions = [row.attrib for row in statement.iterfind("OpenPositions/OpenPosition")]
        assert {row["symbol"]: Fraction(row["position"]) for row in positions} == held
        assert {row["levelOfDetail"] for row in positions} == {"SUMMARY"}

    def test_one_execution_is_cancelled_and_booked_again(
        self, trades: list[dict[str, str]]
    ) -> None:
        [cancel] = [row for row in trades if row["transactionType"] == "TradeCancel"]
        original, rebooked = [row for row in trades if row["tradeID"] == cancel["origTradeID"]]
        assert cancel["tradeID"] == cancel["ibExecID"] == ""
        assert Fraction(cancel["quantity"]) == -Fraction(original["quantity"])
        assert original["transactionID"] != rebooked["transactionID"]
        assert (original["ibExecID"][-3:], rebooked["ibExecID"][-3:]) == (".01", ".02")
        assert rebooked["tradeDate"] == original["tradeDate"]
        assert rebooked["reportDate"] == cancel["reportDate"] > original["reportDate"]

    def test_it_is_dated_in_new_york(
        self, fleet: Fleet, statement: ET.Element, trades: list[dict[str, str]]
    ) -> None:
        assert (statement.get("fromDate"), statement.get("toDate")) == ("2026-04-06", "2026-05-14")
        assert statement.get("whenGenerated") == "2026-05-15;05:00:00 EDT"
        for row in self.standing(trades):
            assert row["dateTime"].startswith(f"{row['tradeDate']};")
        for booked in fleet.basket.vault_rows():
            local = booked.closed_at.astimezone(NEW_YORK)
            assert (9, 30) <= (local.hour, local.minute) < (13, 0)
