"""Recon's own files, damaged: it is noticed, a page goes out, what was published can be read."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from recon.cli import run_cli
from recon.control.ledger import CONTROL
from recon.core.page import FAILED
from recon.errors import ExitCode, StateError
from recon.paging.delivery import UNDELIVERED
from recon.run.backup import back_up, restore
from recon.warehouse.commit import BACKUPS, PUBLISHED, WAREHOUSE
from tests.conftest import seeds
from tests.support.fleet import NOW
from tests.support.killed_run import Death, night_in_a_process
from tests.support.small_disk import why_none
from tests.support.two_nights import DAY, Story, left_behind, log, two_nights

SEEDS = seeds(1, 3)
NUMBERS = ("published", "told", "report", "raw", "sessions", "unfinished")


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with two_nights(tmp_path_factory.mktemp("damaged")) as told:
        yield told


def numbers(left: dict[str, Any]) -> dict[str, Any]:
    """Return what damage must never change, whatever was said and paged of it."""
    return {name: left[name] for name in NUMBERS}


def paged(story: Story) -> set[str]:
    return {one["key"] for one in story.pager.took}


def is_still_published(story: Story) -> bool:
    """Whether readers have what they had after the first night, to the byte."""
    reports = sorted((story.folder / "state" / "reports").glob("*.json"))
    kept = [story.state / "reports" / path.name for path in reports]
    return [path.read_bytes() for path in [*reports, story.folder / "state" / PUBLISHED]] == [
        path.read_bytes() for path in [*kept, story.state / PUBLISHED]
    ]


def assert_noticed(story: Story, said: object) -> None:
    """See that a page is out and that readers have what they had; then repair it."""
    assert FAILED in paged(story), (said, log(story.work))
    assert is_still_published(story), said
    restore(story.state, who="anna", user="anna", now=lambda: NOW)
    assert night_in_a_process(story.config, NOW) == 0, (said, log(story.work))
    assert numbers(left_behind(story.work)) == numbers(story.due), said


@pytest.mark.parametrize("seed", SEEDS)
def test_a_log_that_was_cut_off_is_noticed(story: Story, seed: int) -> None:
    story.afresh()
    assert night_in_a_process(story.config, NOW, Death(at_step="checkpoint")) == -9
    wal = story.state / f"{WAREHOUSE}.wal"
    size = random.Random(seed).randrange(wal.stat().st_size)
    os.truncate(wal, size)
    status = night_in_a_process(story.config, NOW)
    if status == ExitCode.UNPROVEN:
        assert_noticed(story, size)
    else:
        assert status == 0, (size, log(story.work))
        assert "warehouse-lost" in paged(story), (size, log(story.work))
        assert numbers(left_behind(story.work)) == numbers(story.due), size


HEADER, BLOCK = 3 * 4096, 262_144
"""How many bytes DuckDB's headers have together, and each block after them."""


def blocks_of(path: Path, table: str) -> set[int]:
    """Return the blocks of a warehouse that hold a table's rows."""
    with duckdb.connect(str(path), read_only=True) as warehouse:
        found = warehouse.execute(
            "select block_id, additional_block_ids from pragma_storage_info(?)", [table]
        ).fetchall()
    return {each for one, more in found for each in [one, *(more or [])] if (each or -1) >= 0}


def blocks_in_use(path: Path) -> set[int]:
    """Return the blocks of a warehouse that hold anything: rows, or where they are."""
    with duckdb.connect(str(path), read_only=True) as warehouse:
        meta = warehouse.execute("select block_id from pragma_metadata_info()").fetchall()
        tables = warehouse.execute(
            "select schema_name || '.' || table_name from duckdb_tables()"
        ).fetchall()
    found = {each for (each,) in meta}
    return found.union(*(blocks_of(path, table) for (table,) in tables))


def published(story: Story) -> object:
    return published_by(left_behind(story.work))


def published_by(left: dict[str, Any]) -> object:
    return left["published"], left["told"], left["report"]


def block_at(number: int) -> range:
    """Return where a block of a warehouse lies in its file."""
    return range(HEADER + number * BLOCK, HEADER + (number + 1) * BLOCK)


def flip(path: Path, seed: int, within: range | None = None) -> int:
    """Alter one byte within a range of a file, or anywhere; return its place."""
    chance = random.Random(seed)
    with path.open("r+b") as file:
        place = chance.randrange(os.fstat(file.fileno()).st_size)
        place = place if within is None else chance.choice(within)
        file.seek(place)
        [was] = file.read(1)
        file.seek(place)
        file.write(bytes([was ^ chance.randint(1, 255)]))
    return place


@pytest.mark.parametrize("seed", SEEDS)
def test_a_byte_that_the_disk_has_flipped_is_noticed(story: Story, seed: int) -> None:
    """A byte anywhere in the file differs, although nothing has written to the file."""
    story.afresh()
    before = (story.state / WAREHOUSE).stat()
    place = flip(story.state / WAREHOUSE, seed)
    os.utime(story.state / WAREHOUSE, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert night_in_a_process(story.config, NOW) == ExitCode.UNPROVEN, (place, log(story.work))
    assert_noticed(story, place)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_block_is_found_by_the_backup_that_follows(story: Story, seed: int) -> None:
    """Each block that is in use is read by each night's backup, whoever has written since."""
    story.afresh()
    path = story.state / WAREHOUSE
    document = json.loads(max((story.state / "reports").glob("*.json")).read_text())
    document["run"] = "again"
    whole = path.read_bytes()
    for block in random.Random(seed).sample(sorted(blocks_in_use(path)), 4):
        place = flip(path, seed, block_at(block))
        with pytest.raises(StateError, match=r"Corrupt database file.*recon restore"):
            back_up(story.state, document, lambda: NOW)
        path.write_bytes(whole)
        assert len(list((story.state / BACKUPS).iterdir())) == 1, place
    back_up(story.state, document, lambda: NOW)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_block_damaged_after_a_write_is_found_by_the_next_night_or_holds_nothing_any_more(
    story: Story, seed: int
) -> None:
    """The report is right either way: the run has read the blocks that it reports from."""
    story.afresh()
    path = story.state / WAREHOUSE
    look_back = ["run", "--no-fetch", "--no-page", "--as-of", f"{NOW - 2 * DAY:%Y-%m-%d}"]
    assert run_cli([*look_back, "--config", str(story.config)]) in {0, ExitCode.DIVERGED}
    block = random.Random(seed).choice(sorted(blocks_in_use(path)))
    place = flip(path, seed, block_at(block))
    before = (story.state / PUBLISHED).read_bytes()
    status = night_in_a_process(story.config, NOW)
    if status == ExitCode.UNPROVEN:
        assert FAILED in paged(story), (place, log(story.work))
        assert "recon restore" in log(story.work)
        if (story.state / PUBLISHED).read_bytes() != before:
            assert published(story) == published_by(story.due), place
    else:
        assert status == 0, (place, log(story.work))
        left = left_behind(story.work)
        assert left["backups"] == story.due["backups"], "each block in use has been read"
        assert published_by(left) == published_by(story.due), place


@pytest.mark.parametrize("damage", ["a table", "the catalog", "the header"])
def test_a_damaged_warehouse_is_said_with_its_remedy_by_what_reads_it(
    story: Story, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    story.afresh()
    path = story.state / WAREHOUSE
    block = min(blocks_of(path, "raw.latest_state")) if damage == "a table" else 0
    flip(path, 1, range(HEADER) if damage == "the header" else block_at(block))
    config = ["--config", str(story.config)]
    session = ["--as-of", f"{NOW - 2 * DAY:%Y-%m-%d}"]
    run = ["run", "--no-page", *session]
    for call in ([*run, "--no-fetch"], [*run, "--account", "okx"], ["explain", "btc", *session]):
        assert run_cli([*call, *config]) == ExitCode.UNPROVEN, call
        said = capfd.readouterr()
        errors = [line for line in said.err.splitlines() if line.startswith("recon: ")]
        assert len(errors) == 1, said
        assert "Corrupt database file" in errors[0]
        assert "recon restore" in errors[0]
        assert "Traceback" not in said.err
        assert said.out == ""
    assert run_cli(["restore", "--by", "anna", *config]) == 0
    assert run_cli(["explain", "btc", *session, *config]) in {0, ExitCode.DIVERGED}


@pytest.mark.parametrize("gone", [(WAREHOUSE,), (CONTROL,), (WAREHOUSE, CONTROL)])
def test_files_that_are_gone_are_noticed(story: Story, gone: tuple[str, ...]) -> None:
    story.afresh()
    for name in gone:
        (story.state / name).unlink()
    assert night_in_a_process(story.config, NOW) == ExitCode.UNPROVEN, log(story.work)
    assert_noticed(story, gone)


def test_another_ledger_is_noticed(story: Story) -> None:
    story.afresh()
    (story.state / CONTROL).write_bytes(b"no ledger, and long enough to be taken for one" * 100)
    assert night_in_a_process(story.config, NOW) == ExitCode.UNPROVEN, log(story.work)
    assert_noticed(story, "no ledger")


def assert_full(story: Story, death: Death, *, says: str) -> int:
    """Run on a full disk, and check that the page says so; then run with enough room."""
    story.afresh()
    status = night_in_a_process(story.config, NOW, death)
    if status == ExitCode.UNPROVEN:
        failed = [one["message"] for one in story.pager.took if one["key"] == FAILED]
        assert failed, (death, log(story.work))
        assert says in failed[0], (death, failed)
        assert (story.state / PUBLISHED).exists()
    else:
        assert status == 0, (death, log(story.work))
    assert night_in_a_process(story.config, NOW) == 0, (death, log(story.work))
    assert numbers(left_behind(story.work)) == numbers(story.due), death
    return status


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_that_may_not_grow_is_noticed_and_what_was_published_stays(
    story: Story, seed: int
) -> None:
    largest = max(path.stat().st_size for path in (story.folder / "state").glob("*.*"))
    room = random.Random(seed).randrange(largest + 1_000_000)
    assert_full(story, Death(most_bytes=room), says="beyond the limit on its size")


@pytest.fixture
def small() -> None:
    """Skip where no small disk can be mounted."""
    if lacks := why_none():
        pytest.skip(f"a small disk needs {lacks}")


def drawn_room(story: Story, chance: random.Random) -> Death:
    """Draw the room of a run: each of its steps can be the one that lacks room."""
    size = sum(path.stat().st_size for path in (story.folder / "state").rglob("*"))
    room = chance.choice([200_000, 1_000_000, 4_000_000, size * 2])
    return Death(room_bytes=chance.randrange(room))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("room", [0, 100_000, 3_000_000, None])
def test_a_full_disk_is_noticed_at_each_step_and_what_was_published_stays(
    story: Story, room: int | None
) -> None:
    """While the ledger is opened, at the commit, at the checkpoint, and anywhere."""
    death = drawn_room(story, random.Random()) if room is None else Death(room_bytes=room)
    status = assert_full(story, death, says="no space left on")
    assert room is None or status == ExitCode.UNPROVEN


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("_drawing", range(100))
def test_full_disks_of_many_sizes(story: Story, _drawing: int) -> None:
    assert_full(story, drawn_room(story, random.Random()), says="no space left on")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("files", [0, 3])
def test_a_disk_that_takes_no_further_file_is_noticed(story: Story, files: int) -> None:
    death = Death(room_bytes=100_000_000, most_files=files)
    assert assert_full(story, death, says="no space left on") == ExitCode.UNPROVEN


@pytest.mark.parametrize("closed", [".", WAREHOUSE, CONTROL])
def test_no_permission_is_noticed(story: Story, closed: str) -> None:
    """What another user owns and has closed; where no user but root can give it away, by mode."""
    story.afresh()
    target = story.state / closed
    if os.geteuid() == 0:
        os.chown(target, 65534, 65534)
    elif closed == ".":
        pytest.skip("only root can give a folder to another user")
    target.chmod(0o555 if target.is_dir() else 0o444)
    status = night_in_a_process(story.config, NOW, Death(is_powerless=True))
    assert status in {ExitCode.UNPROVEN, ExitCode.USAGE}, log(story.work)
    assert FAILED in paged(story), log(story.work)
    assert is_still_published(story)


def test_with_no_channel_that_works_the_page_is_in_a_file(story: Story) -> None:
    story.afresh()
    (story.state / WAREHOUSE).unlink()
    pager = story.work.parent / "pager"
    kept = pager.read_text()
    pager.write_text("json://127.0.0.1:1/nobody")
    try:
        assert night_in_a_process(story.config, NOW) == ExitCode.UNPROVEN
    finally:
        pager.write_text(kept)
    assert "is missing" in (story.state / UNDELIVERED).read_text()
    assert "PAGE NOT DELIVERED" in log(story.work)


def test_a_backup_is_listed_and_put_back_by_name(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    story.afresh()
    assert night_in_a_process(story.config, NOW) == 0
    there = sorted(path.name for path in (story.state / BACKUPS).iterdir())
    config = ["--config", str(story.config)]
    assert run_cli(["restore", "--list", *config]) == 0
    assert [name in capsys.readouterr().out for name in there[-1:]] == [True]
    before = (story.state / BACKUPS / there[0] / WAREHOUSE).read_bytes()
    assert run_cli(["restore", there[0], "--by", "anna", *config]) == 0
    assert (story.state / WAREHOUSE).read_bytes() == before
    assert night_in_a_process(story.config, NOW) == 0, log(story.work)
    assert numbers(left_behind(story.work)) == numbers(story.due)
    assert run_cli(["restore", "no-such", *config]) == ExitCode.USAGE
    shutil.rmtree(story.state / BACKUPS)
    assert run_cli(["restore", *config]) == ExitCode.USAGE


def test_a_backup_that_rotted_is_not_put_back(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    story.afresh()
    [backup] = (story.state / BACKUPS).iterdir()
    with (backup / WAREHOUSE).open("r+b") as file:
        file.seek(20_000)
        file.write(b"rotten")
    before = (story.state / WAREHOUSE).read_bytes()
    assert run_cli(["restore", "--config", str(story.config)]) == ExitCode.UNPROVEN
    assert "is damaged" in capsys.readouterr().err
    assert (story.state / WAREHOUSE).read_bytes() == before
