"""Sign-offs: divergences as of a session that persons accepted for good.

A sign-off has two amounts: the divergence of the window as of a session, and that of the session
itself. Later only what goes beyond them counts. A sign-off is shown while its session is in the
window. It is kept in the journal alone. Where two persons are asked for, both have to sign the
same amounts.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from recon.control import journal
from recon.control.transaction import transaction
from recon.core.numbers import EXACT
from recon.core.records import Span
from recon.errors import EvidenceError, UsageError


class SignedOff(NamedTuple):
    """The signed divergence of one bot, in the account's currency.

    `amount` is the window's, `session_amount` that of the session `as_of`, None where it was
    unknown. `by` and `reason` are those of all signers, in order.
    """

    as_of: date
    amount: Decimal
    session_amount: Decimal | None
    by: str
    reason: str

    def beyond(self, span: Span, session: date, divergence: Decimal | None) -> Decimal | None:
        """Return the part of a span's divergence as of a session that was not signed off."""
        of_session = self.session_amount if session == self.as_of else None
        signed = self.amount if span == "window" else of_session
        if divergence is None or signed is None:
            return divergence
        return EXACT.subtract(divergence, signed)


class Signature(NamedTuple):
    """One person's signature on the reported divergence of one bot."""

    by: str
    user: str
    reason: str
    at: datetime


def signable(document: Mapping[str, Any], bot: str) -> dict[str, Any]:
    """Return the divergence that a document reports of a bot: `account, as_of, amount, day`.

    `day` is that of the session; entries of the journal keep this name. Raises EvidenceError where
    the divergence is not proven.
    """
    [entry] = [each for each in document["bots"] if each["bot"] == bot]
    [account] = [each for each in document["accounts"] if each["account"] == entry["account"]]
    if entry["status"] == "unproven" or entry["window"]["divergence"] is None:
        raise EvidenceError(
            f"{bot} is {entry['status']} as of {document['as_of']}: its divergence is not "
            "proven and cannot be signed off: remove its reasons, and run that session again"
        )
    return {
        "account": entry["account"],
        "as_of": account["session"],
        "amount": entry["window"]["divergence"],
        "day": entry["session"]["divergence"],
    }


def sign(
    db: sqlite3.Connection, bot: str, difference: Mapping[str, Any], signature: Signature
) -> list[str]:
    """Write a signature to the journal; return all signers of the same amounts.

    Raises UsageError if this person has signed them before.
    """
    with transaction(db):
        before = [one["who"] for one in _signatures(db, bot) if _same(one, difference)]
        if _person(signature.by) in map(_person, before):
            raise UsageError(
                f"{signature.by} has signed off {difference['amount']} of {bot} as of "
                f"{difference['as_of']} already: another person has to sign as well (--by)"
            )
        journal.append(
            db,
            at=signature.at,
            who=signature.by,
            act="sign-off",
            subject=bot,
            why=signature.reason,
            user=signature.user,
            **difference,
        )
    return [*before, signature.by]


def signed_off(
    db: sqlite3.Connection, account: str, bot: str, *, since: date, session: date, signers: int
) -> SignedOff | None:
    """Return the latest sign-off that holds for a bot as of a session, or None.

    It counts once `signers` different persons have signed the same amounts. A sign-off as of a
    session before `since` does not hold: that session is no longer in the window.
    """
    latest: SignedOff | None = None
    signed: list[dict[str, Any]] = []
    for one in _signatures(db, bot):
        signed.append(one)
        as_of = date.fromisoformat(one["as_of"])
        together = [each for each in signed if _same(each, one)]
        if (
            one["account"] != account
            or not since <= as_of <= session
            or len(together) < signers
            or (latest is not None and as_of < latest.as_of)
        ):
            continue
        latest = SignedOff(
            as_of,
            Decimal(one["amount"]),
            None if one["day"] is None else Decimal(one["day"]),
            ", ".join(each["who"] for each in together),
            _joined([each["why"] for each in together]),
        )
    return latest


def _signatures(db: sqlite3.Connection, bot: str) -> list[dict[str, Any]]:
    rows = db.execute(
        "select who, why, detail from journal where subject = ? and act = 'sign-off' "
        "order by entry",
        (bot,),
    )
    return [{"who": who, "why": why} | json.loads(detail) for who, why, detail in rows]


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("account", "as_of", "amount", "day"))


def _person(name: str) -> str:
    return " ".join(name.split()).casefold()


def _joined(reasons: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(reasons))
