"""Nights over books of every kind: what changed, came and went since the last night is noticed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support import fleet
from tests.support.fleet import (
    BTC,
    ETH,
    NOW,
    OPENING,
    SOL,
    Document,
    Trader,
    account,
    rows,
    run,
    serving,
    unpaced,
)
from tests.support.servers.postgres import PASSWORD, PostgresServer

Claim = tuple[int, str]
"""A closed trade: its number, and what it claims."""

CLOSED = (OPENING + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")
NIGHTS: Sequence[Sequence[Claim]] = (
    [(1, "0.5"), (2, "-0.25")],
    [(1, "0.5"), (2, "-0.25")],
    [(1, "0.625"), (2, "-0.25"), (3, "0.125")],
    [(3, "0.125")],
)


def write_csv(folder: Path, claims: Sequence[Claim]) -> None:
    lines = [f"{number},{CLOSED},{pnl}\n" for number, pnl in claims]
    (folder / "trades-2026.csv").write_text("".join(["id,closed,pnl\n", *lines]))


def write_parquet(folder: Path, claims: Sequence[Claim]) -> None:
    columns = {
        "id": pa.array([number for number, _ in claims]),
        "closed": pa.array([CLOSED] * len(claims), pa.string()),
        "pnl": pa.array([Decimal(pnl) for _, pnl in claims], pa.decimal128(12, 6)),
    }
    parquet.write_table(pa.table(columns), folder / "trades.parquet")


def write_json(folder: Path, claims: Sequence[Claim]) -> None:
    documents = {
        str(number): {"id": number, "closed": CLOSED, "pnl": float(pnl)} for number, pnl in claims
    }
    (folder / "bot.json").write_text(json.dumps({"trades": documents}))


Write = Callable[[Sequence[Claim]], None]


def told(document: Document, folder: Path, name: str) -> tuple[str, int]:
    """Return what a bot claims, and how many rows of its trades there are by now."""
    (bot,) = [one for one in document["bots"] if one["bot"] == name]
    ((stand,),) = rows(
        folder,
        "select count(*) from raw.current where venue = 'bot_database' and kind = 'table:trades' "
        f"and account = '{name}'",
    )
    return str(bot["window"]["claimed"]), int(stand)


def hold_nights(folder: Path, *books: tuple[Trader, Write]) -> list[list[int]]:
    """Run the nights, hold each claim against what was written; return what each added to raw."""
    landed = {bot.id: [0] for bot, _ in books}
    with serving(account()) as server, unpaced():
        for number, claims in enumerate(NIGHTS):
            for _, write in books:
                write(claims)
            now = NOW + timedelta(hours=number)
            document = run(folder, server, bots=[bot for bot, _ in books], now=lambda now=now: now)
            for bot, so_far in landed.items():
                claimed, stand = told(document, folder, bot)
                assert Decimal(claimed) == sum(Decimal(pnl) for _, pnl in claims), bot
                assert stand == len(claims), bot
                query = "select count(*) from raw.records where kind = 'table:trades'"
                so_far.append(rows(folder, f"{query} and account = '{bot}'")[0][0])
    return [[after - before for before, after in pairwise(one)] for one in landed.values()]


@pytest.fixture(params=["", "-- watermark: trades(closed) text"], ids=["whole", "watermark"])
def mapping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "MAPPING", f"{request.param}\n{fleet.MAPPING}")


FILES: dict[str, tuple[Callable[[Path, Sequence[Claim]], None], list[int]]] = {
    "csv": (write_csv, [2, 0, 3, 2]),  # a row that says something else is another row
    "parquet": (write_parquet, [2, 0, 3, 2]),
    "json": (write_json, [2, 0, 2, 2]),  # a document keeps its key
}


@pytest.mark.usefixtures("mapping")
def test_files(tmp_path: Path) -> None:
    """Three bots, whose books are files of a kind each."""
    books: list[tuple[Trader, Write]] = []
    for (kind, (write, _)), instrument in zip(FILES.items(), (BTC, ETH, SOL), strict=True):
        (tmp_path / kind).mkdir()
        bot = Trader(id=kind, instruments=(instrument,), claims=None, database=f"{kind}:///{kind}")
        books.append((bot, partial(write, tmp_path / kind)))
    assert hold_nights(tmp_path, *books) == [added for _, added in FILES.values()]


@pytest.mark.usefixtures("mapping")
def test_a_server(tmp_path: Path, postgres: PostgresServer) -> None:
    database = postgres.database(
        "create table trades (id int primary key, closed timestamp, pnl double precision)"
    )
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "password").chmod(0o600)

    def write(claims: Sequence[Claim]) -> None:
        with closing(postgres.connected(database)) as bot:
            bot.execute("delete from trades")
            for number, pnl in claims:
                bot.execute("insert into trades values (%s, %s, %s)", [number, CLOSED, pnl])

    more = 'database_password = { file = "password" }\n'
    bot = Trader(claims=None, database=postgres.url(database), more=more)
    assert hold_nights(tmp_path, (bot, write)) == [[2, 0, 2, 2]]
    assert PASSWORD.encode() not in b"".join(
        path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()
    )


def test_books_that_went_missing_are_not_nothing(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    write_csv(tmp_path / "books", NIGHTS[0])
    bot = Trader(claims=None, database="csv:///books/trades-*.csv")
    with serving(account()) as server, unpaced():
        assert told(run(tmp_path, server, bots=[bot]), tmp_path, bot.id)[0] == "0.25"
        (tmp_path / "books" / "trades-2026.csv").unlink()
        later = NOW + timedelta(hours=1)
        document = run(tmp_path, server, bots=[bot], now=lambda: later)
    (unread,) = document["bots"]
    assert (unread["status"], unread["window"]["claimed"]) == ("unproven", None)
    assert "matches no file" in " ".join(unread["reasons"])
