"""The lines by which a mapping says which rows may have changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from recon.errors import BooksError, ConfigError
from recon.mappings import find_mapping
from recon.watermarks import Follows, Watermark, read_watermarks

HERE = Path("mine/trades.sql")
THERE = Path("mine/fills.sql")


def test_lines_of_all_queries_are_one() -> None:
    found = read_watermarks(
        {
            HERE: "-- Closed trades.\n-- watermark: Trades(Close_Date) text\nselect 1",
            THERE: "--watermark: trades( close_date )  text ;\n-- follows: orders(t) TRADES(id)",
        }
    )
    assert found.columns == {"trades": Watermark("trades", "close_date", "text")}
    assert found.follows == {"orders": Follows("orders", "t", "trades", "id")}
    assert found.tables == {"trades", "orders"}
    assert found.requires == {"trades": {"close_date", "id"}, "orders": {"t"}}


def test_a_mapping_without_them_is_read_whole() -> None:
    assert read_watermarks({HERE: "-- a watermark: of no account\nselect 1"}).tables == frozenset()


@pytest.mark.parametrize(
    "line",
    [
        "-- watermark: trades",
        "-- watermark: trades(close_date)",
        "-- watermark: trades(close_date) iso",
        "-- watermark: trades(a, b) text",
        "-- watermark: trades(a) text or so",
        "-- follows: orders(ft_trade_id)",
        "-- follows: orders(ft_trade_id) trades",
    ],
)
def test_a_garbled_line_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match=r"mine/trades\.sql: write `-- (watermark|follows): "):
        read_watermarks({HERE: line})


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("-- watermark: t(a) text\n-- watermark: t(b) text", "table t has 2 lines that name a"),
        ("-- watermark: t(a) text\n-- watermark: t(a) epoch_s", "table t has 2 lines"),
        ("-- follows: o(t) t(id)", "o follows t, which is read whole: give t a"),
        ("-- follows: a(b) b(a)\n-- follows: b(a) a(b)", "(a follows b follows a|b follows a)"),
        ("-- watermark: a(w) text\n-- follows: a(b) a(c)", "a follows a"),
    ],
)
def test_lines_that_cannot_both_be_are_refused(lines: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_watermarks({HERE: lines})


class TestMappings:
    def test_what_a_watermark_asks_for_must_be_there(self, tmp_path: Path) -> None:
        text = "-- requires: t(a)\n-- watermark: t(closed) text\n-- follows: o(t) t(id)\nselect 1"
        (tmp_path / "trades.sql").write_text(text, encoding="utf-8")
        mapping = find_mapping(".", tmp_path)
        assert mapping.watermarks({"T": ["a", "ID", "closed"], "o": ["t"]}).tables == {"t", "o"}
        with pytest.raises(BooksError, match=r"lacks o\.t, t\.closed"):
            mapping.watermarks({"t": ["a", "id"]})

    def test_variants_have_their_own(self, tmp_path: Path) -> None:
        for name, columns in (("old", "a"), ("new", "a, b")):
            (tmp_path / name).mkdir()
            text = f"-- requires: t({columns})\n-- watermark: t({columns[-1]}) epoch_ms\nselect 1"
            (tmp_path / name / "trades.sql").write_text(text, encoding="utf-8")
        (tmp_path / "fills.sql").write_text("-- requires: nothing of all\nselect 1")
        mapping = find_mapping(".", tmp_path)
        assert mapping.watermarks({"t": ["a"]}).columns["t"].column == "a"
        assert mapping.watermarks({"t": ["a", "b"]}).columns["t"].column == "b"
