"""Two runs beside each other, each over its own floor."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.commands import cli
from bench.compare import changes, refuse_unlike
from bench.measures import Measure, Run


def run(floor: float, rate: float, cost: float = 50.0) -> Run:
    floors = [Measure("floor.overall", "facts/s", floor, "", "higher"), Measure("floor.cpu", "s", 10.0, "")]
    rates = Measure("counts.overall", "facts/s", rate, "", "higher", "floor.overall")
    return Run({"size": "quick"}, [*floors, rates, Measure("counts.cpu", "s", cost, "", "lower", "floor.cpu")])


def worse(before: Run, after: Run) -> dict[str, float | None]:
    return {one.measure.name: one.worse for one in changes(before, after)}


def test_a_machine_that_is_half_as_fast_is_no_regression() -> None:
    assert worse(run(200, 100), run(100, 50))["counts.overall"] == pytest.approx(1)


def test_the_same_rate_on_a_machine_twice_as_fast_is_twice_as_bad() -> None:
    assert worse(run(100, 50), run(200, 50))["counts.overall"] == pytest.approx(2)


def test_of_a_cost_less_is_better() -> None:
    assert worse(run(1, 1, cost=50), run(1, 1, cost=25))["counts.cpu"] == pytest.approx(0.5)


def test_without_a_floor_the_values_themselves_are_compared() -> None:
    before, after = (Run({}, [Measure("memory", "MiB", value, "")]) for value in (100, 150))
    assert worse(before, after) == {"memory": 1.5}


def test_without_a_floor_another_machine_is_not_judged_but_what_is_alike_on_any_is() -> None:
    def on(machine: str, value: float) -> Run:
        drift, most = Measure("drift", "differences", value, ""), Measure("most", "requests/s", value, "", "higher")
        floor = [Measure("floor.cpu", "s", value, ""), Measure("x", "s", 1, "", "lower", "floor.cpu")]
        return Run({"machine": machine}, [drift, most, *floor])

    assert worse(on("old", 2), on("new", 1)) == {"drift": 0.5, "most": None, "x": 2}
    assert worse(on("old", 2), on("old", 1)) == {"drift": 0.5, "most": 2, "x": 2}
    assert not any(one.is_regression(2.1) for one in changes(on("old", 9), on("new", 9)))


def test_machines_that_differ_are_said_in_the_table(tmp_path: Path) -> None:
    paths = [tmp_path / "before.json", tmp_path / "after.json"]
    for path, machine in zip(paths, ("old", "new"), strict=True):
        Run({"machine": machine}, [Measure("most", "requests/s", 1, "", "higher")]).write(path)
    found = CliRunner().invoke(cli, ["compare", *map(str, paths)])
    assert found.exit_code == 0
    assert "another machine" in found.output
    assert "0 of 0 are worse" in found.output


def test_a_count_that_was_right_and_is_wrong_is_infinitely_worse() -> None:
    before, after = (Run({}, [Measure("wrong", "posts", value, "")]) for value in (0, 1))
    assert worse(before, after) == {"wrong": float("inf")}
    assert worse(before, before) == {"wrong": 1}


def test_floors_are_not_compared_with_each_other() -> None:
    assert set(worse(run(100, 50), run(10, 50))) == {"counts.overall", "counts.cpu"}


def test_what_else_is_measured_of_the_floor_is_compared_only_over_a_floor() -> None:
    def with_more(cpu: float) -> Run:
        more = [
            Measure("floor.first_output", "s", cpu, ""),
            Measure("floor.latency.p50", "ms", cpu, "", "lower", "floor.cpu"),
        ]
        return Run({}, [Measure("floor.cpu", "s", cpu, ""), *more, Measure("x", "s", 1, "", "lower", "floor.cpu")])

    assert worse(with_more(10), with_more(20)) == pytest.approx({"floor.latency.p50": 1, "x": 0.5})


def test_both_runs_are_set_against_the_floor_that_the_later_one_names() -> None:
    before, after = run(100, 50), run(100, 50)
    before.measures[2] = replace(before.measures[2], floor="floor.steady")
    before.measures.append(Measure("floor.steady", "facts/s", 10, "", "higher"))
    assert worse(before, after)["counts.overall"] == pytest.approx(1)


ABOUT: dict[str, Any] = {"size": "quick", "cores": 4, "counts": "real time, Spark 4.3.0", "spark": "local[*]"}
ABOUT |= {"broker": "its own", "settings": {}}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"size": "full"}, r"size \(quick; full\)"),
        ({"cores": 2}, r"cores \(4; 2\)"),
        ({"counts": "batches, Spark 4.2.0"}, r"counts \(real time; batches\)"),
        ({"broker": "k:9092"}, r"broker \(its own; k:9092\)"),
        ({"settings": {"top": 9}}, r"settings \({}; {'top': 9}\)"),
        ({"spark": "spark://one:7077"}, r"spark \(local\[\*\]; spark://one:7077\)"),
    ],
)
def test_runs_of_another_size_or_kind_are_not_compared(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    paths = [tmp_path / "before.json", tmp_path / "after.json"]
    for path, about in zip(paths, (ABOUT, ABOUT | other), strict=True):
        Run(about, run(100, 50).measures).write(path)
    found = CliRunner().invoke(cli, ["compare", *map(str, paths)])
    assert found.exit_code == 1
    assert re.search(said, str(found.exception) + found.output)


def test_another_version_of_spark_is_compared_and_a_run_that_does_not_say() -> None:
    refuse_unlike(Run(ABOUT), Run(ABOUT | {"counts": "real time, Spark 4.3.1"}))
    refuse_unlike(Run({"size": "quick", "cores": 4}), Run(ABOUT))
    refuse_unlike(Run(ABOUT), Run({"size": "quick", "cores": 4}))


@pytest.mark.parametrize(("rate", "code"), [(41, 0), (39, 1)])
def test_the_command_fails_above_the_bound_and_only_there(tmp_path: Path, rate: float, code: int) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    run(100, 50).write(before)
    run(100, rate).write(after)
    found = CliRunner().invoke(cli, ["compare", str(before), str(after), "--bound", "1.25"])
    assert found.exit_code == code, found.output
    assert ("counts.overall" in found.output.splitlines()[-1]) == bool(code)


def test_a_file_that_is_no_run_is_said_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"about": {}}')
    with pytest.raises(SystemExit, match="is no result of make bench"):
        Run.read(path)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    run(100, 50).write(tmp_path / "bench.json")
    assert Run.read(tmp_path / "bench.json") == run(100, 50)
