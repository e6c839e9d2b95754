"""Hostile mappings: every query of `hostile_queries/` is refused, and reaches nothing.

The files are data, described in their README.md. A query that can only end at a limit of time or
memory is in `heavy.sql` or made by `NESTED`, and takes part in the slow test.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pytest

from recon.bot_databases.mapping_rules import FUNCTIONS
from recon.bot_databases.mappings import find_mapping
from recon.bot_databases.run_mapping import MappingAnswers, MappingLimits, read_books
from recon.errors import BotDatabaseError, ConfigError
from tests.bot_databases.test_run_mapping import QUERY, select

FOLDER = Path(__file__).parent / "hostile_queries"
SECRET = "SECRET-OF-ANOTHER-4711"
VARIABLE = "RECON_TEST_SECRET"
NEEDED = 500

_COLUMNS = {"expr": "trade_id", "pnl": "pnl", "closed_at": "closed_at"}


def queries(name: str) -> Iterator[str]:
    """Return the queries of one file, each with its values filled in."""
    for part in (FOLDER / f"{name}.sql").read_text(encoding="utf-8").split("\n---\n"):
        match = re.fullmatch(r"(?:each: (.*)\n)?((?:.|\n)*)", part.strip("\n"))
        assert match is not None
        if match[2]:
            values = re.split(r" \| ", match[1]) if match[1] else [""]
            for value in values:
                yield _whole(match[2].replace("{each}", value.replace("\\n", "\n")))


def _whole(text: str) -> str:
    kind, _, rest = text.partition(": ")
    if kind == "from":
        return select(QUERY, f"from {rest}")
    if kind in _COLUMNS:
        return select(QUERY | {_COLUMNS[kind]: rest}, "from bot.trades")
    return text


CHEAP = ("files", "catalogue", "settings_and_environment", "statements", "unicode_and_types")

NESTED = {
    "parentheses": "select " + "(" * 100_000 + "1" + ")" * 100_000,
    "sums": "select " + "+".join(["1"] * 100_000),
    "signs": "select " + "- " * 100_000 + "1",
    "lists": "select " + "[" * 50_000 + "1" + "]" * 50_000,
    "negations": "select " + "not " * 50_000 + "true",
    "calls": "select " + "abs(" * 20_000 + "1" + ")" * 20_000,
    "cases": "select " + "case when true then " * 10_000 + "1" + " end" * 10_000,
    "subqueries": "select " + "(select " * 5_000 + "1" + ")" * 5_000,
    "sources": "select * from " + "(from " * 20_000 + "bot.trades" + ")" * 20_000,
    "casts": "select 1" + "::int" * 40_000,
    "subscripts": "select x" + "[1]" * 60_000,
    "fields": "select a" + ".a" * 100_000,
    "unions": "select 1 as a" + " union all select 1" * 10_000,
    "joins": "select * from bot.trades" + ", bot.trades" * 5_000,
    "columns": "select " + ", ".join(f"1 as a{n}" for n in range(18_000)),
    "comments": "/*" * 100_000,
    "conditions": "select 1 where " + " and ".join(["1=1"] * 25_000),
    "doubling": "with a0 as (from (values (1), (2)) as t(x)), "
    + ", ".join(f"a{n} as (select a.x from a{n - 1} as a, a{n - 1} as b)" for n in range(1, 60))
    + f" {select(QUERY, 'from a59')}",
    "macros": "select " + "exact(" * 40 + "'1'" + ")" * 40,
    "types": "select null::" + "struct(a " * 20_000 + "int" + ")" * 20_000,
    "lambdas": "select " + "list_transform([1], lambda x: " * 5_000 + "1" + ")" * 5_000,
}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder of a mapping, with secrets wherever a query could look for some."""
    for folder in ("mapping", ".tmp", "scratch"):
        (tmp_path / folder).mkdir()
    for folder in (".tmp", "scratch"):
        (tmp_path / folder / "secret.csv").write_text(f"a\n{SECRET}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    monkeypatch.setenv(VARIABLE, SECRET)
    before = sorted(tmp_path.rglob("*"))
    yield tmp_path
    after = [path for path in sorted(tmp_path.rglob("*")) if path.name != "trades.sql"]
    assert after == before, "a query wrote something"


def run(desk: Path, query: str, limits: MappingLimits) -> MappingAnswers:
    """Run one query as the mapping of a bot that has one table."""
    text = query.replace("{canary}", str(desk / "scratch" / "secret.csv"))
    text = text.replace("{spill}", str(desk / "scratch")).replace("{env}", VARIABLE)
    (desk / "mapping" / "trades.sql").write_text(text, encoding="utf-8")
    rows = pa.table({"id": pa.array(["1", "2"], pa.string())})
    mapping = find_mapping("mapping", desk)
    return read_books(mapping, {"trades": [("id", "BIGINT")]}, {"trades": rows}, limits=limits)


def refusal(desk: Path, query: str, limits: MappingLimits) -> str:
    """Return why a query was refused; "" where it was answered."""
    try:
        run(desk, query, limits)
    except (BotDatabaseError, ConfigError) as error:
        return str(error)
    return ""


def test_there_are_enough_and_no_two_are_equal() -> None:
    every = list(chain.from_iterable(queries(name) for name in (*CHEAP, "heavy")))
    assert len(set(every)) + len(NESTED) >= NEEDED
    assert len(set(every)) == len(every)


@pytest.mark.parametrize("name", CHEAP)
def test_every_query_is_refused_and_named(desk: Path, name: str) -> None:
    limits = MappingLimits(time_s=20, scratch=desk / "scratch")
    wrong = []
    for query in queries(name):
        said = refusal(desk, query, limits)
        if "trades.sql" not in said or SECRET in said:
            wrong.append((query, said))
    assert wrong == []
    assert run(desk, select(QUERY, "from bot.trades"), limits).trades.num_rows == 2


def test_harmless_queries_are_answered_from_the_tables_of_the_bot(desk: Path) -> None:
    limits = MappingLimits(time_s=20, scratch=desk / "scratch")
    for query in queries("harmless"):
        rows = run(desk, query, limits).trades.to_pylist()
        assert rows
        assert SECRET not in str(rows)


@contextmanager
def _peak_mb_of_children() -> Iterator[list[int]]:
    """Yield a list of the most memory that each child process of ours has held, in MB.

    It is read from /proc while they run: what `getrusage` tells of a child includes the size that
    its parent had when the child was started.
    """
    peaks: dict[str, int] = {}
    is_over = threading.Event()
    found: list[int] = []

    def watch() -> None:
        ours = Path(f"/proc/{os.getpid()}/task")
        while not is_over.wait(0.02):
            for child in " ".join(path.read_text() for path in ours.glob("*/children")).split():
                with suppress(OSError):
                    status = Path(f"/proc/{child}/status").read_text()
                    if (high := re.search(r"VmHWM:\s+(\d+)", status)) is not None:
                        peaks[child] = max(int(high[1]) // 1024, peaks.get(child, 0))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        is_over.set()
        watcher.join()
        found.extend(peaks.values())


def test_a_query_that_takes_too_much_ends_alone(desk: Path) -> None:
    """One of each kind: time that no interrupt ends, memory, rows, recursion, nesting."""
    limits = MappingLimits(time_s=2, memory_mb=256, scratch=desk / "scratch")
    some = [
        select(QUERY | {"trade_id": "list_sum(range(300000000))"}),
        select(QUERY | {"trade_id": "lpad('a', 2000000000, 'b')"}),
        NESTED["parentheses"],
    ]
    for query in some:
        assert "trades.sql" in refusal(desk, query, limits), query[:200]
        fine = MappingLimits(time_s=60, memory_mb=256, scratch=desk / "scratch")
        assert run(desk, select(QUERY, "from bot.trades"), fine).trades.num_rows == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len([*queries("heavy"), *NESTED])))
def test_every_heavy_query_ends_at_a_limit(desk: Path, number: int) -> None:
    limits = MappingLimits(time_s=10, memory_mb=512, scratch=desk / "scratch")
    query = [*queries("heavy"), *NESTED.values()][number]
    with _peak_mb_of_children() as peaks:
        assert "trades.sql" in refusal(desk, query, limits), query[:200]
    assert max(peaks, default=0) < 1024  # none where it is refused at once
    assert run(desk, select(QUERY, "from bot.trades"), limits).trades.num_rows == 2


def test_the_process_has_no_environment_and_no_working_directory(desk: Path) -> None:
    from recon.bot_databases import mapping_process

    run(desk, select(QUERY, "from bot.trades"), MappingLimits(time_s=60))
    [process] = mapping_process.processes._idle
    proc = Path("/proc") / str(process.pid)
    with suppress(FileNotFoundError):
        assert SECRET.encode() not in (proc / "environ").read_bytes()
        assert os.readlink(proc / "cwd") == "/"  # noqa: PTH115 - of another process
        assert b"SECRET" not in (proc / "cmdline").read_bytes()


def test_every_allowed_function_depends_on_its_arguments_alone() -> None:
    import duckdb

    with duckdb.connect(":memory:") as books:
        found = books.execute(
            "select lower(function_name), bool_and(stability = 'CONSISTENT')"
            " from duckdb_functions() where function_type in ('scalar', 'aggregate', 'window')"
            " and stability is not null group by 1"
        ).fetchall()
    changing = {name for name, is_constant in found if not is_constant}
    assert changing & FUNCTIONS == {"error"}
