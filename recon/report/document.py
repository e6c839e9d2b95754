"""Build the document of a run from the warehouse's tables: the JSON of the contract.

Every number is decimal text in the account's currency. An unknown figure is null. The `reasons` of
an account or a bot say why it is unproven and what to do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import reduce
from typing import Any

from recon.breaks.causes.report import causes_of
from recon.config.settings import Account, Bot, TwsAccount
from recon.control.breaks import Break
from recon.control.sign_offs import SignedOff
from recon.core.coverage import Interval, common, reach, unbroken
from recon.core.numbers import EXACT, percentage, quotient, text
from recon.core.records import (
    AccountStatus,
    CoverageStatus,
    Evidence,
    EvidenceSpec,
    ProofStatus,
    Span,
    Window,
)
from recon.core.tolerance import Tolerance, account_status, bot_status, diverges, run_status
from recon.outside_text import shown_document
from recon.proofs.proofs import COMPARED, has_each, listed, prove
from recon.proofs.restatement import restated
from recon.proofs.tws_confirmation import confirm
from recon.report.schema import AccountEntry, BotEntry, Document, Finding, Restatement
from recon.warehouse.database import Warehouse

SHOWN: tuple[Evidence, ...] = ("fills", "ledger", "positions")
FIGURES = ("gross", "fees", "funding", "other", "net", "open_costs")
RESTATING = ["Order", "Lot", "SymbolSummary", "AssetSummary", "WashSale"]
"""IBKR rows that repeat executions. A finding on such a row means that executions are missing."""
UNKNOWN_SUMS: tuple[dict[str, Any], dict[str, Any], None] = (
    dict.fromkeys((*FIGURES, "unrealised")),
    {"net": None, "fills": None},
    None,
)
"""The sums of an account without evidence of its fills or ledger: unknown, never 0."""


@dataclass(slots=True)
class Fetched:
    """The result of one account's fetch in this run: whether it was reached, else the reason."""

    is_reached: bool = True
    was_asked: bool = False
    reason: str = ""


@dataclass(slots=True)
class _JudgedAccount:
    """One judged account: its entry in the document, and the facts that its bots depend on.

    `is_sound` says that everything is proven except for instruments with a finding.
    """

    status: AccountStatus
    is_sound: bool
    session: date
    starts_at: datetime
    since: date
    has_broker_pnl: bool
    entry: AccountEntry


class DocumentBuilder:
    """Builds the document of one run from the tables of the warehouse."""

    def __init__(
        self,
        warehouse: Warehouse,
        run: str,
        tolerance: Tolerance,
        accounts: Sequence[tuple[Account, Window, Sequence[EvidenceSpec]]],
        bots: Sequence[Bot],
        fetched: Mapping[str, Fetched],
        unreadable_books: Mapping[str, str],
        beats: Mapping[str, datetime] | None = None,
    ) -> None:
        self._warehouse = warehouse
        self._run = run
        self._tolerance = tolerance
        self._accounts = accounts
        self._bots = bots
        self._fetched = fetched
        self._unreadable = unreadable_books
        self._beats = beats or {}
        self._doubts: dict[str, list[str]] = {}
        for row in warehouse.rows("select bot, reason from proofs.doubts order by all"):
            self._doubts.setdefault(row["bot"], []).append(row["reason"])

    def build(
        self, as_of: date, signed_off: Mapping[str, SignedOff]
    ) -> tuple[dict[str, Any], list[Break]]:
        """Return the document, still without breaks, journal and pages, and the breaks found."""
        judged = {
            account.id: self._account(account, window, specs)
            for account, window, specs in self._accounts
        }
        spans: dict[str, dict[Span, dict[str, Any]]] = {}
        for row in self._warehouse.rows("from breaks.divergence"):
            spans.setdefault(row["bot"], {})[row["span"]] = row
        bots, breaks = [], []
        for bot in self._bots:
            entry, found = self._bot(
                bot, judged[bot.account], spans[bot.id], signed_off.get(bot.id)
            )
            bots.append(entry)
            breaks += found
        status = run_status((item.status for item in judged.values()), (bot.status for bot in bots))
        document = Document(
            run=self._run,
            as_of=as_of.isoformat(),
            status=status,
            accounts=[item.entry for item in judged.values()],
            bots=bots,
            restatements=[
                Restatement.model_validate(one)
                for one in restated(
                    self._warehouse, [name for name, item in judged.items() if item.has_broker_pnl]
                )
            ],
            findings=self._all_findings(),
        )
        return shown_document(document.as_json()), breaks

    def _account(
        self, account: Account, window: Window, specs: Sequence[EvidenceSpec]
    ) -> _JudgedAccount:
        fetched = self._fetched.get(account.id, Fetched())
        confirmation = (
            confirm(self._warehouse, account) if isinstance(account, TwsAccount) else None
        )
        vouched = confirmation.vouched if confirmation else frozenset[Evidence]()
        coverage, reasons = self._coverage(account, window, specs, fetched, vouched)
        if fetched.reason:
            reasons.insert(0, fetched.reason)
        proofs, differences, broken, is_sound = prove(self._warehouse, account, coverage)
        reasons += broken + self._quarantined(account.id)
        if confirmation:
            proofs["confirmed"], coverage["ledger"] = confirmation.status, confirmation.ledger
            reasons += listed(confirmation.reasons)
            if confirmation.differences:
                differences["confirmed"] = dict(confirmation.differences)
        of_account, of_instruments = self._findings(account.id)
        reasons += of_account
        is_sound = is_sound and (
            account_status(
                coverage.values(),
                [confirmation.status] if confirmation else [],
                is_reached=fetched.is_reached,
                open_reasons=len(reasons),
            )
            == "proven"
        )
        reasons += of_instruments
        status = account_status(
            coverage.values(),
            proofs.values(),
            is_reached=fetched.is_reached,
            open_reasons=len(reasons),
        )
        has_broker_pnl = (
            fetched.is_reached
            and has_each(coverage, "fills", "ledger")
            and not self._has_lost_rows(account.id)
        )
        total, unowned, netting = self._sums(account) if has_broker_pnl else UNKNOWN_SUMS
        entry = AccountEntry.model_validate(
            {
                "account": account.id,
                "status": status,
                "currency": account.currency,
                "session": window.last.date.isoformat(),
                "coverage": {name: coverage[name] for name in SHOWN},
                "proven_window": _interval_entry(proven_window(self._warehouse, account, specs)),
                "proofs": {
                    name: _proof_entry(closes, differences.get(name, {}))
                    for name, closes in proofs.items()
                },
                "window": total,
                "valuation": self._valuation(account),
                "unowned": unowned,
                "netting": netting,
                "reasons": reasons,
            }
        )
        last = window.last
        return _JudgedAccount(
            status, is_sound, last.date, last.start, account.since, has_broker_pnl, entry
        )

    def _coverage(
        self,
        account: Account,
        window: Window,
        specs: Sequence[EvidenceSpec],
        fetched: Fetched,
        vouched: Collection[Evidence],
    ) -> tuple[dict[Evidence, CoverageStatus], list[str]]:
        """Return the coverage of each kind of evidence over the window, and the reasons for gaps.

        Evidence of an interval is complete if the fetches of this run and of earlier runs together
        cover the window without a gap. A snapshot is complete if it was taken at or after the
        window's end. `vouched` evidence, which another account confirms, is complete unless it
        failed.
        """
        statements = self._warehouse.rows(
            """
            select evidence, kind, status, reason, is_snapshot, run = $run as is_this_run,
              served_from, served_to
            from raw.coverage where venue = $venue and account = $account
            """,
            {"run": self._run, "venue": account.venue, "account": account.id},
        )
        coverage: dict[Evidence, CoverageStatus] = {}
        reasons: list[str] = []
        for spec in specs:
            if spec.is_for_attribution:
                continue  # missing orders make bots unproven, but not their account
            key = (spec.evidence, spec.kind)
            mine = [row for row in statements if (row["evidence"], row["kind"]) == key]
            status, gap = _coverage_of(spec, mine, window, was_asked=fetched.was_asked)
            if status == "partial" and spec.evidence in vouched:
                status, gap = "complete", ""
            before = coverage.get(spec.evidence, "complete")
            coverage[spec.evidence] = _worse(before, status)
            reason = f"{spec.evidence}: {gap}"
            if gap and fetched.is_reached and reason not in reasons:
                reasons.append(reason)
        return coverage, reasons

    def _has_lost_rows(self, account: str) -> bool:
        """Return whether fills or cash are unreadable, or an order came without its executions.

        If so, the sum of the other records is not the broker PnL.
        """
        return bool(
            self._warehouse.rows(
                """
                select account from evidence.quarantine
                where account = $account
                  and kind not in ('position', 'position-history', 'instrument', 'balance', 'coin',
                    'account-value')
                union
                select account from evidence.findings
                where account = $account and source_kind in $restating
                """,
                {"account": account, "restating": RESTATING},
            )
        )

    def _quarantined(self, account: str) -> list[str]:
        """Return the unreadable records: each reason once, with its first record."""
        rows = self._warehouse.rows(
            "select kind, min(id) as id, count(*) - 1 as others, reason from evidence.quarantine "
            "where account = ? group by kind, reason order by kind, id, reason",
            [account],
        )
        return listed(
            f"{row['kind']} {row['id']}{_more(row['others'])}: {row['reason']}" for row in rows
        )

    def _findings(self, account: str) -> tuple[list[str], list[str]]:
        """Return the findings that concern the whole account, and those of single instruments."""
        rows = self._warehouse.rows(
            "select instrument, reason from proofs.findings where account = ? order by all",
            [account],
        )
        return (
            listed(row["reason"] for row in rows if row["instrument"] is None),
            listed(f"{row['instrument']}: {row['reason']}" for row in rows if row["instrument"]),
        )

    def _all_findings(self) -> list[Finding]:
        """Return every finding, with the as-of session of its account."""
        rows = self._warehouse.rows(
            """
            select f.account, f.instrument, a.last_date, f.reason
            from proofs.findings f join config.accounts a on a.account = f.account
            order by f.account, f.instrument nulls first, f.reason
            """
        )
        return [
            Finding(
                account=row["account"],
                instrument=row["instrument"],
                session=row["last_date"].isoformat(),
                reason=row["reason"],
            )
            for row in rows
        ]

    def _sums(self, account: Account) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        """Return the account's figures over the window, the unowned part, and netting.

        Σ bots + unowned + netting = account, to the unit. `sql/audits/netting.sql` checks that
        netting comes only from bots that trade one instrument.
        """
        rows = self._warehouse.rows("from pnl.total where account = ?", [account.id])
        zero: dict[str, Any] = dict.fromkeys(FIGURES, Decimal(0)) | {"fills": 0}
        own = next((row for row in rows if row["scope"] == "account"), zero)
        nobody = next((r for r in rows if r["scope"] == "bot" and r["bot"] is None), zero)
        parts = [row["net"] for row in rows if row["scope"] == "bot"]
        netting = None
        if own["net"] is not None and None not in parts:
            netting = EXACT.subtract(own["net"], reduce(EXACT.add, parts, Decimal(0)))
        total = _money(own) | {"unrealised": _text_or_none(self._unrealised(account.id))}
        return (
            total,
            {"net": _text_or_none(nobody["net"]), "fills": nobody["fills"]},
            _text_or_none(netting),
        )

    def _valuation(self, account: Account) -> dict[str, int]:
        """Return the number of fills and costs of the window by valuation.

        `exact` is in the account's currency, `converted` at the record's own rate, `estimated` by
        the venue's candles, and `unknown` without a rate.
        """
        rows = self._warehouse.rows(
            """
            select coalesce(v.valuation, 'unknown') as valuation, sum(v.n)::bigint as n
            from pnl.valuation v
            join config.accounts a on a.account = v.account
            where v.account = ? and v.session_date between a.first_date and a.last_date
            group by all order by all
            """,
            [account.id],
        )
        return {row["valuation"]: row["n"] for row in rows}

    def _unrealised(self, account: str) -> Decimal | None:
        """Return unrealised PnL: Σ over open lots of value at the mark − cost; None where unknown.

        The mark of a statement more than one session after the window is not used.
        Inverse contracts are valued in coin, to 18 places.
        """
        rows = self._warehouse.rows(
            """
            select o.qty, o.cost, o.multiplier, o.is_inverse, o.rate, p.mark_price
            from pnl.open_lots o
            join config.accounts a on a.account = o.account
            left join staging.positions p
              on p.account = o.account and p.instrument = o.instrument
              and p.position_side = o.position_side
              and p.session_date >= a.last_date
              and p.session_date <= coalesce(
                (select min(s.session_date) from config.sessions s
                 where s.account = o.account and s.session_date > a.last_date),
                a.last_date
              )
            where o.account = $account and o.scope = 'account'
            union all  -- held since before the window, and not traded in it
            select qty, null, null, null, null, null
            from config.opening o
            anti join lots.closing_books b using (account, instrument)
            where o.account = $account
            """,
            {"account": account},
        )
        total = Decimal(0)
        for row in rows:
            mark = row["mark_price"]
            if not mark or row["rate"] != 1:  # a fill's rate is not the rate of the mark
                return None
            face = EXACT.multiply(row["qty"].copy_abs(), row["multiplier"])
            if row["is_inverse"]:
                gain = EXACT.subtract(row["cost"], quotient(face, mark))
            else:
                gain = EXACT.subtract(EXACT.multiply(face, mark), row["cost"])
            gain = gain if row["qty"] > 0 else gain.copy_negate()
            total = EXACT.add(total, gain)
        return total

    def _bot(
        self,
        bot: Bot,
        account: _JudgedAccount,
        spans: Mapping[Span, Mapping[str, Any]],
        signed: SignedOff | None,
    ) -> tuple[BotEntry, list[Break]]:
        entries: dict[Span, dict[str, Any]] = {}
        compared: dict[Span, tuple[Decimal | None, Decimal | None]] = {}
        for span, row in spans.items():
            entries[span], (divergence, broker) = _divergence(bot, row, account.has_broker_pnl)
            counted = signed.beyond(span, account.session, divergence) if signed else divergence
            compared[span] = counted, broker
            entries[span]["causes"] = causes_of(
                self._warehouse, bot.id, span, entries[span]["divergence"]
            )
        doubts = self._doubts.get(bot.id, [])
        is_proven = account.is_sound and not doubts
        status = bot_status(compared.values(), self._tolerance, is_proven=is_proven)
        alarms = self._alarms(bot, account, spans)
        if alarms and status == "agreed":
            status = "unproven"
        breaks = [
            Break(
                *(bot.account, bot.id, span, text(divergence), text(broker)),
                bound=text(self._tolerance.bound(broker)),
                session=account.session.isoformat() if span == "session" else "",
            )
            for span, (divergence, broker) in compared.items()
            if status == "diverged"
            and divergence is not None
            and broker is not None
            and diverges(divergence, broker, self._tolerance)
        ]
        entry = BotEntry.model_validate(
            {
                "bot": bot.id,
                "account": bot.account,
                "status": status,
                **entries,
                "signed_off": signed and _sign_off_entry(signed, compared["window"][0]),
                "unproven_by_account": status == "unproven"
                and not (account.is_sound or bot.id in self._unreadable or alarms),
                "reasons": [*self._reasons(bot, account, doubts), *alarms],
            }
        )
        return entry, breaks

    def _alarms(
        self, bot: Bot, account: _JudgedAccount, spans: Mapping[Span, Mapping[str, Any]]
    ) -> list[str]:
        """Return the reasons to doubt a broker that shows no fill of a bot.

        A broken source also returns an empty result. So it is accepted only if the bot has no
        closed trade and no heartbeat.
        """
        if not account.has_broker_pnl:
            return []
        closed, beat = int(spans["session"]["trades"]), self._beats.get(bot.id)
        alarms = []
        if closed and not spans["session"]["fills"]:
            alarms.append(
                f"the bot database shows {closed} trades closed in session {account.session}, and "
                "the broker shows no fill: check the bot's account, instruments and order_tag"
            )
        if beat is not None and beat >= account.starts_at and not spans["window"]["fills"]:
            alarms.append(
                f"the bot is alive (its heartbeat is of {beat:%Y-%m-%d %H:%M} UTC), and the broker "
                f"shows no fill since {account.since}: check the bot's account, instruments and "
                "order_tag"
            )
        return alarms

    def _reasons(self, bot: Bot, account: _JudgedAccount, doubts: Sequence[str]) -> list[str]:
        """Return the reasons why a bot is unproven, except for `_alarms`."""
        if bot.id in self._unreadable:
            return [self._unreadable[bot.id]]
        if not account.is_sound:
            return [f"its account {bot.account} is {account.status}"]
        return listed(doubts)


def add_unjudged(
    document: dict[str, Any],
    accounts: Sequence[tuple[Account, Window, str]],
    bots: Sequence[Bot],
) -> None:
    """Add to the document the accounts that could not be judged, with reasons, and their bots.

    The accounts are failed, the bots unproven, and all of their figures null.
    """
    unknown: dict[str, Any] = {
        "claimed": None,
        "broker": dict.fromkeys(FIGURES),
        "divergence": None,
        "divergence_pct": None,
        "causes": [],
    }
    total, unowned, netting = UNKNOWN_SUMS
    document["accounts"] += [
        {
            "account": account.id,
            "status": "failed",
            "currency": account.currency,
            "session": window.last.date.isoformat(),
            "coverage": dict.fromkeys(SHOWN, "failed"),
            "proven_window": None,
            "proofs": {name: _proof_entry("absent", {}) for name in ("positions", *COMPARED)},
            "window": total,
            "valuation": {},
            "unowned": unowned,
            "netting": netting,
            "reasons": [reason],
        }
        for account, window, reason in accounts
    ]
    document["bots"] += [
        {
            "bot": bot.id,
            "account": bot.account,
            "status": "unproven",
            "window": unknown,
            "session": unknown,
            "signed_off": None,
            "unproven_by_account": True,
            "reasons": [f"its account {bot.account} is failed"],
        }
        for bot in bots
    ]
    document["status"] = run_status(
        (entry["status"] for entry in document["accounts"]),
        (entry["status"] for entry in document["bots"]),
    )
    document |= Document.model_validate(document).as_json()


def proven_window(
    warehouse: Warehouse, account: Account, specs: Sequence[EvidenceSpec]
) -> Interval | None:
    """Return the interval over which all evidence of an account is complete; None if there is none.

    For each kind of evidence that covers time, it takes the last unbroken union of the intervals
    served in all runs. The result is their intersection. Each run extends it; after a gap it starts
    again.
    """
    return common(
        unbroken(warehouse.served(account.venue, account.id, spec.evidence, spec.kind))
        for spec in specs
        if spec.is_of_the_past and not spec.is_for_attribution
    )


def _interval_entry(interval: Interval | None) -> dict[str, str] | None:
    if interval is None:
        return None
    return {
        "from": f"{interval.start:%Y-%m-%dT%H:%M:%SZ}",
        "to": f"{interval.end:%Y-%m-%dT%H:%M:%SZ}",
    }


def _coverage_of(
    spec: EvidenceSpec,
    statements: Sequence[Mapping[str, Any]],
    window: Window,
    *,
    was_asked: bool,
) -> tuple[CoverageStatus, str]:
    """Return the coverage of one kind of evidence over the window, and the reason for a gap."""
    this_run = [row for row in statements if row["is_this_run"]]
    start, end = window.start.replace(tzinfo=None), window.end.replace(tzinfo=None)
    if not statements:
        return "failed", "never fetched: run without --no-fetch"
    if any(row["status"] == "failed" for row in this_run) or (was_asked and not this_run):
        failed = [row["reason"] for row in this_run if row["status"] == "failed"]
        return "failed", failed[0] if failed else "this run has no coverage record: run again"
    served = [row for row in statements if row["status"] != "failed"]
    gap = next((row["reason"] for row in this_run if row["status"] == "partial"), "")
    if served and not spec.is_of_the_past:
        taken = max(row["served_to"] for row in served)
        if taken >= end:
            return "complete", ""
        return (
            "partial",
            gap or f"taken at {taken} UTC, before the session ended ({end} UTC): run again",
        )
    reached = reach((Interval(r["served_from"], r["served_to"]) for r in served), start)
    if reached is not None and reached >= end:
        return "complete", ""
    known = f"known up to {reached} UTC" if reached else f"unknown from {start} UTC on"
    return ("partial" if served else "failed"), gap or f"{known}, and the window ends {end} UTC"


def _worse(one: CoverageStatus, other: CoverageStatus) -> CoverageStatus:
    order: list[CoverageStatus] = ["complete", "partial", "failed"]
    return max(one, other, key=order.index)


def _divergence(
    bot: Bot,
    row: Mapping[str, Any],
    has_broker_pnl: bool,
) -> tuple[dict[str, Any], tuple[Decimal | None, Decimal | None]]:
    """Return one span of a bot's entry, and (divergence, broker PnL) to judge it by.

    A bot without an event in the span has a broker PnL of 0 if its account's evidence was read.
    Otherwise its figures are unknown.
    """
    is_quiet = row["fills"] is None
    broker: dict[str, Decimal | None] = dict.fromkeys(FIGURES)
    if has_broker_pnl:
        broker = {name: Decimal(0) if is_quiet else row[name] for name in FIGURES}
    measure = broker["net"]
    if bot.costs_booked == "when_paid" and measure is not None and broker["open_costs"] is not None:
        measure = EXACT.add(measure, broker["open_costs"])
    claimed: Decimal | None = row["claimed"]
    divergence = None
    if claimed is not None and measure is not None:
        divergence = EXACT.subtract(claimed, measure)
    pct = None
    if divergence is not None and measure is not None:
        pct = percentage(divergence, measure)
    entry = {
        "claimed": _text_or_none(claimed),
        "broker": {name: _text_or_none(value) for name, value in broker.items()},
        "divergence": _text_or_none(divergence),
        "divergence_pct": None if pct is None else f"{pct:f}",
    }
    return entry, (divergence, measure)


def _sign_off_entry(signed: SignedOff, beyond: Decimal | None) -> dict[str, Any]:
    """Return the document's entry of a sign-off. `beyond` is the divergence not signed off."""
    return {
        "amount": text(signed.amount),
        "beyond": _text_or_none(beyond),
        "as_of": signed.as_of.isoformat(),
        "by": signed.by,
        "reason": signed.reason,
    }


def _proof_entry(status: ProofStatus, differences: Mapping[str, str]) -> dict[str, Any]:
    """Return the document's entry of a proof: all differences, and the difference if only one."""
    only = next(iter(differences.values())) if len(differences) == 1 else None
    return {"status": status, "difference": only, "differences": dict(differences)}


def _more(others: int) -> str:
    return f" and {others} more" if others else ""


def _money(row: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: _text_or_none(row[name]) for name in FIGURES}


def _text_or_none(value: Decimal | None) -> str | None:
    return None if value is None else text(value)
