"""`recon explain`: what an operator sees of a divergence, and what it leaves untouched."""

from __future__ import annotations

import csv
import json
import random
import shutil
from copy import deepcopy
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from recon.cli import run_cli
from recon.core.numbers import rounded, text
from recon.errors import ExitCode
from recon.report.page_text import write_page
from recon.run.explain import write_evidence
from tests.support.faulty_bots import Liar
from tests.support.fleet import AS_OF, BTC, OPENING, Trader, account, one_night, rows


@pytest.fixture(scope="module")
def lied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Liar, Path]:
    """A bot that forgets its fees and books one trade twice, and the folder of its night."""
    folder = tmp_path_factory.mktemp("lied")
    book = account()
    liar = Liar(random.Random("explained"), 1, ["fee_missing", "duplicate"], book)
    liar.live(8)
    one_night(folder, book, bots=[liar.bot])
    return liar, folder


@pytest.fixture
def liar(lied: tuple[Liar, Path], tmp_path: Path) -> Liar:
    """Return the bot after its run, and a copy of the run's folder in `tmp_path`."""
    liar, folder = lied
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return deepcopy(liar)


def explained(folder: Path, *arguments: str) -> int:
    return run_cli(["explain", "bot1", "--config", str(folder / "recon.toml"), *arguments])


def test_the_document_adds_up_and_has_the_fills_of_the_worst_trades(
    liar: Liar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(tmp_path, "--as-of", str(AS_OF), "--json") == ExitCode.DIVERGED
    told = json.loads(capsys.readouterr().out)
    assert sum(Decimal(one["amount"]) for one in told["window"]["causes"]) == Decimal(
        told["window"]["divergence"]
    )
    assert {one["cause"] for one in told["window"]["causes"]} == {
        "fee_missing",
        "duplicate",
        "unexplained",
    }
    assert sum(Decimal(one["amount"]) for one in told["evidence"]) == Decimal(
        told["window"]["divergence"]
    )
    worst = [abs(Decimal(one["amount"])) for one in told["trades"]]
    assert worst == sorted(worst, reverse=True)
    for trade in told["trades"]:
        assert Decimal(trade["amount"]) == sum(Decimal(one["amount"]) for one in trade["causes"])
        named = trade["booked"]["order_ids"]
        assert {fill["order"] for fill in trade["fills"]} == set(named)
        assert {fill["rule"] for fill in trade["fills"]} == {"order id"}
        assert sum(Decimal(fill["qty"]) for fill in trade["fills"]) >= 2 * Decimal(4)


def test_the_terminal_shows_a_waterfall_and_says_what_is_probably_wrong(
    liar: Liar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(tmp_path, "--as-of", str(AS_OF), "--trade", "1.0") == ExitCode.DIVERGED
    out = capsys.readouterr().out
    assert out.index("claimed") < out.index("fee_missing") < out.index("broker net")
    assert "trade 1.0" in out
    assert "matched by" in out


def test_a_row_that_was_edited_shows_what_it_was(
    liar: Liar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, liar.rows[0]["pnl"] = liar.rows[0]["pnl"], "77.5"
    one_night(tmp_path, liar.book, bots=[liar.bot])
    explained(tmp_path, "--as-of", str(AS_OF), "--trade", "1.0", "--json")
    [trade] = json.loads(capsys.readouterr().out)["trades"]
    assert [Decimal(one["pnl"]) for one in trade["earlier"]] == [Decimal(before)]
    assert trade["booked"]["pnl"] == "77.50"


def test_a_session_that_agrees_has_nothing_to_explain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    liar = Liar(random.Random("honest"), 1, [], account())
    liar.live(3)
    one_night(tmp_path, liar.book, bots=[liar.bot])
    assert explained(tmp_path, "--as-of", str(AS_OF - timedelta(days=1))) == ExitCode.AGREED
    assert "no divergence" in capsys.readouterr().out
    assert explained(tmp_path, "--as-of", str(AS_OF), "--trade", "1.0", "--json") == 0
    [trade] = json.loads(capsys.readouterr().out)["trades"]
    assert trade["fills"]


def test_nothing_that_it_does_stays(liar: Liar, tmp_path: Path) -> None:
    tables = ("config.accounts", "causes.found", "pnl.total", "raw.coverage", "lots.through")
    before = [rows(tmp_path, f"from {table} order by all") for table in tables]
    assert explained(tmp_path, "--as-of", str(AS_OF - timedelta(days=3))) == ExitCode.DIVERGED
    assert [rows(tmp_path, f"from {table} order by all") for table in tables] == before


def test_the_evidence_is_one_row_a_cause_and_no_spreadsheet_runs_it(
    liar: Liar, tmp_path: Path
) -> None:
    path = tmp_path / "evidence.csv"
    explained(tmp_path, "--as-of", str(AS_OF), "--csv", str(path))
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    total = rows(tmp_path, "select sum(amount) from causes.found")[0][0]
    assert sum(Decimal(row["amount"]) for row in found) == total
    write_evidence(
        path, {"evidence": [dict.fromkeys(found[0], "=1+1") | {"amount": "-1", "trade": None}]}
    )
    [row] = csv.DictReader(path.read_text().splitlines())
    assert (row["says"], row["amount"], row["trade"]) == ("'=1+1", "-1", "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["explain", "nobody"], "there is no bot 'nobody' in the configuration: use one of bot1"),
        (["explain", "bot1", "--trade", "9.9"], "the database of bot1 has no closed trade '9.9'"),
    ],
)
def test_what_is_not_there_is_said(
    liar: Liar,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    config = ["--config", str(tmp_path / "recon.toml"), "--as-of", str(AS_OF)]
    assert run_cli([*arguments, *config]) == ExitCode.USAGE
    assert says in capsys.readouterr().err


def test_before_any_run_there_is_nothing_to_explain(
    liar: Liar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "state")
    assert explained(tmp_path) == ExitCode.USAGE
    assert "run recon run first" in capsys.readouterr().err


def test_fills_that_no_trade_has_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = account()
    book.trade(BTC, "buy", 10, 60_000, OPENING + timedelta(days=2), fee=0)
    book.liquidate(BTC, 55_000, OPENING + timedelta(days=3))
    one_night(tmp_path, book, bots=[Trader(id="bot1", trades=[])])
    assert explained(tmp_path, "--as-of", str(AS_OF)) == ExitCode.DIVERGED
    out = capsys.readouterr().out
    assert "In no trade of the bot" in out
    assert "liquidation" in out


def test_a_cause_has_one_sign_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cause's amount is the part of the divergence that it explains, + where more is claimed."""
    book = account()
    liar = Liar(random.Random("signs"), 1, ["fee_missing", "funding_misplaced"], book)
    liar.live(8)
    document = one_night(tmp_path, book, bots=[liar.bot])
    [bot] = document["bots"]
    due = {
        one["cause"]: Decimal(one["amount"])
        for one in bot["window"]["causes"]
        if one["amount"] != "0"
    }
    assert min(due.values()) < 0 < max(due.values())
    truth = Decimal(bot["window"]["broker"]["net"])
    assert Decimal(bot["window"]["claimed"]) - sum(due.values()) == truth
    page = write_page(document, "recon.toml")
    assert page is not None
    for cause, amount in due.items():
        assert f"{cause} {text(amount)}" in page[1]
    csv_path = tmp_path / "evidence.csv"
    arguments = ("--as-of", str(AS_OF), "--csv", str(csv_path))
    explained(tmp_path, *arguments, "--json")
    told = json.loads(capsys.readouterr().out)
    assert {one["cause"]: Decimal(one["amount"]) for one in told["window"]["causes"]} == {
        **due,
        "unexplained": 0,
    }
    with csv_path.open(newline="") as file:
        written = list(csv.DictReader(file))
    for rows_of_it in (written, told["evidence"]):
        sums = dict.fromkeys(due, Decimal(0))
        for row in rows_of_it:
            sums[row["cause"]] += Decimal(row["amount"])
        assert sums == due
    explained(tmp_path, *arguments)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    named = [line for line in lines if len(line) > 2 and line[0] in due]
    shown = {line[0]: line[1] for line in reversed(named)}  # the waterfall comes before the trades
    assert shown == {cause: f"{rounded(amount):+,f}" for cause, amount in due.items()}
    offs = [abs(Decimal(trade["amount"])) for trade in told["trades"]]
    assert offs == sorted(offs, reverse=True)
    assert all(offs)


def test_a_trade_that_is_off_by_nothing_is_not_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trades are sorted by what they are off by, and not by what their causes move."""
    book, at = account(), OPENING + timedelta(days=2)
    rows_of_books = []
    for number, (gross, fee, pnl) in enumerate(
        (("5", "-5", "0"), ("1", "0", "1"), ("0", "0", "0"))
    ):
        orders = (f"8{number}1", f"8{number}2")
        for place, name in enumerate(orders):
            book.trade(
                BTC,
                "sell" if place else "buy",
                1,
                1_000,
                at + timedelta(hours=number),
                fee=0,
                ord_id=name,
            )
        closed = f"{at + timedelta(hours=number):%Y-%m-%d %H:%M:%S}"
        rows_of_books.append(
            {
                "trade_id": str(number),
                "instrument": BTC,
                "side": "long",
                "qty": "1",
                "opened_at": closed,
                "closed_at": closed,
                "entry_price": "1000",
                "exit_price": "1000",
                "gross": gross,
                "fee": fee,
                "funding": "0",
                "pnl": pnl,
                "order_ids": ",".join(orders),
            }
        )
    one_night(tmp_path, book, bots=[Trader(id="bot1", trades=rows_of_books)])
    explained(tmp_path, "--as-of", str(AS_OF), "--json")
    told = json.loads(capsys.readouterr().out)
    assert [(one["trade"], one["amount"]) for one in told["trades"]] == [("1", "1.00")]


def test_commands_that_ask_no_venue_need_no_venue_secret(
    liar: Liar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for secret in ("api_key", "api_secret", "passphrase"):
        (tmp_path / f"okx.{secret}").unlink()
    at, config = ("--as-of", str(AS_OF)), ("--config", str(tmp_path / "recon.toml"))
    for arguments in (
        ("explain", "bot1", *at),
        ("run", "--no-fetch", "--no-page", *at),
        ("run", "--known-at", "2100-01-01"),
        ("breaks",),
        ("mapping", "new", str(tmp_path / "mine"), "--bot", "bot1"),
    ):
        assert run_cli([*arguments, *config]) in (ExitCode.AGREED, ExitCode.DIVERGED), arguments
    capsys.readouterr()
    assert run_cli(["run", "--no-page", *at, *config]) == ExitCode.USAGE
    assert "okx.api_key" in capsys.readouterr().err
