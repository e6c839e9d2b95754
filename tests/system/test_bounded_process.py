"""Child processes with limits: what ends one, ends one job and nothing else."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from recon.system.bounded_process import OUT_OF_MEMORY, Ended, Processes
from recon.system.interruption import _interruptible

MB = 1 << 20


@pytest.fixture
def processes() -> Iterator[Processes]:
    children = Processes("tests.support.demanding")
    yield children
    children.end_idle()


def do(processes: Processes, what: str, **more: Any) -> Any:
    with processes.one() as process:
        process.given.write(json.dumps({"do": what, **more}).encode() + b"\n")
        process.given.flush()
        said = json.loads(process.said.readline())
        process.is_worn = said["is_worn"]
    return said


@pytest.mark.parametrize(
    ("job", "status", "how"),
    [
        ({"what": "abort"}, -signal.SIGABRT, "SIGABRT"),
        ({"what": "wait", "time_s": 0.01}, -signal.SIGALRM, "SIGALRM"),
        ({"what": "allocate", "size": 200 * MB}, OUT_OF_MEMORY, f"status {OUT_OF_MEMORY}"),
    ],
)
def test_a_job_that_ends_its_process_leaves_the_next_one_alone(
    processes: Processes, job: dict[str, Any], status: int, how: str
) -> None:
    before = do(processes, "nothing")["pid"]
    with pytest.raises(Ended) as ended:
        do(processes, **job)
    assert (ended.value.status, ended.value.how) == (status, how)
    assert do(processes, "nothing")["pid"] != before


def test_one_process_does_one_job_after_the_other(processes: Processes) -> None:
    assert len({do(processes, "nothing")["pid"] for _ in range(3)}) == 1


def test_callers_at_one_time_have_a_process_each(processes: Processes) -> None:
    with processes.one() as one, processes.one() as other:
        assert one.pid != other.pid
    assert do(processes, "nothing")["pid"] in {one.pid, other.pid}


def test_a_process_that_keeps_much_memory_has_no_other_job(processes: Processes) -> None:
    assert do(processes, "allocate", size=80 * MB)["is_worn"]
    assert not do(processes, "allocate", size=1)["is_worn"]


def test_an_error_over_an_answer_ends_its_process(processes: Processes) -> None:
    with pytest.raises(RuntimeError), processes.one() as process:
        raise RuntimeError
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_an_interrupt_ends_a_job_under_way(processes: Processes) -> None:
    before = do(processes, "nothing")["pid"]
    interrupt = threading.Timer(0.1, lambda: [one.interrupt() for one in list(_interruptible)])
    interrupt.start()
    with pytest.raises(Ended) as ended:
        do(processes, "wait")
    assert ended.value.how == "SIGKILL"
    assert do(processes, "nothing")["pid"] != before


def test_a_process_has_no_environment_and_no_working_folder(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECON_CANARY", "a secret")
    said = do(processes, "nothing")
    assert said["folder"] == "/"
    assert "RECON_CANARY" not in said["variables"]
