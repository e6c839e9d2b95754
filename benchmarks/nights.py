"""Promises 3 and 6: whole nights of `recon.run.nightly`, without the network.

A connector gives the records of a day as OKX would, and all else is recon's own: landing, staging,
lots, PnL, proofs, document, report. A history is made of real nights, copied back in time in every
table that nights keep; the copies' payloads are cut short, as nothing reads them.
"""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import duckdb

from benchmarks.promises import Line, Run, Target
from connectors.protocol import Connector
from recon.config.settings import load
from recon.control.ledger import CONTROL, Ledger
from recon.core.records import CheckItem, Coverage, EvidenceSpec, Record, Window
from recon.fetch import connectors_for
from recon.run.nightly import Night, run_night
from recon.system.timing import Stages
from recon.warehouse.commit import WAREHOUSE, commit_with_manifest
from recon.warehouse.database import Warehouse

HISTORIES = (10_000_000, 50_000_000)
"""Fills that the warehouse holds before the night that is timed, beside those of real nights."""
QUICK_HISTORIES = (1_000_000,)
NEW = 400_000
"""Fills of one night, and as many entries of the ledger."""
REAL_NIGHTS = 4
LATE = 100
"""Fills of a late fix, three sessions back."""
ACCOUNTS, INSTRUMENTS = 10, 100
"""An account each, and instruments of each: a thousand keys."""
FIRST = date(2024, 1, 1)
START = date(2026, 5, 1)

AFTER_TARGET = Target("at most", 1.15, "× a night after none")
FIX_TARGET = Target("at most", 0.25, "of a night")
WHOLE_TARGET = Target("at most", 3, "× reading and staging raw")
NECESSARY = ("fetch", "land", "stage")
"""Reading the evidence: taking it, landing it in raw, staging it."""


def measure(run: Run) -> list[Line]:
    """Time nights after histories of several lengths, a late fix, and one night by stage."""
    new, histories = (NEW // 5, QUICK_HISTORIES) if run.is_quick else (NEW, HISTORIES)
    desk = Desk(run.path("nights"), new)
    run.note(f"nights: {REAL_NIGHTS} of {new:,} fills, one after the other")
    nights = [desk.night() for _ in range(REAL_NIGHTS)][1:]  # the first one compiles the kernel
    totals = {0: median(sum(each.values()) for each in nights)}
    for history in histories:
        run.note(f"nights: a history of {history:,} fills")
        desk.grow(history)
        run.note("nights: and some nights after it")
        nights = [desk.night() for _ in range(3 if history == histories[-1] else 1)]
        totals[history] = median(sum(each.values()) for each in nights)
    by_stage = {name: median(each[name] for each in nights) for name in nights[0]}
    run.note(f"nights: a late fix of {LATE} fills")
    fixed_s = median(sum(desk.late_fix().values()) for _ in range(3))
    last, last_s = histories[-1], totals[histories[-1]]
    detail = ", ".join(f"{total:.2f} s after {count:,}" for count, total in totals.items())
    detail += f", of {new:,} fills and as many entries"
    necessary_s = sum(by_stage[name] for name in NECESSARY)
    shares = ", ".join(f"{name} {part_s:.2f} s" for name, part_s in by_stage.items())
    profile = f"Of a night of {new:,} fills and as many entries: {shares}."
    return [
        Line(3, f"a night after {last // 1_000_000}M fills", AFTER_TARGET, last_s / totals[0],
             detail, explain=lambda: profile),
        Line(3, f"a late fix of {LATE} fills, three sessions back", FIX_TARGET, fixed_s / last_s,
             f"{fixed_s:.2f} s", explain=lambda: profile),
        Line(6, "the whole night", WHOLE_TARGET, last_s / necessary_s, shares,
             explain=lambda: profile),
    ]  # fmt: skip


@dataclass
class Desk:
    """A folder with a recon.toml and a state, and the nights it has had."""

    folder: Path
    new: int
    nights: int = 0
    copies: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        accounts = "".join(
            f'[[accounts]]\nid = "okx{number}"\nvenue = "okx"\ncurrency = "USDT"\n'
            f'since = {FIRST}\napi_key = {{ env = "RECON_BENCH" }}\n'
            'api_secret = { env = "RECON_BENCH" }\npassphrase = { env = "RECON_BENCH" }\n'
            for number in range(ACCOUNTS)
        )
        (self.folder / "recon.toml").write_text(accounts)
        with mock.patch.dict("os.environ", {"RECON_BENCH": "none"}):
            self._config = load(self.folder / "recon.toml")
        self._tape = duckdb.connect()
        self._tape.execute(
            "create table tape (account text, happened timestamp, id text, key int, "
            "qty int, fill text, bill text, change decimal(18, 3))"
        )

    @property
    def today(self) -> date:
        """The session that the latest night reconciled."""
        return START + timedelta(days=self.nights - 1)

    def night(self) -> dict[str, float]:
        """Do the night of the next day, with that day's fills; return seconds by stage."""
        self.nights += 1
        self._trade(self.today, self.new)
        return self._run("happened::date = ?", [self.today])

    def late_fix(self) -> dict[str, float]:
        """Do tonight again, with fills of three sessions back that come only now."""
        late = self.today - timedelta(days=3)
        before = self._tape.execute("select count(*) from tape").fetchall()[0][0]
        self._trade(late, LATE)
        return self._run("rowid >= ?", [before])

    def _trade(self, day: date, fills: int) -> None:
        """Add a day's fills to the tape, each with its entry of the ledger."""
        [(before,)] = self._tape.execute("select count(*) from tape").fetchall()
        self._tape.execute(
            TRADES,
            {
                "day": day,
                "fills": fills,
                "before": before,
                "accounts": ACCOUNTS,
                "instruments": INSTRUMENTS,
            },
        )

    def _run(self, which: str, parameters: list[object]) -> dict[str, float]:
        gc.collect()
        stages = Stages()
        taken = datetime.combine(self.today, datetime.min.time(), UTC) + timedelta(days=1)

        def canned(account: Any, *_: object) -> Connector:
            real = connectors_for.account_source(account, self._config, lambda: taken, None)
            rows = self._tape.execute(
                "select id, happened, fill, bill from tape "
                f"where account = ? and {which} order by happened, id",
                [account.id, *parameters],
            ).fetchall()
            return Canned(account.id, real.promises, rows, self._standing(account.id), taken)

        with mock.patch("recon.fetch.plan.account_source", canned):
            run_night(
                Night(
                    self._config,
                    as_of=self.today,
                    is_paging=False,
                    stages=stages,
                    now=lambda: taken + timedelta(hours=2),
                )
            )
        return dict(stages.seconds)

    def _standing(self, account: str) -> list[Record]:
        """Return what stands after the tape: positions, the balance, the instruments."""
        positions = self._tape.execute(
            "select key, sum(qty) from tape where account = ? group by key having sum(qty) <> 0",
            [account],
        ).fetchall()
        [(cash,)] = self._tape.execute(
            "select 1000000 + sum(change) from tape where account = ?", [account]
        ).fetchall()
        rows: list[tuple[str, str, dict[str, Any]]] = [
            (
                "position",
                f"{_name(key)}/net/cross/{key}",
                {
                    "instId": _name(key),
                    "instType": "SWAP",
                    "posSide": "net",
                    "mgnMode": "cross",
                    "posId": str(key),
                    "pos": str(qty),
                    "avgPx": "1",
                    "markPx": "1",
                    "ccy": "USDT",
                },
            )
            for key, qty in positions
        ]
        details = [{"ccy": "USDT", "cashBal": str(cash)}]
        rows.append(("balance", "account", {"details": details}))
        rows.append(("config", "account", {"uid": account, "perm": "read_only"}))
        rows += [
            (
                "instrument",
                _name(key),
                {
                    "instId": _name(key),
                    "instType": "SWAP",
                    "ctVal": "0.01",
                    "ctMult": "1",
                    "ctType": "linear",
                    "settleCcy": "USDT",
                },
            )
            for key in range(INSTRUMENTS)
        ]
        return [Record(kind, name, json.dumps(row)) for kind, name, row in rows]

    def grow(self, history: int) -> None:
        """Copy the first real nights back in time until `history` fills are there beside them."""
        per_copy = REAL_NIGHTS * self.new
        with duckdb.connect(str(self.folder / "state" / WAREHOUSE)) as warehouse:
            warehouse.execute("set preserve_insertion_order = false")
            last = START + timedelta(days=REAL_NIGHTS - 1)
            while self.copies * per_copy < history:
                self.copies += 1
                back = self.copies * REAL_NIGHTS
                for table, columns, when in COPIED:
                    shifted = ", ".join(
                        shift.format(column=f'"{column}"', back=back) + f' as "{column}"'
                        for column, shift in columns.items()
                    )
                    warehouse.execute(
                        f"insert into {table} select * replace ({shifted}) from {table} c "
                        f"where {when} between ? and ?",
                        [START, last],
                    )
            warehouse.execute("checkpoint")
        state = self.folder / "state"
        with (
            Ledger(state / CONTROL) as ledger,
            Warehouse(state / WAREHOUSE) as grown,
            commit_with_manifest(grown, ledger, "history", datetime.now(UTC)),
        ):
            pass  # what was copied is what the next night has to find


DAY = "{column} - {back}"
TIME = "{column} - interval ({back}) day"
ID = "'h{back}/' || {column}"
COPIED: tuple[tuple[str, dict[str, str], str], ...] = (
    ("raw.records",
     {"id": ID, "at": TIME, "run": "'history'", "payload": "'{{}}'"}, "c.at::date"),
    ("evidence.fills",
     {"source_id": ID, "fill_id": ID, "trade_id": ID, "at": TIME, "session_date": DAY,
      "seq": "{column} - {back} * 1000000000::hugeint"}, "c.session_date"),
    ("evidence.ledger",
     {"source_id": ID, "entry_id": ID, "trade_id": ID, "at": TIME, "session_date": DAY,
      "seq": "{column} - {back} * 1000000000::hugeint"}, "c.session_date"),
    ("evidence.traded", {"session_date": DAY}, "c.session_date"),
    ("lots.realised", {"session_date": DAY}, "c.session_date"),
    ("lots.closing_books",
     {"session_date": DAY, "until_session": "session_date - {back} + 1"}, "c.session_date"),
    ("lots.closing_lots",
     {"session_date": DAY, "until_session": "session_date - {back} + 1"}, "c.session_date"),
    ("pnl.by_session", {"session_date": DAY}, "c.session_date"),
)  # fmt: skip
"""Each table that nights keep, how its columns go back in time, and a row's day."""

TRADES = """
insert into tape
with drawn as (
  select
    $before + i + 1 as n,
    (hash($before + i) % $accounts)::int as account,
    (hash(($before + i) * 7 + 1) % $instruments)::int as key,
    (1 + hash(($before + i) * 13 + 2) % 50)::int
      * case when hash(($before + i) * 17 + 3) % 2 = 0 then 1 else -1 end as qty,
    (1000 + hash(($before + i) * 19 + 4) % 1000)::int as price,
    (100 + hash(($before + i) * 23 + 5) % 900)::int as fee,
    $day::timestamp + to_microseconds((i * 86_000_000_000 / $fills)::bigint) as happened
  from range($fills) t(i)
),

stamped as (
  select
    *,
    (700000000000000000 + epoch_ms(d.happened) * 100000 + n % 100000)::varchar as id,
    'P' || key || '-USDT-SWAP' as name,
    epoch_ms(d.happened)::varchar as ms,
    '-' || (fee / 1000.0)::decimal(18, 3) as paid,
    coalesce((select sum(t.change) from tape t where t.account = 'okx' || d.account), 0)
      + 1000000 as balance
  from drawn d
),

chained as (
  select
    *,
    balance + sum(-fee::decimal(18, 3) / 1000) over (partition by account order by n) as left_over
  from stamped
)

select
  'okx' || account, c.happened, id, key, qty,
  '{"instType":"SWAP","instId":"' || name || '","tradeId":"' || n || '","ordId":"' || id
  || '","clOrdId":"","billId":"' || id || '","subType":"1","tag":"","fillPx":"' || price
  || '","fillSz":"' || abs(qty) || '","side":"' || case when qty > 0 then 'buy' else 'sell' end
  || '","posSide":"net","execType":"T","feeCcy":"USDT","fee":"' || paid || '","ts":"' || ms
  || '","fillTime":"' || ms || '","fillPnl":"0"}',
  '{"bal":"' || left_over::decimal(18, 3) || '","balChg":"' || paid || '","billId":"' || id
  || '","ccy":"USDT","clOrdId":"","execType":"T","fee":"' || paid || '","instId":"' || name
  || '","instType":"SWAP","mgnMode":"cross","ordId":"' || id
  || '","pnl":"0","posBal":"0","posBalChg":"0","px":"' || price || '","subType":"1","sz":"'
  || abs(qty) || '","ts":"' || ms || '","type":"2","tradeId":"' || n || '"}',
  -(fee::decimal(18, 3) / 1000)
from chained c
"""
"""A day's fills at random, and what the venue's ledger says of each."""


def _name(key: int) -> str:
    return f"P{key}-USDT-SWAP"


@dataclass
class Canned:
    """A venue whose answers have come already: what is left is to take them."""

    account: str
    promises: tuple[EvidenceSpec, ...]
    rows: list[tuple[str, datetime, str, str]]
    standing: list[Record]
    taken: datetime
    venue: str = "okx"

    async def fetch(self, window: Window) -> AsyncGenerator[Record | Coverage, None]:
        """Yield every record, and that each kind of evidence is whole."""
        for name, at, fill, bill in self.rows:
            happened = at.replace(tzinfo=UTC)
            yield Record("fill", name, fill, happened)
            yield Record("bill", name, bill, happened)
        for record in self.standing:
            yield record
        for promise in self.promises:
            yield Coverage(
                promise.evidence,
                (promise.kind,),
                "complete",
                window.start,
                window.end,
                window.start,
                self.taken,
                is_snapshot=promise.is_snapshot,
            )

    async def check(self) -> list[CheckItem]:
        """Nothing to check."""
        return []
