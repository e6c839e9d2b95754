from __future__ import annotations

from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.core.records import AccountStatus, BotStatus
from recon.core.tolerance import (
    SEVERITIES,
    Tolerance,
    account_status,
    bot_status,
    diverges,
    run_status,
    severity,
)

HALF_PERCENT = Tolerance(Decimal("0.5"), Decimal("1.00"))
money = st.decimals(-10_000, 10_000, places=4)


@pytest.mark.parametrize(
    ("amount", "broker", "is_too_much"),
    [
        ("1.00", "0", False),
        ("-1.00", "0", False),
        ("1.01", "0", True),
        ("5.00", "1000", False),  # exactly 0.5 %
        ("5.0001", "1000", True),
        ("-5.0001", "-1000", True),
        ("1682.00", "-373.00", True),
    ],
)
def test_exactly_at_the_bound_is_not_divergent(amount: str, broker: str, is_too_much: bool) -> None:
    assert diverges(Decimal(amount), Decimal(broker), HALF_PERCENT) is is_too_much


@given(money, money)
def test_signs_do_not_matter(amount: Decimal, broker: Decimal) -> None:
    verdict = diverges(amount, broker, HALF_PERCENT)
    assert verdict == diverges(-amount, broker, HALF_PERCENT)
    assert verdict == diverges(amount, -broker, HALF_PERCENT)


@given(money, money)
def test_a_bot_whose_evidence_is_not_proven_neither_agrees_nor_diverges(
    amount: Decimal, broker: Decimal
) -> None:
    assert bot_status([(amount, broker)], HALF_PERCENT, is_proven=False) == "unproven"


def test_an_unknown_figure_is_unproven() -> None:
    known = (Decimal(0), Decimal(0))
    assert bot_status([known, (None, Decimal(0))], HALF_PERCENT, is_proven=True) == "unproven"
    assert bot_status([known, (Decimal(0), None)], HALF_PERCENT, is_proven=True) == "unproven"
    assert bot_status([known], HALF_PERCENT, is_proven=True) == "agreed"


def test_a_divergence_of_the_session_alone_diverges() -> None:
    spans = [(Decimal(0), Decimal(0)), (Decimal(2), Decimal(0))]
    assert bot_status(spans, HALF_PERCENT, is_proven=True) == "diverged"


def test_an_account_is_proven_only_where_everything_is() -> None:
    def judged(
        coverage: str = "complete", proof: str = "closed", reasons: int = 0
    ) -> AccountStatus:
        return account_status(
            ["complete", coverage],  # type: ignore[list-item]
            ["absent", proof],  # type: ignore[list-item]
            is_reached=True,
            open_reasons=reasons,
        )

    assert judged() == "proven"
    assert judged(proof="absent") == "proven"
    assert judged(coverage="partial") == "unproven"
    assert judged(coverage="failed") == "unproven"
    assert judged(proof="broken") == "unproven"
    assert judged(reasons=1) == "unproven"
    assert account_status(["complete"], ["closed"], is_reached=False, open_reasons=0) == "failed"


def test_a_run_is_as_bad_as_its_worst() -> None:
    order: list[BotStatus] = ["agreed", "unproven", "diverged"]
    for one, other in product(order, order):
        assert run_status(["proven"], [one, other]) == max(one, other, key=order.index)
    assert run_status(["proven", "failed"], ["agreed"]) == "unproven"
    assert run_status(["unproven"], []) == "unproven"


@pytest.mark.parametrize(
    ("amount", "broker", "age", "grade"),
    [
        ("1.01", "0", 0, "minor"),
        ("10.00", "0", 0, "minor"),  # ten times the bound, and not beyond
        ("10.01", "100", 0, "major"),
        ("-10.01", "-100", 0, "major"),
        ("100.00", "100", 0, "major"),  # as much as the broker PnL, and not more
        ("100.01", "-100", 0, "critical"),
        ("10.01", "0", 0, "critical"),
        ("1.01", "100", 4, "minor"),
        ("1.01", "100", 5, "major"),
        ("1.01", "100", 10, "critical"),
        ("10.01", "100", 5, "critical"),
        ("1682.00", "-373.00", 400, "critical"),
    ],
)
def test_severity_is_size_and_a_step_for_each_week(
    amount: str, broker: str, age: int, grade: str
) -> None:
    assert severity(Decimal(amount), Decimal(broker), Decimal("1.00"), age) == grade


@given(money, money, money.map(abs), st.integers(0, 20))
def test_a_break_never_grows_less_grave_with_size_or_age(
    amount: Decimal, broker: Decimal, more: Decimal, age: int
) -> None:
    def grade(off: Decimal, sessions: int) -> int:
        return SEVERITIES.index(severity(off, broker, HALF_PERCENT.bound(broker), sessions))

    now = grade(abs(amount), age)
    assert now == grade(-abs(amount), age)
    assert now <= grade(abs(amount) + more, age)
    assert now <= grade(abs(amount), age + 1)
