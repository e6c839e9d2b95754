"""`recon check` says of a state folder that no run could use what is wrong with it."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recon.cli import run_cli
from recon.errors import ExitCode

IS_ROOT = os.geteuid() == 0
STATEMENT = """<FlexQueryResponse><FlexStatements count="1"><FlexStatement accountId="U1"
fromDate="2026-11-02" toDate="2026-11-20" whenGenerated="2026-11-21;060000"><Trades/>
<CashTransactions/><OpenPositions/></FlexStatement></FlexStatements></FlexQueryResponse>"""
CONFIG = """
[[accounts]]
id = "desk"
venue = "ibkr-flex"
currency = "USD"
since = 2026-11-02
files = "statement.xml"
"""


Say = Callable[[Path], tuple[int, str]]


def written(folder: Path) -> list[str]:
    """Write a configuration that is well; return the command that checks it."""
    (folder / "statement.xml").write_text(STATEMENT)
    (folder / "recon.toml").write_text(CONFIG)
    return ["check", "--config", str(folder / "recon.toml")]


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Say:
    """Return what types `recon check` in a folder, and gives its exit code and its words."""

    def typed(folder: Path) -> tuple[int, str]:
        code = run_cli(written(folder))
        captured = capsys.readouterr()
        return code, " ".join((captured.out + captured.err).split())

    return typed


def check_in_process(command: list[str], before: Callable[[], None] | None) -> tuple[int, str]:
    """Type a command in a process of its own, that has done `before` first."""
    done = subprocess.run(
        [sys.executable, "-m", "recon", *command],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def without_rights_of_root() -> None:
    """Bind root to the modes of files, as any other user is."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP


def small_files() -> None:
    """Have the system refuse a file of more than 64 KiB, as a full disk or a quota does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))


def a_file_in_its_place(folder: Path) -> None:
    (folder / "state").touch()


def a_file_for_reports(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "reports").touch()


def a_link_to_nothing(folder: Path) -> None:
    (folder / "state").symlink_to(folder / "gone")


@pytest.mark.parametrize("spoil", [a_file_in_its_place, a_file_for_reports, a_link_to_nothing])
def test_a_file_where_a_folder_belongs_is_named(
    spoil: Callable[[Path], None], tmp_path: Path, check: Say
) -> None:
    spoil(tmp_path)
    code, said = check(tmp_path)
    assert code == ExitCode.UNPROVEN
    assert "FAIL state folder:" in said
    assert "must be a folder" in said
    assert "recon check --config" in said


@pytest.mark.parametrize("is_there", [True, False])
def test_a_folder_that_cannot_be_written_is_named(*, is_there: bool, tmp_path: Path) -> None:
    command = written(tmp_path)
    closed = tmp_path / "state" if is_there else tmp_path
    closed.mkdir(exist_ok=True)
    closed.chmod(0o500)
    try:
        code, said = check_in_process(command, without_rights_of_root if IS_ROOT else None)
    finally:
        closed.chmod(0o700)
    assert code == ExitCode.UNPROVEN
    assert f"{closed} cannot be written" in said


def test_a_disk_without_room_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    code, said = check_in_process(written(tmp_path), small_files)
    assert code == ExitCode.UNPROVEN
    assert ": File too large" in said
    assert "make room on that disk" in said
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.skipif(not IS_ROOT, reason="only root gives a folder away")
@pytest.mark.parametrize("name", ["", "control.sqlite"])
def test_a_state_of_somebody_else_is_named(name: str, tmp_path: Path, check: Say) -> None:
    (tmp_path / "state").mkdir()
    if name:
        (tmp_path / "state" / name).touch()
    os.chown(tmp_path / "state" / name, 65534, 65534)
    code, said = check(tmp_path)
    assert code == ExitCode.USAGE
    assert "belongs to nobody" in said


def test_the_last_line_counts_and_says_what_to_type(tmp_path: Path, check: Say) -> None:
    code, said = check(tmp_path)
    assert code == ExitCode.AGREED
    counted = said[said.rindex("checks passed") - 9 :]
    [well, _, of] = counted.split()[:3]
    assert (well, said.count("ok ")) == (of, int(well))
    assert said.endswith(f"0 failed: type recon run --config {tmp_path / 'recon.toml'}")
    assert not (tmp_path / "state").exists(), "a check leaves nothing behind"


def test_a_report_that_cannot_be_read_is_named(tmp_path: Path, check: Say) -> None:
    (tmp_path / "state" / "reports").mkdir(parents=True)
    (tmp_path / "state" / "reports" / "2026-11-20.json").write_text(json.dumps({})[:1])
    code, said = check(tmp_path)
    assert code == ExitCode.UNPROVEN
    assert "2026-11-20.json is damaged" in said
