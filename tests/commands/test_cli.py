from __future__ import annotations

import json
import logging
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from recon.cli import cli, run_cli
from recon.core.records import CheckItem
from recon.errors import ExitCode
from recon.report.terminal import print_checks, print_document


def test_help_names_every_command_and_every_exit_code() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for word in (*cli.commands, *(str(int(code)) for code in ExitCode)):
        assert word in result.output


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["run", "--nonsense"], ["run", "--as-of", "x"]]
)
def test_a_wrong_call_is_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(arguments) == ExitCode.USAGE
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err


def test_a_wrong_configuration_is_two_and_says_what(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recon.toml"
    path.write_text("[recon]\nspeed = 3\n")
    assert run_cli(["run", "--json", "--config", str(path)]) == ExitCode.USAGE
    output = capsys.readouterr()
    assert output.out == ""
    assert f"{path}: recon.speed: an unknown key" in output.err


HERE, ELSEWHERE = "here.toml", "elsewhere.toml"


@pytest.mark.parametrize(
    ("before", "after"), [(HERE, None), (None, HERE), (ELSEWHERE, HERE)], ids=str
)
@pytest.mark.parametrize("command", [["run"], ["audit"], ["mapping", "new", "f", "--bot", "b"]])
def test_the_configuration_may_be_named_before_and_after_the_command(
    command: list[str],
    before: str | None,
    after: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECON_CONFIG", "environment.toml")
    said = [["--config", name] if name else [] for name in (before, after)]
    assert run_cli([*said[0], *command, *said[1]]) == ExitCode.USAGE
    assert HERE in capsys.readouterr().err


def test_without_a_configuration_named_the_environment_names_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_CONFIG", "/nowhere/environment.toml")
    assert run_cli(["--json", "audit"]) == ExitCode.USAGE
    assert "/nowhere/environment.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--json", "schedule"], ["schedule", "--json"], ["--json", "schedule", "--json"]],
    ids=" ".join,
)
def test_a_document_may_be_asked_for_before_and_after_the_command(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recon.toml"
    secrets = [f'{key} = {{ env = "UNSET" }}' for key in ("api_key", "api_secret", "passphrase")]
    account = ['id = "o"', 'venue = "okx"', 'currency = "USDT"', "since = 2026-05-01", *secrets]
    path.write_text("\n".join(["[[accounts]]", *account]))
    assert run_cli([*arguments, "--config", str(path)]) == ExitCode.AGREED
    assert "crontab" in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        (["audit"], logging.WARNING),
        (["-v", "audit"], logging.INFO),
        (["audit", "-v"], logging.INFO),
        (["-vv", "audit"], logging.DEBUG),
        (["-vv", "audit", "-v"], logging.INFO),
        (["-v", "audit", "-vv"], logging.DEBUG),
    ],
)
def test_verbosity_may_be_given_before_and_after_the_command(
    arguments: list[str], level: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's own: logging is set up once
    monkeypatch.setattr(logging.root, "level", logging.NOTSET)
    run_cli([*arguments, "--config", str(tmp_path / "none.toml")])
    assert logging.getLogger().level == level


@pytest.mark.parametrize("command", [[], ["run"], ["mapping"], ["mapping", "new"]], ids=" ".join)
def test_help_shows_the_shared_options_in_both_places(command: list[str]) -> None:
    said = CliRunner().invoke(cli, [*command, "--help"]).output
    for option in ("--config", "--json", "-v, --verbose"):
        assert said.count(f"  {option} ") == 1


def test_the_module_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recon", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("recon, version ")


def test_debugging_never_shows_what_ccxt_would_say(tmp_path: Path) -> None:
    run_cli(["run", "-vv", "--config", str(tmp_path / "none.toml")])
    assert logging.getLogger("ccxt").getEffectiveLevel() >= logging.INFO
    assert logging.getLogger("urllib3").getEffectiveLevel() >= logging.INFO


DOCUMENT = {
    "as_of": "2026-05-14", "run": "r", "status": "unproven",
    "accounts": [{
        "account": "okx", "status": "failed", "currency": "USDT",
        "coverage": {"fills": "failed", "ledger": "partial", "positions": "complete"},
        "proofs": {"positions": {"status": "broken"}, "cash": {"status": "absent"}},
        "window": dict.fromkeys(["net", "open_costs", "unrealised"]),
        "unowned": {"net": None, "fills": None}, "netting": None,
        "proven_window": None, "valuation": {},
        "reasons": ["the key [bold]says[/bold] trade"],
    }],
    "bots": [{
        "bot": "btc", "account": "okx", "status": "unproven", "reasons": ["its account failed"],
        **{span: {"claimed": "1309.00", "divergence": None, "divergence_pct": None, "broker": {
            **dict.fromkeys(["gross", "fees", "funding", "net", "open_costs"]),
            "other": "-12345.678"}}
           for span in ("window", "session")},
    }],
    "restatements": [],
    "breaks": [
        {"break": "b1", "bot": "btc", "kind": "window", "divergence": "1682.00", "age_sessions": 3,
         "status": "open"}
    ],
    "pages": [{"page": "p1", "status": "failed"}],
}  # fmt: skip


def shown(width: int = 100) -> str:
    out = StringIO()
    print_document(json.loads(json.dumps(DOCUMENT)), console=Console(file=out, width=width))
    return out.getvalue()


def test_the_table_shows_the_unknown_as_unknown() -> None:
    text = shown()
    for part in ("as of 2026-05-14", "1,309.00", "-12,345.68", "?", "3 sessions old", "p1: failed"):
        assert part in text
    assert "0.00" not in text


def test_the_table_fits_eighty_columns() -> None:
    assert all(len(line) <= 80 for line in shown(80).splitlines() if "─" in line)


def test_what_a_venue_says_is_not_taken_for_markup() -> None:
    assert "[bold]says[/bold]" in shown()


def test_breaks_say_how_they_stand_and_sign_offs_stay_in_sight() -> None:
    assert "b1: btc window 1,682.00, 3 sessions old, open" in shown()  # as an earlier run told it
    document = json.loads(json.dumps(DOCUMENT))
    document["breaks"][0] |= {"severity": "critical", "reopened": True}
    document["bots"][0]["signed_off"] = {
        "amount": "1682.00",
        "beyond": "0",
        "as_of": "2026-05-10",
        "by": "[anna]",
        "reason": "old",
    }
    document["journal"] = {"entries": 7, "head": "ab12"}
    out = StringIO()
    print_document(document, verbosity=1, console=Console(file=out, width=120))
    for line in (
        "break b1: btc window 1,682.00, 3 sessions old, critical, open (reopened)",
        "signed off: btc 1,682.00 as of 2026-05-10 by [anna]: old; 0.00 beyond it",
        "journal: 7 entries, head ab12",
    ):
        assert line in out.getvalue()


def test_checks_say_what_to_do() -> None:
    out = StringIO()
    items = [
        CheckItem("account okx", "reached", is_ok=True, notes=("add an allow-list",)),
        CheckItem("bot btc", "no such file", remedy="correct bots.btc.books"),
    ]
    print_checks(items, Console(file=out, width=80))
    assert out.getvalue().splitlines() == [
        "ok   account okx: reached",
        "     add an allow-list",
        "FAIL bot btc: no such file",
        "     correct bots.btc.books",
        "1 of 2 checks passed, 1 failed: correct them, then type  recon check",
    ]


def test_a_narrow_terminal_folds_a_figure_and_never_cuts_it() -> None:
    text = shown(60)
    assert "…" not in text
