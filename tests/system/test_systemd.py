"""What a service tells its supervisor, over a real socket."""

from __future__ import annotations

import socket
import time
import uuid
from pathlib import Path

import pytest

from recon.system.systemd import notify


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_the_supervisor_is_told(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"@recon-{uuid.uuid4()}" if kind == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0") if kind == "abstract" else name)
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert notify("READY=1", "STATUS=well")
        assert listening.recv(100) == b"READY=1\nSTATUS=well"


def test_nobody_to_tell_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    assert not notify("READY=1")


def test_a_supervisor_that_reads_nothing_holds_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        started = time.monotonic()
        told = [notify("WATCHDOG=1" * 1000)]
        while told[-1] and len(told) < 10_000:
            told.append(notify("WATCHDOG=1" * 1000))
        assert told[0]
        assert not told[-1]
        assert time.monotonic() - started < 5
