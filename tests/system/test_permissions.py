"""What others on this machine could change is found, with the command that ends it."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from recon.cli import run_cli
from recon.config.settings import load
from recon.errors import ConfigError, ExitCode
from recon.system.permissions import writable_by_others
from tests.run.test_check_state import CONFIG, STATEMENT

IS_ROOT = os.geteuid() == 0
ANOTHER = 65534
only_root = pytest.mark.skipif(not IS_ROOT, reason="only root gives a file away")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder of folders with a file, closed to others; opened again at the end."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "file").touch()
    for place in (tmp_path / "a", folder, folder / "file"):
        place.chmod(0o755)
    yield folder
    for place in (tmp_path, tmp_path / "a", folder):
        place.chmod(0o755)


def test_what_nobody_else_can_write_to_is_safe(desk: Path) -> None:
    assert writable_by_others(desk / "file") is None
    assert writable_by_others(desk / "not" / "there") is None


@pytest.mark.parametrize("part", ["a", "a/b", "a/b/file"])
@pytest.mark.parametrize(("mode", "bits"), [(0o757, "o"), (0o775, "g"), (0o777, "go")])
def test_a_file_and_each_folder_on_the_way_to_it_count(
    part: str, mode: int, bits: str, desk: Path, tmp_path: Path
) -> None:
    place = tmp_path / part
    if IS_ROOT:
        os.chown(place, 0, ANOTHER)  # a group that has a member
    place.chmod(mode)
    found = writable_by_others(desk / "file")
    if not IS_ROOT and bits == "g" and found is None:
        pytest.skip("this user's group is a private one")
    assert found is not None
    assert found.path == place
    assert f"others can write to {place}" in found.reason
    subprocess.run(found.remedy, shell=True, check=True)
    assert writable_by_others(desk / "file") is None


def test_a_private_group_is_nobody_else(desk: Path) -> None:
    if not IS_ROOT:
        pytest.skip("needs a group of which nothing but root is a member")
    for place in (desk, desk / "file"):
        os.chown(place, 0, 0)
        place.chmod(0o775)
    assert writable_by_others(desk / "file") is None


def test_an_access_list_is_seen_behind_the_group_s_bits(desk: Path) -> None:
    owner, named, group, mask, other = 1, 2, 4, 16, 32
    entries = [(owner, 6, -1), (named, 6, ANOTHER), (group, 4, -1), (mask, 6, -1), (other, 4, -1)]
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, rights, number & 0xFFFFFFFF) for tag, rights, number in entries
    )
    try:
        os.setxattr(desk / "file", "system.posix_acl_access", acl)
    except OSError:
        pytest.skip("this file system has no access lists")
    found = writable_by_others(desk / "file")
    assert found is not None
    assert found.remedy == f"chmod g-w {desk / 'file'}"
    subprocess.run(found.remedy, shell=True, check=True)
    assert writable_by_others(desk / "file") is None


def test_in_a_sticky_folder_nothing_of_ours_can_be_replaced(desk: Path) -> None:
    desk.chmod(0o1777)
    assert writable_by_others(desk / "file") is None
    if IS_ROOT:
        os.chown(desk / "file", ANOTHER, ANOTHER)
        found = writable_by_others(desk / "file")
        assert found is not None
        assert f"{desk / 'file'} belongs to nobody" in found.reason


def test_a_link_is_followed_by_every_folder_that_it_leads_through(
    desk: Path, tmp_path: Path
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "link").symlink_to("../a/b/file")
    (tmp_path / "first").symlink_to(tmp_path / "open" / "link")
    assert writable_by_others(tmp_path / "first") is None
    (tmp_path / "open").chmod(0o777)
    found = writable_by_others(tmp_path / "first")
    assert found is not None
    assert found.path == tmp_path / "open"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="too many links"):
        writable_by_others(tmp_path / "round")


@only_root
def test_what_belongs_to_another_user_is_named_with_its_owner(desk: Path) -> None:
    os.chown(desk, ANOTHER, ANOTHER)
    found = writable_by_others(desk / "file")
    assert found is not None
    assert "belongs to nobody, who can change it" in found.reason
    assert found.remedy == f"chown -h root {desk}"


def written(folder: Path) -> Path:
    (folder / "statement.xml").write_text(STATEMENT)
    (folder / "mapping").mkdir(mode=0o755)
    (folder / "mapping" / "trades.sql").write_text("select 1")
    (folder / "state").mkdir(mode=0o755)
    (folder / "state" / "control.sqlite").touch()
    (folder / "trades.sqlite").touch()
    (folder / "secret").touch(0o600)
    (folder / "secret").write_text("json://127.0.0.1:1/x")
    (folder / "recon.toml").write_text(
        CONFIG
        + '[[bots]]\nid = "bot"\naccount = "desk"\norder_tag = "b"\nmapping = "mapping"\n'
        + 'database = "sqlite:///trades.sqlite"\n[paging]\n'
        + 'channels = [{ url = { file = "secret" } }]\n'
    )
    return folder / "recon.toml"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("recon.toml", "FAIL permissions: the configuration: others can write to {} and change it"),
        ("mapping", "FAIL permissions: the mapping mapping: others can write to {} and replace"),
        ("mapping/trades.sql", "FAIL permissions: the mapping mapping: others can write to {}"),
        ("state", "FAIL permissions: the state: others can write to {} and replace what is in it"),
        ("state/control.sqlite", "FAIL permissions: the state: others can write to {}"),
    ],
)
def test_check_fails_for_what_others_can_write_to(
    part: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path)
    (tmp_path / part).chmod((tmp_path / part).stat().st_mode | 0o002)
    assert run_cli(["check", "--config", str(path)]) == ExitCode.UNPROVEN
    shown = " ".join(capsys.readouterr().out.split())
    assert said.format(tmp_path / part) in shown
    assert f"run chmod o-w {tmp_path / part}" in shown
    assert shown.count("FAIL permissions") == 1


def test_check_is_well_where_nobody_else_can_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_cli(["check", "--config", str(written(tmp_path))])
    assert "ok permissions:" in " ".join(capsys.readouterr().out.split())


def test_a_secret_is_refused_where_others_can_replace_it(tmp_path: Path) -> None:
    path = written(tmp_path)
    load(path)
    keys = tmp_path / "keys"
    keys.mkdir()
    (tmp_path / "secret").rename(keys / "secret")
    path.write_text(path.read_text().replace('"secret"', '"keys/secret"'))
    load(path)
    keys.chmod(0o777)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert f"{path}: paging.channels.1.url: the secret file {keys / 'secret'} is not safe" in str(
        caught.value
    )
    assert f"run  chmod go-w {keys}" in str(caught.value).replace("chmod o-w", "chmod go-w")
    keys.chmod(0o1777)
    load(path)
