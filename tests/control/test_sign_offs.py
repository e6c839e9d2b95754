"""Sign-offs: whose word counts, of which amount, and as of which session."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.control.ledger import Ledger
from recon.control.sign_offs import Signature, SignedOff, signable
from recon.core.numbers import EXACT
from recon.errors import EvidenceError, UsageError

SINCE, EARLY, LATE = date(2026, 5, 1), date(2026, 5, 10), date(2026, 5, 14)
AT = datetime(2026, 5, 15, 9, tzinfo=UTC)
money = st.decimals(-10_000, 10_000, places=4)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "control.sqlite") as opened:
        yield opened


def sign(
    ledger: Ledger,
    amount: str = "40.00",
    *,
    as_of: date = EARLY,
    by: str = "anna",
    account: str = "okx",
) -> list[str]:
    difference = {
        "account": account,
        "as_of": as_of.isoformat(),
        "amount": amount,
        "day": "2.00",
    }
    return ledger.sign_off("btc", difference, Signature(by, "ops", f"{by} says so", AT))


def holds(
    ledger: Ledger, *, session: date = LATE, since: date = SINCE, signers: int = 1
) -> SignedOff | None:
    return ledger.signed_off("okx", "btc", since=since, session=session, signers=signers)


def amount(signed: SignedOff | None) -> str:
    assert signed is not None
    return str(signed.amount)


def test_a_sign_off_holds_from_its_session_on(ledger: Ledger) -> None:
    sign(ledger, as_of=EARLY)
    assert holds(ledger, session=date(2026, 5, 9)) is None
    assert amount(holds(ledger, session=EARLY)) == amount(holds(ledger, session=LATE)) == "40.00"


def test_of_a_session_that_is_not_in_the_window_nothing_is_signed(ledger: Ledger) -> None:
    sign(ledger, as_of=EARLY)
    assert holds(ledger, since=EARLY) is not None
    assert holds(ledger, since=date(2026, 5, 11)) is None


def test_the_latest_session_s_holds_and_of_one_session_the_latest_word(ledger: Ledger) -> None:
    sign(ledger, "40.00", as_of=EARLY)
    sign(ledger, "60.00", as_of=LATE)
    sign(ledger, "45.00", as_of=EARLY)
    assert amount(holds(ledger)) == "60.00"
    assert amount(holds(ledger, session=EARLY)) == "45.00"


def test_an_account_of_another_name_is_another_difference(ledger: Ledger) -> None:
    sign(ledger, account="elsewhere")
    assert holds(ledger) is None


def test_where_two_are_asked_for_the_second_is_another_person(ledger: Ledger) -> None:
    assert sign(ledger) == ["anna"]
    assert holds(ledger, signers=2) is None
    for by in ("anna", "Anna", "  ANNA "):
        with pytest.raises(UsageError, match="another person has to sign"):
            sign(ledger, by=by)
    assert holds(ledger, signers=2) is None
    assert sign(ledger, by="ben") == ["anna", "ben"]
    signed = holds(ledger, signers=2)
    assert signed is not None
    assert (signed.by, signed.reason) == ("anna, ben", "anna says so; ben says so")


@pytest.mark.parametrize(("second", "as_of"), [("40.01", EARLY), ("40.00", LATE)])
def test_two_that_sign_two_things_have_signed_neither(
    ledger: Ledger, second: str, as_of: date
) -> None:
    sign(ledger)
    assert sign(ledger, second, as_of=as_of, by="ben") == ["ben"]
    assert holds(ledger, signers=2) is None


def test_until_the_second_has_signed_the_earlier_sign_off_holds(ledger: Ledger) -> None:
    for by in ("anna", "ben"):
        sign(ledger, "40.00", by=by)
    sign(ledger, "60.00", as_of=LATE)
    assert amount(holds(ledger, signers=2)) == "40.00"
    sign(ledger, "60.00", as_of=LATE, by="ben")
    assert amount(holds(ledger, signers=2)) == "60.00"


@given(money, money, money)
def test_what_counts_and_what_was_signed_are_the_amount(
    signed: Decimal, day: Decimal, now: Decimal
) -> None:
    one = SignedOff(EARLY, signed, day, "anna", "old")
    for session in (EARLY, LATE):
        assert EXACT.add(one.beyond("window", session, now) or Decimal(0), signed) == now
    assert EXACT.add(one.beyond("session", EARLY, now) or Decimal(0), day) == now
    assert one.beyond("session", LATE, now) == now, "another session's day is its own"


def test_what_is_unknown_stays_unknown() -> None:
    one = SignedOff(EARLY, Decimal(40), None, "anna", "old")
    assert one.beyond("window", EARLY, None) is None
    assert one.beyond("session", EARLY, None) is None
    assert one.beyond("session", EARLY, Decimal(7)) == 7, "of the day nothing was signed"


def document(status: str = "diverged", off: str | None = "40.00") -> dict[str, Any]:
    return {
        "as_of": "2026-05-10",
        "accounts": [{"account": "okx", "session": "2026-05-08"}],
        "bots": [
            {
                "bot": "btc",
                "account": "okx",
                "status": status,
                "window": {"divergence": off},
                "session": {"divergence": "2.00"},
            }
        ],
    }


def test_what_is_signed_is_what_was_told_of_the_account_s_own_session() -> None:
    assert signable(document(), "btc") == {
        "account": "okx",
        "as_of": "2026-05-08",
        "amount": "40.00",
        "day": "2.00",
    }


@pytest.mark.parametrize(("status", "off"), [("unproven", "40.00"), ("unproven", None)])
def test_what_is_not_proven_cannot_be_signed(status: str, off: str | None) -> None:
    with pytest.raises(EvidenceError, match="btc is unproven as of 2026-05-10"):
        signable(document(status, off), "btc")
