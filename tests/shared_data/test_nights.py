"""Whole nights over the real files: every well-formed one loads, every malformed one says why."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from connectors.payload import payload_text
from recon.breaks.instrument_names import keep_names
from recon.config.settings import load
from recon.core.calendars import calendar, window
from recon.core.records import Coverage, Record, Window
from recon.run.nightly import Night, run_night
from recon.run.pipeline import configure
from recon.warehouse.database import Warehouse

if "RECON_SHARED_DATA" not in os.environ:
    pytest.skip("RECON_SHARED_DATA names no folder of real data", allow_module_level=True)

DATA = Path(os.environ["RECON_SHARED_DATA"])
FLEX = sorted((DATA / "flex").glob("*.xml"))
MALFORMED = sorted((DATA / "flex-malformed").glob("*.xml"))
FREQTRADE = sorted((DATA / "freqtrade").glob("*.sqlite"))


def test_the_real_data_is_there() -> None:
    assert (len(FLEX), len(MALFORMED), len(FREQTRADE)) == (23, 7, 3)


def day(text: str) -> date:
    return date.fromisoformat(text.replace("-", ""))


def flex_night(path: Path, folder: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8", errors="replace")
    from_dates = [day(found) for found in re.findall(r'fromDate="([0-9-]+)"', text)]
    to_dates = [day(found) for found in re.findall(r'toDate="([0-9-]+)"', text)]
    config = folder / "recon.toml"
    config.write_text(
        f'[[accounts]]\nid = "ib"\nvenue = "ibkr-flex"\ncurrency = "EUR"\n'
        f'since = {min(from_dates)}\nfiles = "{path}"\n'
    )
    return run_night(Night(load(config), as_of=max(to_dates), is_paging=False))


@pytest.mark.parametrize("path", FLEX, ids=lambda path: path.stem)
def test_every_well_formed_statement_loads(path: Path, tmp_path: Path) -> None:
    document = flex_night(path, tmp_path)
    [account] = document["accounts"]
    assert account["status"] == "unproven"  # none of them carries every section
    assert account["reasons"]
    executions = [
        row
        for row in ET.parse(path).iter()
        if row.tag in {"Trade", "TradeConfirm"} and row.get("levelOfDetail") == "EXECUTION"
    ]
    with Warehouse(tmp_path / "state" / "warehouse.duckdb") as warehouse:
        [(fills, fees, lost)] = warehouse.rows_in_order(
            """
            select
              (select count(*) from evidence.fills
               where source_kind in ('Trade', 'TradeConfirm')),
              (select count(*) from staging.flex_parsed_fills where reason is null),
              (select count(*) from evidence.quarantine where kind in ('Trade', 'TradeConfirm'))
            """
        )
        assert fees + lost >= len(executions) >= fills
        assert warehouse.rows(dict(warehouse.queries("audits"))["flex_conservation"]) == []
        assert_no_float(warehouse)


@pytest.mark.parametrize("path", MALFORMED, ids=lambda path: path.stem)
def test_every_malformed_statement_says_why(path: Path, tmp_path: Path) -> None:
    document = flex_night(path, tmp_path)
    [account] = document["accounts"]
    assert document["status"] == "unproven"
    assert account["status"] in {"unproven", "failed"}
    assert any(name in " ".join(account["reasons"]) for name in WHY[path.stem])


WHY = {
    "activity_cash": ['type "Bond Interest" is not known'],
    "activity_complex_corporate_actions": ["corporate action not valued"],
    "activity_corporate_actions": ["corporate action not valued"],
    "activity_futures": ["levelOfDetail is missing"],
    "activity_options": ["levelOfDetail is missing"],
    "not-well-formed": ["line 81, column 67"],
    "portfolio-12-nesting": ["<AccountInformation> is in <FlexQueryResponse>"],
}


@pytest.mark.parametrize("path", FREQTRADE, ids=lambda path: path.stem)
def test_a_night_claims_what_plain_sql_over_the_file_gives(path: Path, tmp_path: Path) -> None:
    statement = tmp_path / "statement.xml"
    statement.write_text(
        '<FlexQueryResponse queryName="q" type="AF"><FlexStatements count="1">'
        '<FlexStatement accountId="U1" fromDate="20220103" toDate="20220104" period="" '
        'whenGenerated="20220105;050000"><Trades/></FlexStatement></FlexStatements>'
        "</FlexQueryResponse>"
    )
    config = tmp_path / "recon.toml"
    config.write_text(
        '[[accounts]]\nid = "any"\nvenue = "ibkr-flex"\ncurrency = "USD"\nsince = 2018-01-02\n'
        f'files = "statement.xml"\n[[bots]]\nid = "bot"\naccount = "any"\norder_tag = "b"\n'
        f'database = "sqlite:///{path}"\nmapping = "freqtrade"\n'
    )
    document = run_night(Night(load(config), as_of=date(2022, 1, 4), is_paging=False))
    [bot] = document["bots"]
    assert bot["status"] == "unproven"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as books:
        columns = {row[1] for row in books.execute("pragma table_info(trades)")}
        pnl = (
            "close_profit_abs"
            if "close_profit_abs" in columns
            else "amount * close_rate * (1 - fee_close) - amount * open_rate * (1 + fee_open)"
        )
        [(plain,)] = books.execute(f"select sum({pnl}) from trades where not is_open")
    assert abs(Decimal(bot["window"]["claimed"]) - Decimal(repr(plain))) < Decimal("1e-9")


def okx_answers() -> Iterator[tuple[str, dict[str, Any]]]:
    bodies = json.loads((DATA / "okx" / "bodies.json").read_text())
    answers = [*bodies.items()]
    answers += [
        (path.stem, json.loads(path.read_text())) for path in (DATA / "okx").glob("http_get_*.json")
    ]
    kinds = {
        "fills": "fill",
        "bills": "bill",
        "positions-history": "position-history",
        "positions": "position",
        "balance": "balance",
        "instruments": "instrument",
    }
    for name, answer in answers:
        found = next((kind for part, kind in kinds.items() if part in name), None)
        for row in answer["data"] if found else []:
            yield str(found), row


def test_the_okx_bodies_stage_without_a_quarantined_row(tmp_path: Path) -> None:
    config = tmp_path / "recon.toml"
    for name in ("k", "s", "p"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o600)
    config.write_text(
        '[[accounts]]\nid = "okx"\nvenue = "okx"\ncurrency = "USDT"\nsince = 2023-01-01\n'
        'instrument_types = ["SPOT", "SWAP"]\n'
        'api_key = { file = "k" }\napi_secret = { file = "s" }\npassphrase = { file = "p" }\n'
    )
    [account] = load(config).accounts
    days = calendar(None)
    stretch = window(days, account.since, date(2025, 12, 31))
    records = {
        (kind, str(number)): Record(
            kind, str(row["billId"]) if kind in {"fill", "bill"} else str(number), payload_text(row)
        )
        for number, (kind, row) in enumerate(okx_answers())
    }
    counted = {kind: sum(1 for k, _ in records if k == kind) for kind, _ in records}
    assert counted == {
        "fill": 1,
        "bill": 2,
        "position": 2,
        "position-history": 3,
        "balance": 1,
        "instrument": 16,
    } | {"instrument": counted["instrument"]}
    with Warehouse(tmp_path / "warehouse.duckdb") as warehouse, warehouse.transaction():
        now = datetime(2026, 1, 1, tzinfo=UTC)
        items: list[Record | Coverage] = [*records.values(), *statements(stretch, now)]
        warehouse.land("run", "okx", "okx", items, now)
        configure(warehouse, [(account, stretch, days)], [], now)
        keep_names(warehouse, "run")
        warehouse.select("run", [])
        warehouse.build("staging")
        assert warehouse.rows("from staging.quarantine") == []
        for table, kind in (("fills", "fill"), ("ledger", "bill"), ("positions", "position")):
            [row] = warehouse.rows(f"select count(*) as n from staging.{table}")
            assert row["n"] == counted[kind]
        assert warehouse.rows(dict(warehouse.queries("audits"))["okx_conservation"]) == []
        [fill] = warehouse.rows("select f.qty, f.price, f.fee, f.fee_currency from staging.fills f")
        assert (fill["qty"], fill["price"], fill["fee"], fill["fee_currency"]) == (
            Decimal("0.1"),
            Decimal("67.84"),
            Decimal("-0.0001"),
            "LTC",
        )
        assert_no_float(warehouse)


def statements(stretch: Window, now: datetime) -> Iterator[Coverage]:
    for kind in ("position", "balance"):
        evidence: Any = f"{kind}s"
        start = datetime.combine(stretch.first.date, time(), UTC)
        yield Coverage(evidence, (kind,), "complete", start, now, start, now, is_snapshot=True)


def assert_no_float(warehouse: Warehouse) -> None:
    floats = warehouse.rows(
        "select table_schema, table_name, column_name from information_schema.columns "
        "where data_type in ('FLOAT', 'DOUBLE', 'REAL')"
    )
    assert floats == []
