"""The page's machines follow from its inputs, and the inputs from what was measured."""

import json
from pathlib import Path

import pytest

from deploy.capacity import PAGE, WALLS, computed, inputs_of, money, need, with_measured

INPUTS = {
    "floor.cpu": 20.0,
    "counts.cpu": 50.0,
    "trending.cpu": 100.0,
    "archive.cpu": 25.0,
    "commands.most": 1_000.0,
    "feed.most": 500.0,
    "feed.build": 20_000.0,
    "log.bytes": 100.0,
    "lake.bytes": 50.0,
    "pairs": 0.5,
    "state.bytes": 100.0,
    "rows": 0.25,
    "reads": 2.0,
    "busy": 0.5,
    "broker.disk": 8.0,
    "broker.write": 100.0,
    "broker.cores": 8.0,
    "price.core": 0.05,
    "price.disk": 0.1,
    "price.object": 0.02,
}


def test_the_page_is_what_its_inputs_give() -> None:
    page = PAGE.read_text()
    assert computed(page) == page, "run .venv/bin/python -m deploy.capacity"
    assert set(inputs_of(page)) == set(INPUTS)


def test_cores_are_cost_times_rate_with_room_to_catch_up() -> None:
    needed = need(INPUTS, 10_000)
    assert (needed.counts_cores, needed.trending_cores, needed.archive_cores) == (1.0, 2.0, 0.5)
    assert need(INPUTS, 100_000).job_cores == 35.0


def test_disks_hold_a_year() -> None:
    needed = need(INPUTS, 10_000)
    assert needed.log_bytes == 10_000 * 31_536_000 * 100 * 3
    assert needed.lake_bytes == 10_000 * 31_536_000 * 50
    assert needed.state_bytes == 10_000 * 31_536_000 * 0.5 * 100
    assert needed.brokers == 12  # 94.6 TB on 8 TB each


def test_instances_are_whole_and_never_alone() -> None:
    assert need(INPUTS, 10_000).command_instances == 20
    assert need(INPUTS, 10_000).feed_instances == 80
    few = need(INPUTS, 10)
    assert (few.command_instances, few.feed_instances, few.brokers) == (1, 2, 3)


def test_money_is_cores_and_disks() -> None:
    cores = 3.5 + 20 + 80 + 12 * 8
    disk, lake, state = 94_608, 15_768, 15_768
    assert money(INPUTS, 10_000) == pytest.approx(cores * 0.05 * 730 + (disk + state) * 0.1 + (lake + state) * 0.02)


def test_a_wall_is_where_one_instance_cannot_follow() -> None:
    reached = {name: at(INPUTS) for name, (_, at) in WALLS.items()}
    assert reached["one feed instance takes every changed post"] == 80_000
    assert reached["a core for each of the 288 partitions of the facts"] == pytest.approx(288 * 25_000)


def test_what_was_measured_comes_into_the_page_and_the_rest_stays(tmp_path: Path) -> None:
    result = tmp_path / "bench.json"
    measures = [{"name": "counts.cpu", "value": 36.04}, {"name": "other", "value": 1.0}]
    about = {"date": "2026-12-01T10:00:00.000Z", "commit": "abc", "size": "full", "load_before": 0.1}
    result.write_text(json.dumps({"about": about, "measures": measures}))
    page = PAGE.read_text()
    changed = with_measured(page, result)
    assert inputs_of(changed) == {**inputs_of(page), "counts.cpu": 36.0}
    assert computed(changed) != computed(page)
    (row,) = [line for line in changed.splitlines() if line.startswith("| `counts.cpu` |")]
    assert row.endswith("| *make bench* | 2026-12-01, abc, size full, load 0.1 before it |")


def test_a_file_that_is_no_result_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"none.json is no result of make bench"):
        with_measured(PAGE.read_text(), tmp_path / "none.json")
