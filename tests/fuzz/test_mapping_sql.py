"""Mapping SQL: whatever a query says, it is answered from its bot's tables or refused by name."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recon.bot_databases.mappings import find_mapping
from recon.bot_databases.run_mapping import MappingLimits, read_books
from recon.errors import BotDatabaseError, ConfigError
from recon.system.resources import sql_root
from tests.bot_databases.test_hostile_queries import CHEAP, queries
from tests.fuzz.door import fuzzed

SECRET = "SECRET-OF-ANOTHER-4711"
LIMITS = MappingLimits(time_s=60, memory_mb=256)
TEXTS = [
    *chain.from_iterable(queries(name) for name in (*CHEAP, "harmless")),
    *(path.read_text(encoding="utf-8") for path in sorted(sql_root().glob("books/**/*.sql"))),
]
WORDS = sorted(set(" ".join(TEXTS).split()))


@st.composite
def garbled(draw: st.DrawFn) -> str:
    """Draw a query, with some of its words replaced by words of others, or by any text."""
    words = draw(st.sampled_from(TEXTS)).split()
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(words)))
        replaced = draw(st.integers(0, 2))
        words[place : place + replaced] = [draw(st.sampled_from(WORDS) | st.text(max_size=5))]
    return " ".join(words)


@fuzzed
@given(garbled())
def test_any_text_is_answered_or_refused(tmp_path: Path, text: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(f"a\n{SECRET}\n", encoding="utf-8")
    path = tmp_path / "trades.sql"
    path.write_text(text.replace("{canary}", str(secret)), encoding="utf-8", errors="replace")
    rows = pa.table({"id": pa.array(["1", "2"], pa.string())})
    try:
        mapping = find_mapping(".", tmp_path)
        schema = {"trades": [("id", "BIGINT")]}
        said = str(read_books(mapping, schema, {"trades": rows}, limits=LIMITS).trades.to_pylist())
    except (BotDatabaseError, ConfigError) as error:
        said = str(error)
    assert SECRET not in said
