"""What reaches a terminal or a log: no secret, no terminal code, and nothing past the one door."""

from __future__ import annotations

import ast
import json
import logging
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from recon.commands.options import print_json
from recon.core.records import CheckItem
from recon.outside_text import remember_secret, shown_document
from recon.report.page_text import write_page
from recon.report.terminal import (
    print_checks,
    print_document,
    print_drill,
    print_filled,
    print_unowned,
)
from recon.system.output import CleanFormatter, console, echo, traceback_text
from tests.commands.test_cli import DOCUMENT

ROOT = Path(__file__).parents[2]
SECRET = "c4nary-0001"
HOSTILE = f"[bold]x[/] [link=http://e.example]y[/link] :smile: \x1b]0;t\x07\x1b[31m\u202e{SECRET}"
HARMLESS = r"[bold]x[/] [link=http://e.example]y[/link] :smile: \x1b]0;t\x07\x1b[31m\u202e"
CHILDREN = {"recon/paging/send.py", "recon/paging/poll_child.py", "recon/run/ping_send.py"}
"""They write to their parent, which cleans what it reads."""
DOOR = "recon/system/output.py"
FORBIDDEN = {
    "print",
    "click.echo",
    "click.secho",
    "Console",
    "rich.print",
    "sys.stdout.write",
    "sys.stderr.write",
    "traceback.print_exc",
    "traceback.print_exception",
    "logging.basicConfig",
    "logging.StreamHandler",
    "StreamHandler",
    "warnings.showwarning",
}


@pytest.fixture(autouse=True)
def knows() -> None:
    remember_secret("accounts.okx.api_key", SECRET)


def test_nothing_prints_past_the_one_door() -> None:
    past = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.func)}"
        for folder in ("recon", "connectors")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if str(path.relative_to(ROOT)) not in {DOOR, *CHILDREN}
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in FORBIDDEN
    ]
    assert past == []


def test_every_csv_file_is_written_of_cells_that_are_no_formulas() -> None:
    writers = {
        path.relative_to(ROOT)
        for folder in ("recon", "connectors")
        for path in (ROOT / folder).rglob("*.py")
        if "csv.writer(" in (text := path.read_text()) and "csv_cell(" not in text
    }
    assert writers == set()


def is_clean(said: str) -> bool:
    return not {"\x1b", "\x07", "\u202e"} & set(said) and SECRET not in said


def test_a_document_shows_what_text_really_holds(capsys: pytest.CaptureFixture[str]) -> None:
    document: dict[str, Any] = deepcopy(DOCUMENT)
    for one in (*document["accounts"], *document["bots"]):
        one["reasons"] = [HOSTILE]
    print_document(document, verbosity=1)
    print_checks([CheckItem(HOSTILE, HOSTILE, HOSTILE, notes=(HOSTILE,))])
    print_drill([{"channel": HOSTILE, "status": "failed", "reason": HOSTILE, "seconds": 1}])
    print_filled(
        [{"account": "a", "read": 1, "pieces": 1, "known": 0, "rows": 1, "problems": [HOSTILE]}]
    )
    said = capsys.readouterr().out
    assert is_clean(said)
    every = len(document["accounts"]) + len(document["bots"]) + 4 + 2 + 1
    assert " ".join(said.split()).count(HARMLESS) == every


def test_text_from_outside_begins_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason with a line feed in it could say `btc: agreed` in a line that looks like recon's."""
    forged = "x\nbtc: agreed"
    document: dict[str, Any] = deepcopy(DOCUMENT)
    for one in (*document["accounts"], *document["bots"]):
        one["reasons"] = [forged]
    print_document(document)
    print_checks([CheckItem(forged, forged, forged, notes=(forged,))])
    print_drill([{"channel": forged, "status": "failed", "reason": forged, "seconds": 1}])
    fill = {"at": "2026-05-14T00:00:00Z", "account": "a", "side": "buy", "qty": "1", "price": None}
    print_unowned(
        [fill | {"instrument": forged, "order": forged, "tag": forged, "assignments": []}]
    )
    print_json({"reasons": [forged]})
    said = capsys.readouterr().out
    assert not [line for line in said.splitlines() if line.strip().startswith("btc: agreed")]
    assert r"x\nbtc: agreed" in said
    page = write_page({**DOCUMENT, **shown_document({"bots": document["bots"]})}, "recon.toml")
    assert page is not None
    assert "\nbtc: agreed" not in page[1]


def test_a_table_is_as_wide_as_what_it_shows(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.table import Table

    table = Table("a", "b")
    table.add_row("\x1b\u202e", "1")
    table.add_row("plain", "2")
    console().print(table)
    first, *rest = capsys.readouterr().out.rstrip().splitlines()
    assert {len(line) for line in rest} == {len(first)}
    assert r"\x1b\u202e" in "".join(rest)


def test_echo_and_json_show_what_text_really_holds(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"{HOSTILE}\nnext")
    echo("\udc80", err=True)
    print_json({"reason": HOSTILE, "lone": "\ud800", "net": "1.0", "n": 1})
    said = capsys.readouterr()
    assert is_clean(said.out)
    assert said.out.startswith(f"{HARMLESS}[secret accounts.okx.api_key]\nnext\n")
    assert said.err == "\\udc80\n"
    document = json.loads(said.out.partition("next\n")[2])
    assert document["reason"] == f"{HARMLESS}[secret accounts.okx.api_key]"
    assert (document["lone"], document["net"], document["n"]) == ("\\ud800", "1.0", 1)


def test_a_log_line_is_one_line_and_its_traceback_is_clean() -> None:
    with pytest.raises(ValueError, match="bold") as caught:
        raise ValueError(HOSTILE) from KeyError(SECRET)
    error = caught.value
    record = logging.LogRecord("ccxt", 10, "", 1, "said %s\nERROR forged", (HOSTILE,), None)
    record.exc_info = (type(error), error, error.__traceback__)
    text = CleanFormatter("%(levelname)s %(name)s: %(message)s").format(record)
    assert is_clean(text)
    assert is_clean(traceback_text(error))
    assert text.partition("\n")[0].endswith(r"\nERROR forged")
    assert "Traceback (most recent call last)" in text


def test_what_python_itself_prints_passes_the_door() -> None:
    """Warnings, errors that nobody catches, in threads and in finalisers too."""
    program = f"""
import logging, sys, threading, warnings
from recon.commands.options import log
from recon.system.output import write_uncaught
from recon.outside_text import remember_secret
remember_secret("key", {SECRET!r})
log(2); write_uncaught()
said = {HOSTILE!r}
class Dies:
    def __del__(self): raise ValueError(said)
warnings.warn(said)
logging.getLogger("ccxt").debug(said); logging.getLogger("aiohttp").warning(said)
def fails(): raise ValueError(said)
thread = threading.Thread(target=fails); thread.start(); thread.join()
Dies()
fails()
"""
    call = [sys.executable, "-c", program]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert is_clean(done.stderr)
    assert done.stderr.count("ValueError: [bold]x") == 3
    assert done.stderr.count("[secret key]") == 5
    assert "WARNING py.warnings" in done.stderr
