"""What the report says, and when a run has failed."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from chaos.ground import sentence_in
from chaos.report import Outcome, Result, exit_code, judged, show, write
from jobs.offsets import lacking

SURVIVED = Outcome("kill web", "survived", "SIGKILL to web", seconds=3.0, drift=0, facts=10)


def test_drift_loss_and_an_audit_that_says_nothing_are_failures() -> None:
    assert judged(Outcome("a", "survived", "", drift=0)).result == "survived"
    assert judged(Outcome("a", "survived", "", drift=1)).result == "failed"
    assert judged(Outcome("a", "survived", "", drift=0, lost=1)).result == "failed"
    assert judged(Outcome("a", "survived", "", drift=None)).result == "failed"


def test_a_point_that_was_not_reached_is_not_called_survived() -> None:
    assert judged(Outcome("a", "not reached", "", drift=0)).result == "not reached"


@pytest.mark.parametrize(
    ("results", "code"),
    [
        (["survived", "skipped", "not reached"], 0),
        (["survived", "failed"], 1),
        (["skipped", "not reached"], 1),
        ([], 1),
    ],
)
def test_a_run_fails_by_one_failure_or_where_nothing_was_done(results: list[Result], code: int) -> None:
    assert exit_code([Outcome("a", result, "") for result in results]) == code


def test_the_report_is_kept_as_json(tmp_path: Path) -> None:
    path = tmp_path / "run/report.json"
    write(path, 7, [SURVIVED])
    kept = json.loads(path.read_text())
    assert kept["seed"] == 7
    assert kept["exit_code"] == 0
    assert kept["faults"][0]["fault"] == "kill web"
    assert kept["faults"][0]["drift"] == 0


def test_people_see_what_was_done_and_what_a_person_had_to_do() -> None:
    text = io.StringIO()
    told = Outcome("full disk", "survived", "no room", "free some [space]", drift=0)
    show([SURVIVED, told, Outcome("clock", "skipped", "no libfaketime")], Console(file=text, width=200))
    assert "SIGKILL to web" in text.getvalue()
    assert "free some [space]" in text.getvalue()
    assert "2 survived, 1 skipped" in text.getvalue()


def test_records_that_kafka_no_longer_has_are_lacking() -> None:
    before = {"likes": {0: 10, 1: 5}}
    assert lacking({"likes": {0: 12, 1: 5}}, before) == 0
    assert lacking({"likes": {0: 8}}, before) == 7


def test_the_sentence_for_a_person_is_the_last_one_with_a_fix() -> None:
    log = "[error] job failed fix=first\n\x1b[31m[error]  job failed\x1b[0m fix='free some space'\n  at java.lang\n"
    assert sentence_in(log) == "free some space"
    assert sentence_in("No space left:  free some space\n") == "No space left: free some space"
    assert sentence_in("starts\n  at java.lang\n") == ""
    assert sentence_in("[error] job failed fix='see the lines above'\n") == ""
