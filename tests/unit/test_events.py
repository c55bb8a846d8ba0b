"""Events derive from reports, and are valid OCSF whatever clients are called."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ocsf import detection_findings

from fedguard.events import Event, detection_finding, ecs_document, events_of
from fedguard.events.ocsf import KINDS
from fedguard.types import Change, RoundReport, Standing, Verdict

HOSTILE = ["plain", '"quoted"\n', "\u202eevil", "\0", "x" * 100_000, "{{7*7}}", ""]
REPORT = RoundReport(
    7,
    "mean()",
    (
        Verdict("a", True, scores={"magnitude": 1.0}, reputation=0.9),
        Verdict("b", False, "non-finite", "a NaN"),
        Verdict("c", False, "quarantine", standing=Standing.QUARANTINE, scores={"magnitude": 9.0}),
        Verdict("d", False, "quarantine", standing=Standing.QUARANTINE),
    ),
    held="too few",
    changes=(
        Change("c", Standing.TRUSTED, Standing.QUARANTINE, "evidence"),
        Change("a", Standing.QUARANTINE, Standing.PROBATION, "clean"),
        Change("e", Standing.TRUSTED, Standing.BANNED, "the operator"),
    ),
)


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    return detection_findings()


def test_a_report_holds_its_events_and_no_more() -> None:
    found = [(event.kind, event.client) for event in events_of(REPORT)]
    assert found == [
        ("round.held", None),
        ("update.refused", "b"),
        ("client.quarantine", "c"),
        ("client.reinstated", "a"),
        ("client.banned", "e"),
    ]
    (gone,) = [event for event in events_of(REPORT) if event.client == "c"]
    assert gone.data["scores"] == {"magnitude": 9.0}
    assert "evidence" in gone.message


@pytest.mark.parametrize("client", HOSTILE)
def test_findings_are_valid_whatever_a_client_is_called(
    schema: Draft202012Validator, client: str
) -> None:
    for kind in (*KINDS, "operator.note", "something.new"):
        event = Event(3, kind, client or None, f"about {client}", {"why": client})
        finding = detection_finding(event, 1.5, "x/1", "lab", "0.1.0")
        line = json.dumps(finding)
        assert "\n" not in line
        schema.validate(json.loads(line))
        document = json.dumps(ecs_document(event, 1.5, "x/1", "lab", "0.1.0"))
        assert "\n" not in document


def test_quarantine_is_denied_and_quarantined() -> None:
    def told(kind: str) -> dict[str, Any]:
        return detection_finding(Event(1, kind, "c", "", {}), 0.0, "1", "lab", "0")

    gone, back = told("client.quarantine"), told("client.reinstated")
    assert (gone["action_id"], gone["disposition_id"], gone["is_alert"]) == (2, 3, True)
    assert (back["activity_id"], back["type_uid"], back["is_alert"]) == (3, 200403, False)
    assert gone["finding_info"]["uid"] == back["finding_info"]["uid"]


def test_the_schema_would_notice(schema: Draft202012Validator) -> None:
    finding = detection_finding(events_of(REPORT)[0], 0.0, "1", "lab", "0")
    assert not list(schema.iter_errors(finding))
    assert list(schema.iter_errors(finding | {"severity_id": 77}))
    assert list(schema.iter_errors(finding | {"invented": 1}))
