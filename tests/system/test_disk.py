"""Errors of disks: their cause is named, with its remedy, whatever library met them."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from recon.cli import run_cli
from recon.errors import ExitCode, StateError
from recon.system.disk import REMEDY, no_space, shortage, trouble
from recon.system.state_folder import held, storing
from tests.support.small_disk import why_none

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "no space left on {mount} ("),
        (errno.EDQUOT, "no space left on {mount} for this user"),
        (errno.EROFS, "{mount} is mounted read-only"),
        (errno.EIO, "{mount} cannot be read or written"),
        (errno.EMFILE, "too many open files"),
        (errno.ENFILE, "too many open files"),
        (errno.EFBIG, "a file cannot grow beyond the limit on its size"),
    ],
)
def test_what_any_file_may_meet_is_named(number: int, says: str, tmp_path: Path) -> None:
    mount = next(one for one in (tmp_path, *tmp_path.parents) if one.is_mount())
    made = OSError(number, os.strerror(number), str(tmp_path / "none" / "file"))
    in_duckdb = duckdb.TransactionException(f"Failed to commit: {os.strerror(number)}")
    for error in (made, in_duckdb):
        found = shortage(error, tmp_path)
        assert found is not None
        assert found.what.startswith(says.format(mount=mount)), found
        assert found.remedy
    with pytest.raises(StateError, match=r"the state folder .* cannot be used"), storing(tmp_path):
        raise made


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError("late"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
        duckdb.BinderException("no such column"),
        duckdb.TransactionException("cannot start a transaction within a transaction"),
        KeyError("x"),
    ],
)
def test_what_is_of_no_disk_is_left_as_it_is(error: Exception, tmp_path: Path) -> None:
    assert trouble(error, tmp_path) is None
    with pytest.raises(type(error)), storing(tmp_path):
        raise error


def test_a_file_that_another_process_holds_or_that_is_damaged_is_no_shortage(
    tmp_path: Path,
) -> None:
    path = tmp_path / "file.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as one:
        one.execute("create table t (n)")
        one.execute("begin immediate")
        with (
            closing(sqlite3.connect(path, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError) as busy,
        ):
            other.execute("insert into t values (1)")
    path.write_bytes(b"no database at all, and long enough" * 100)
    with closing(sqlite3.connect(path)) as one, pytest.raises(sqlite3.DatabaseError) as damaged:
        one.execute("select * from t")
    for raised, remedy in ((busy, "another process holds the file"), (damaged, REMEDY)):
        assert shortage(raised.value, tmp_path) is None
        found = trouble(raised.value, tmp_path)
        assert found is not None
        assert found.remedy.startswith(remedy)


def test_a_full_disk_beneath_another_error_is_found(tmp_path: Path) -> None:
    refused = ValueError("refused")
    refused.__context__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert no_space(refused, tmp_path) is not None
    assert no_space(OSError(errno.EIO, os.strerror(errno.EIO)), tmp_path) is None


def test_a_lock_for_which_there_is_no_space_is_no_mistake_in_the_configuration(
    tmp_path: Path,
) -> None:
    lock = held(tmp_path / "lock", "", 0.0)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(StateError, match="too many open files"):
            lock.__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


ON_A_FULL_DISK = """
import sys
from pathlib import Path
from tests.support.small_disk import small_disk
folder = Path(sys.argv[1])
with small_disk(folder, 0):
    from recon.cli import run_cli
    with (folder / "log").open("ab") as file:
        import os
        while True:
            try:
                os.write(file.fileno(), b"x" * 4096)
            except OSError:
                break
        if sys.argv[2] != "0":
            os.dup2(file.fileno(), int(sys.argv[2]))
    status = run_cli(sys.argv[3:])
os._exit(status)
"""


def on_a_full_disk(folder: Path, stream: int, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command on a full disk; its output, 1 or 2, goes there as well, with 0 none of it."""
    if lacks := why_none():
        pytest.skip(f"a small disk needs {lacks}")
    return subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, str(folder), str(stream), *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_output_that_a_full_disk_does_not_take_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    done = on_a_full_disk(tmp_path / "disk", 1, "--help")
    assert done.returncode == ExitCode.UNPROVEN, done
    assert done.stderr.startswith("recon: no space left on "), done


def test_a_log_that_a_full_disk_does_not_take_changes_no_exit_status(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    none = str(tmp_path / "none.toml")
    assert run_cli(["breaks", "--config", none]) == ExitCode.USAGE
    done = on_a_full_disk(tmp_path / "disk", 2, "breaks", "--config", none)
    assert done.returncode == ExitCode.USAGE, done
