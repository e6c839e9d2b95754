"""The files of a mapping: their comments and biases are read, or refused with the file's name."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from recon.bot_databases.mappings import CAUSES, biases, find_mapping
from recon.errors import ConfigError
from tests.fuzz.door import fuzzed

pieces = st.lists(
    st.sampled_from(
        [
            *(
                "-- requires:",
                "-- optional:",
                "-- watermark:",
                "-- unit:",
                "-- replaces:",
                "\n",
                " ",
            ),
            *("trades(", "trades", "(", ")", "id", "closed_at", ",", ";", "text", "epoch_s", "#"),
            *(
                "select 1",
                "bot.trades",
                'bot."a""b"',
                "\0",
                "\r",
                "\x1b",
                "é",
                "\u2028",
                "(a,)",
                "*",
            ),
        ]
    ),
    max_size=30,
).map("".join)
rows = st.lists(
    st.sampled_from(
        [
            *(
                "cause,says",
                "\n",
                ",",
                '"',
                '""',
                "'",
                "\r",
                "\0",
                "fee_missing",
                "unexplained",
                ";",
            ),
            *("fee_missing,none", "price,a b", "x" * 200_000, "\u2028", "\ufeff", '"a\nb"', "=1+1"),
        ]
    ),
    max_size=20,
).map("".join)


@fuzzed
@given(st.one_of(st.binary(max_size=100), pieces.map(str.encode)))
def test_a_query_s_comments_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine").mkdir(exist_ok=True)
    (tmp_path / "mine" / "trades.sql").write_bytes(content)
    try:
        found = find_mapping("mine", tmp_path)
    except ConfigError as error:
        refused = str(error)
        assert str(tmp_path / "mine" / "trades.sql") in refused
        assert len(refused) < 1000
        return
    assert isinstance(found.reads("trades"), bool)
    assert len(found.variants) == 1


@fuzzed
@given(st.one_of(st.binary(max_size=100), rows.map(str.encode)))
def test_biases_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine").mkdir(exist_ok=True)
    (tmp_path / "mine" / "biases.csv").write_bytes(content)
    try:
        found = biases("mine", tmp_path)
    except ConfigError as error:
        refused = str(error)
        assert str(tmp_path / "mine" / "biases.csv") in refused
        assert len(refused) < 1000
        return
    assert found.keys() <= CAUSES
