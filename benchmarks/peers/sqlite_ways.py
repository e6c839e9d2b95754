"""Two ways of reading a bot's SQLite into DuckDB: ADBC's Arrow stream, and sqlite3 with pandas.

Run by `benchmarks/vaults.py` in an environment of its own: VAULT.sqlite, repeats. Prints JSON:
rows, and the seconds of each way.
"""

import json
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median

import adbc_driver_sqlite.dbapi as adbc
import duckdb
import pandas as pd

QUERY = "select * from closed_trades"


def by_adbc(path):
    """Stream record batches; nothing is a Python object on the way."""
    with (
        closing(adbc.connect(f"file:{path}?mode=ro")) as vault,
        closing(vault.cursor()) as cursor,
        closing(duckdb.connect()) as database,
    ):
        cursor.execute(QUERY)
        database.register("incoming", cursor.fetch_record_batch())
        database.execute("create table trades as from incoming")
        return database.execute("select count(*) from trades").fetchone()[0]


def by_pandas(path):
    """Read a frame and give it to DuckDB."""
    with (
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as vault,
        closing(duckdb.connect()) as database,
    ):
        database.register("incoming", pd.read_sql_query(QUERY, vault))
        database.execute("create table trades as from incoming")
        return database.execute("select count(*) from trades").fetchone()[0]


def main(path, repeats):
    """Take turns, one warm-up each, and print the medians."""
    times = {"adbc": [], "pandas": []}
    for turn in range(int(repeats) + 1):
        for name, way in (("adbc", by_adbc), ("pandas", by_pandas)):
            started = time.perf_counter()
            rows = way(Path(path).absolute())
            if turn:
                times[name].append(time.perf_counter() - started)
    json.dump({"rows": rows} | {name: median(taken) for name, taken in times.items()}, sys.stdout)


main(*sys.argv[1:])
