from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

from rich.console import Console

from recon.report.terminal import print_stages
from recon.system.timing import Stages


def clock(*times: float) -> Iterator[float]:
    return iter(times)


def test_each_stage_has_its_own_time_and_no_second_is_counted_twice() -> None:
    ticks = clock(0, 3, 5, 10, 20, 24)
    stages = Stages(lambda: next(ticks))
    with stages("outer"), stages("inner"):
        pass
    with stages("inner"):
        pass
    assert stages.seconds == {"outer": 3 + 5, "inner": 2 + 4}


def test_a_stage_that_fails_has_taken_its_time_all_the_same() -> None:
    ticks = clock(0, 2)
    stages = Stages(lambda: next(ticks))
    try:
        with stages("fetch"):
            raise KeyError
    except KeyError:
        pass
    assert stages.seconds == {"fetch": 2}


def test_an_operator_sees_where_the_time_went() -> None:
    out = StringIO()
    print_stages({"fetch": 3.0, "lots": 1.0}, Console(file=out, width=100))
    lines = out.getvalue().splitlines()
    fetch, lots = (next(line for line in lines if name in line) for name in ("fetch", "lots"))
    assert "3.00" in fetch
    assert "75%" in fetch
    assert fetch.count("█") == 3 * lots.count("█")
    assert any("total" in line and "4.00" in line for line in lines)
