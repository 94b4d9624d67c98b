"""What a soak makes of what it saw."""

import json
import time
from pathlib import Path

import pytest

from bench import soak
from bench.measures import Look, Measure, Run
from bench.place import Place
from bench.probes import OwnWrite
from bench.report import write_report
from bench.soak import flatness, of_own_writes
from conf.settings import Settings
from conf.store import write_whole


def looks(**numbers: list[float]) -> list[Look]:
    names = {name.replace("__", "."): values for name, values in numbers.items()}
    count = max(len(values) for values in names.values())
    return [
        Look(float(n), {name: values[n] for name, values in names.items() if n < len(values)}) for n in range(count)
    ]


def test_what_grows_is_told_by_how_much_and_the_time_of_warming_up_is_left_out() -> None:
    seen = looks(
        lake__files=[1, 100, 10, 10, 15, 15], web__memory=[900, 900, 8, 8, 8, 8], lake__size=[1, 2, 3, 4, 5, 6]
    )
    assert {one.name: one.value for one in flatness(seen, "a test")} == {"soak.lake.files": 1.5, "soak.web.memory": 1.0}


def test_what_was_not_seen_in_each_part_is_not_compared() -> None:
    seen = looks(a__batch=[5, 5, 5, 5, 5, 5], b__batch=[5, 5, 5])
    assert [one.name for one in flatness(seen, "a test")] == ["soak.a.batch"]


def test_reads_that_gave_up_are_counted_and_are_in_no_percentile() -> None:
    writes = [OwnWrite(0, 0.1, second / 10, True) for second in range(1, 102)] + [OwnWrite(0, 0.1, 60, False)]
    assert of_own_writes(writes) == pytest.approx({"p50.own_write": 5_100, "p95.own_write": 9_600, "page.given_up": 1})
    assert of_own_writes(writes[-1:]) == {"page.given_up": 1}


def test_an_audit_that_another_one_replaced_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, audits = Place(Settings(data_dir=tmp_path)), dict[str, float]()
    monkeypatch.setattr(soak, "LOOK_SECONDS", 0.01)
    soak._wait(time.monotonic() + 0.02, [], place, audits)
    for at, drift in (("10:00", 0), ("10:05", 7), ("10:10", 0)):
        write_whole(place.settings.audit_result, {"audited_at": at, "drift": drift})
        soak._wait(time.monotonic() + 0.02, [], place, audits)
    assert audits == {"10:00": 0, "10:05": 7, "10:10": 0}


def test_looks_are_kept_beside_the_measures_and_drawn(tmp_path: Path) -> None:
    about = {"commit": "c", "date": "2026-11-28T00:00:00.000Z", "cores": 2, "machine": "m", "memory_gib": 1}
    run = Run(
        {**about, "size": "s", "counts": "batches", "spark": "yarn", "load_before": 0, "versions": {}},
        [Measure("soak.drift", "differences", 0, "how")],
    )
    run.looks += looks(lake__files=[1, 2, 3], late__batch=[1], audit__drift=[0, 0])
    write_report(run, tmp_path)
    assert Run.read(tmp_path / "bench.json") == run
    assert (tmp_path / "soak.png").stat().st_size > 10_000
    assert "those of the drivers" in (tmp_path / "bench.md").read_text()
    before = {key: value for key, value in json.loads((tmp_path / "bench.json").read_text()).items() if key != "looks"}
    (tmp_path / "old.json").write_text(json.dumps(before))
    assert Run.read(tmp_path / "old.json").looks == []
