"""Errors: which exit status each one has, and that cleaning up never hides the first one."""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from recon.errors import afterwards, afterwards_async, clean_up, closing
from recon.warehouse.database import Warehouse

ROOT = Path(__file__).resolve().parents[1]


class Broken:
    """A thing that cannot be closed."""

    def __init__(self) -> None:
        self.tried = 0

    def close(self) -> None:
        self.tried += 1
        raise OSError("cannot be closed")

    async def aclose(self) -> None:
        self.close()


@contextmanager
def cleaned_up(thing: Broken) -> Iterator[None]:
    error: BaseException | None = None
    try:
        yield
    except KeyError as raised:
        error = raised
        raise
    finally:
        clean_up(thing.close, after=error)


@pytest.mark.parametrize("block", [closing, cleaned_up, lambda thing: afterwards(thing.close)])
def test_an_error_in_cleaning_up_is_a_note_on_the_first_error(block: object) -> None:
    assert callable(block)
    thing = Broken()
    with pytest.raises(KeyError, match="first") as raised, block(thing):
        raise KeyError("first")
    assert raised.value.__notes__ == ["then, during clean-up: OSError: cannot be closed"]
    with pytest.raises(OSError, match="cannot be closed"), block(thing):
        pass
    assert thing.tried == 2


def test_so_it_is_where_cleaning_up_is_awaited() -> None:
    thing = Broken()

    async def failing(*, is_first: bool) -> None:
        async with afterwards_async(thing.aclose):
            if is_first:
                raise KeyError("first")

    with pytest.raises(KeyError, match="first") as raised:
        asyncio.run(failing(is_first=True))
    assert raised.value.__notes__ == ["then, during clean-up: OSError: cannot be closed"]
    with pytest.raises(OSError, match="cannot be closed"):
        asyncio.run(failing(is_first=False))
    assert thing.tried == 2


FULL = """
import resource, signal, sys
from pathlib import Path
from recon.control.database import open_control, transaction
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
db = open_control(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    with transaction(db):
        for number in range(3000):
            db.execute("insert into runs (run, as_of, started_at) values (?, ?, ?)",
                       (str(number), "x" * 3000, "now"))
except Exception as error:
    print(type(error).__name__, error)
with transaction(db):
    print(db.execute("select count(*) from runs").fetchone()[0])
"""


def test_a_disk_that_is_full_is_the_error_and_not_the_rollback(tmp_path: Path) -> None:
    """SQLite rolls back by itself where a write fails: there is nothing to roll back then."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "control.sqlite")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said, left = done.stdout.splitlines()
    assert said.startswith("OperationalError ")
    assert "I/O" in said or "full" in said
    assert left == "0"


def test_a_damaged_block_is_the_error_whatever_has_to_be_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with Warehouse(path) as warehouse:
        warehouse.run("create table raw.numbers as select hash(i) as n from range(200000) r(i)")
        warehouse.checkpoint()
        [block, *_] = warehouse.rows(
            "select block_id from pragma_storage_info('raw.numbers') where block_id >= 0"
        )
    with path.open("r+b") as file:
        file.seek(3 * 4096 + block["block_id"] * 262144 + 5000)
        was = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([was[0] ^ 1]))
    with (
        pytest.raises(duckdb.Error, match="Corrupt database file"),
        Warehouse(path) as warehouse,
        warehouse.transaction(),
        warehouse.registered("more", warehouse.arrow("select 1 as n")),
    ):
        warehouse.run("create table raw.copied as select sum(n) as n from raw.numbers")


CLOSING = {"close", "aclose", "rollback", "disconnect", "unregister", "cleanup"}


@pytest.mark.parametrize("folder", ["recon", "connectors"])
def test_nothing_is_closed_where_its_error_would_hide_another(folder: str) -> None:
    """No `finally` closes anything, and no `closing` of the standard library does."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path.is_relative_to(ROOT / "recon" / "demo"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "contextlib":
                assert not {"closing", "aclosing"} & {each.name for each in node.names}, path
            for each in node.finalbody if isinstance(node, ast.Try) else []:
                called = {
                    call.func.attr
                    for call in ast.walk(each)
                    if isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and not (isinstance(call.func.value, ast.Name) and call.func.value.id == "os")
                }
                assert not called & CLOSING, f"{path}:{each.lineno}"
