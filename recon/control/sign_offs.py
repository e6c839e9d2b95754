"""Sign-offs: what a bot was off by as of a session, that persons have said will stay so.

A sign-off is of an amount: claimed − truth of `total` as of that session, and of that session's
own `day`. From then on only what goes beyond it counts; it is shown for as long as its session is
in the window. It is kept in the journal alone. Where two persons are asked for, both have to sign
the same amount.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from recon.control import journal
from recon.control.database import transaction
from recon.core.numbers import EXACT
from recon.errors import EvidenceError, UsageError


class SignedOff(NamedTuple):
    """What counts no more of one bot: amounts in the account's currency, claimed − truth.

    `day` is what the session `as_of` alone was off by, None where that is unknown. `by` and
    `reason` are all signers', in their order.
    """

    as_of: date
    amount: Decimal
    day: Decimal | None
    by: str
    reason: str

    def beyond(self, span: str, session: date, amount: Decimal | None) -> Decimal | None:
        """Return what counts of `amount`, claimed − truth of a span as of a session."""
        of_day = self.day if session == self.as_of else None
        signed = self.amount if span == "total" else of_day
        if amount is None or signed is None:
            return amount
        return EXACT.subtract(amount, signed)


class Signature(NamedTuple):
    """One person's word on one bot's difference, as it was told."""

    by: str
    user: str
    reason: str
    at: datetime


def told_difference(document: Mapping[str, Any], bot: str) -> dict[str, Any]:
    """Return what a document tells of a bot as it can be signed: `account, as_of, amount, day`.

    Raises EvidenceError where the difference is not proven.
    """
    [entry] = [each for each in document["bots"] if each["bot"] == bot]
    [account] = [each for each in document["accounts"] if each["account"] == entry["account"]]
    if entry["status"] == "unproven" or entry["total"]["amount"] is None:
        raise EvidenceError(
            f"{bot} is {entry['status']} as of {document['as_of']}: what it is off by is not "
            "proven, and cannot be signed off: see to its reasons, and run that session again"
        )
    return {
        "account": entry["account"],
        "as_of": account["session"],
        "amount": entry["total"]["amount"],
        "day": entry["day"]["amount"],
    }


def sign(
    db: sqlite3.Connection, bot: str, difference: Mapping[str, Any], signature: Signature
) -> list[str]:
    """Note a signature in the journal; return who has signed this very difference by now.

    Raises UsageError where the same person has.
    """
    with transaction(db):
        before = [one["who"] for one in _signatures(db, bot) if _same(one, difference)]
        if _person(signature.by) in map(_person, before):
            raise UsageError(
                f"{signature.by} has signed off {difference['amount']} of {bot} as of "
                f"{difference['as_of']} already: a second signature is another person's (--by)"
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
    """Return the sign-off that holds for a bot as of a session, the latest; None without one.

    It counts once `signers` different persons have signed the same amount. One as of a session
    before `since` speaks of what is not in the window any more.
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
