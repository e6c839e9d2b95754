"""The lines in which a mapping declares its watermarks and units."""

from __future__ import annotations

from pathlib import Path

import pytest

from recon.core.watermarks import Watermark, read_watermarks
from recon.errors import ConfigError

HERE = Path("mine/trades.sql")
THERE = Path("mine/fills.sql")


def test_equal_lines_of_several_queries_count_once() -> None:
    found = read_watermarks(
        {
            HERE: "-- Closed trades.\n-- watermark: Trades(Close_Date) text\n"
            "-- unit: TRADES(id) orders(trade_id)\nselect 1",
            THERE: "--watermark: trades( close_date )  text ;\n"
            "-- unit: orders(trade_id) trades(id)",
        }
    )
    assert found.columns == {"trades": Watermark("trades", "close_date", "text")}
    assert found.units == [{"trades": "id", "orders": "trade_id"}]
    assert found.tables == {"trades", "orders"}
    assert found.unit_of("orders") == found.units[0]
    assert found.unit_of("candles") == {}
    assert found.requires == {"trades": {"close_date", "id"}, "orders": {"trade_id"}}
    assert found.is_in_units


def test_a_mapping_without_watermarks_is_read_whole() -> None:
    found = read_watermarks({HERE: "-- a watermark: of no account\nselect 1"})
    assert found.tables == frozenset()
    assert not found.is_in_units


def test_a_table_read_in_part_outside_units_is_not_mapped_separately() -> None:
    lines = "-- watermark: t(a) text\n-- watermark: u(b) epoch_s\n-- unit: t(id) v(t_id)"
    found = read_watermarks({HERE: lines})
    assert found.tables == {"t", "u", "v"}
    assert not found.is_in_units


@pytest.mark.parametrize(
    "line",
    [
        "-- watermark: trades",
        "-- watermark: trades(close_date)",
        "-- watermark: trades(close_date) iso",
        "-- watermark: trades(a, b) text",
        "-- watermark: trades(a) text or so",
        "-- unit: trades",
        "-- unit: trades(id), orders(trade_id)",
        "-- unit:",
    ],
)
def test_a_garbled_line_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match=r"mine/trades\.sql: write `-- (watermark|unit): "):
        read_watermarks({HERE: line})


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("-- watermark: t(a) text\n-- watermark: t(b) text", "table t has 2 `-- watermark:` lines"),
        (
            "-- watermark: t(a) text\n-- watermark: t(a) epoch_s",
            "table t has 2 `-- watermark:` lines",
        ),
        ("-- watermark: t(a) text\n-- unit: t(a) u(b)\n-- unit: u(c) t(d)", "2 `-- unit:` lines"),
        ("-- unit: o(t) t(id)", r"no table of the unit (o, t|t, o) has a `-- watermark:`"),
    ],
)
def test_lines_that_contradict_each_other_are_refused(lines: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_watermarks({HERE: lines})
