"""What is done at PagerDuty to an incident of ours: whose act counts, for what, exactly once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recon.core.page import Page
from tests.support.answers import MINUTE, Desk, serving_desk
from tests.support.servers.answering import REST_TOKEN, Fault, drips, redirects, says
from tests.support.sightings import off_by


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Give a desk that is paged through PagerDuty."""
    with serving_desk(tmp_path) as made:
        del made.channels[0]
        yield made


def test_an_acknowledgement_at_pagerduty_is_ours(desk: Desk) -> None:
    desk.page_of_breaks("btc")
    assert desk.hear() == []
    [incident] = desk.duty.incidents
    desk.duty.change(incident, "acknowledged")
    assert desk.hear() == ["night-a"]
    assert desk.who() == [("Anna Abel", "acknowledged at PagerDuty")]
    desk.shift += timedelta(hours=1)
    desk.see(off_by("9.00"))  # open again
    assert desk.hear() == []  # and that was not what she acknowledged
    assert desk.ledger.breaks()[0]["status"] == "open"
    [asked, *_] = desk.duty.asked("incidents")
    assert asked["incident_key"] == "night-a"


def test_where_pagerduty_s_clock_is_ahead_an_act_counts_once_all_the_same(desk: Desk) -> None:
    desk.duty.now = lambda: desk.now() + timedelta(hours=3)
    desk.page_of_breaks("btc")
    desk.duty.change(desk.duty.incidents[0], "acknowledged")
    assert desk.hear() == ["night-a"]
    desk.shift += timedelta(hours=1)
    desk.see(off_by("9.00"))  # open again, and by that clock acknowledged after it
    assert desk.hear() == []
    assert len(desk.who()) == 1


def test_one_that_a_person_resolves_there_was_answered_and_one_that_times_out_was_not(
    desk: Desk,
) -> None:
    desk.page()
    [incident] = desk.duty.incidents
    desk.duty.change(incident, "acknowledged", "An automation", "service_reference")
    assert desk.hear() == []
    desk.duty.change(incident, "resolved", "Desk", "service_reference")
    assert desk.hear() == []
    desk.duty.change(incident, "resolved")
    assert desk.hear() == ["night-a"]
    assert desk.status() == "acknowledged"


def test_what_was_done_to_an_earlier_incident_of_that_key_is_no_answer(desk: Desk) -> None:
    desk.page("heartbeat-btc")
    desk.duty.change(desk.duty.incidents[0], "resolved")
    desk.ledger.enqueue(Page("heartbeat-btc", "over", "", "major", resolves=True), desk.now())
    desk.shift += timedelta(hours=1)
    desk.page("heartbeat-btc")
    assert len(desk.duty.incidents) == 2
    assert desk.hear() == []
    assert "has begun, or grown worse, since" in desk.notes[0]
    assert desk.hear() == []
    assert len(desk.notes) == 1
    desk.duty.change(desk.duty.incidents[1], "acknowledged")
    assert desk.hear() == ["heartbeat-btc"]


def test_an_incident_that_a_channel_has_not_taken_is_not_asked_for(desk: Desk) -> None:
    desk.duty.faults = [says(500, {})]
    desk.page()
    desk.hear()
    assert desk.duty.asked("incidents") == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (says(401, {"error": {"message": REST_TOKEN}}), "refuses the api_token"),
        (says(403, {}), "lets the api_token read no incidents"),
        (says(429, {}), "left alone"),
        (says(200, {"incidents": None}), "no list of incidents"),
        (says(200, b"<html>"), "no list of incidents"),
        (redirects, "HTTP 302"),
        (drips, "no answer within 3 s"),
    ],
)
def test_pagerduty_without_an_answer_is_a_note(desk: Desk, fault: Fault, said: str) -> None:
    desk.page()
    desk.duty.change(desk.duty.incidents[0], "acknowledged")
    desk.duty.faults = [fault]
    assert desk.hear() == []
    [note] = [each for each in desk.notes if "ANSWERS NOT READ through duty:" in each]
    assert said in note
    assert desk.hear(2 * MINUTE) == ["night-a"]


@pytest.mark.parametrize(
    "change",
    [
        {"incident_key": "another"},
        {"acknowledgements": [], "last_status_change_by": None},
        {"acknowledgements": "Anna", "last_status_change_at": None},
        {
            "acknowledgements": [{"at": "yesterday", "acknowledger": {"summary": "A"}}, None],
            "last_status_change_by": {"type": "user_reference"},
        },
        {"status": "triggered"},
        {"status": None},
    ],
)
def test_no_evidence_is_no_acknowledgement(desk: Desk, change: dict[str, Any]) -> None:
    desk.page()
    desk.duty.change(desk.duty.incidents[0], "acknowledged")
    desk.duty.incidents[0] |= change
    assert desk.hear() == []
    assert desk.status() == "open"


@pytest.mark.parametrize(
    "incident",
    [
        {"incident_key": {"a": 1}, "status": "acknowledged"},
        {"incident_key": ["night-a"], "status": {"a": []}},
        {
            "incident_key": "night-a",
            "status": "acknowledged",
            "acknowledgements": [{}] * 9_000,
            "last_status_change_at": "2030-01-01T00:00:00Z",
            "last_status_change_by": {"id": [[]]},
        },
    ],
)
def test_an_incident_of_any_shape_stands_in_nobody_s_way(desk: Desk, incident: Any) -> None:
    desk.page()
    desk.duty.faults = [says(200, {"incidents": [incident]})]
    assert desk.hear() == []
    desk.duty.change(desk.duty.incidents[0], "acknowledged")
    assert desk.hear(2 * MINUTE) == ["night-a"]


def test_answers_that_stay_unread_are_paged_and_end_when_they_are_read(desk: Desk) -> None:
    desk.page()
    for minutes in range(0, 40, 10):
        desk.duty.faults = [says(200, {"incidents": [{"incident_key": 1}]})] * 9
        desk.hear(10 * MINUTE)
        standing = [one["key"] for one in desk.ledger.incidents("answers-")]
        assert standing == (["answers-pagerduty/duty"] if minutes >= 30 else [])
    [incident] = desk.ledger.incidents("answers-")
    assert "incident_key is no text" in incident["body"]
    desk.duty.faults = []
    desk.hear(10 * MINUTE)
    assert desk.ledger.incidents("answers-") == []
