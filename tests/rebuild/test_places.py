"""A switch that is killed anywhere is finished by the next one; jobs wait for whoever holds them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conf.settings import Settings
from jobs.checkpoints import sign
from jobs.running import refuse_unfinished_switch
from runtime import beside
from runtime.children import held
from runtime.processes import wait_until

QUERIES = ("posts_with_counts", "trending_posts")


class Killed(Exception):  # noqa: N818
    """As by kill -9."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Live and beside with two checkpoints each, and a table that only the live one has."""
    settings = Settings(data_dir=tmp_path)
    for name in QUERIES:
        (settings.checkpoint_dir / name).mkdir(parents=True)
        (settings.checkpoint_dir / name / "who").write_text("old")
        (beside.beside(settings).checkpoint_dir / name).mkdir(parents=True)
        (beside.beside(settings).checkpoint_dir / name / "who").write_text("new")
    (settings.lake_dir / "post_facts").mkdir(parents=True)
    return settings


def who(settings: Settings) -> list[str]:
    return [(settings.checkpoint_dir / name / "who").read_text() for name in QUERIES]


def switch_places(settings: Settings) -> None:
    if not beside.planned(settings):
        beside.plan(settings, places=beside.places(settings), role="rebuilt")
    beside.change_places(settings)
    beside.finish(settings)


def test_live_and_beside_change_places_and_back(settings: Settings) -> None:
    switch_places(settings)
    assert (who(settings), who(beside.beside(settings))) == (["new", "new"], ["old", "old"])
    assert (settings.lake_dir / "post_facts").exists()
    switch_places(settings)
    assert (who(settings), who(beside.beside(settings))) == (["old", "old"], ["new", "new"])


@pytest.mark.parametrize("moment", range(6))
def test_a_switch_that_was_killed_is_finished_by_the_next(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    renames = [0]
    rename = Path.rename

    def killed_at_the_moment(path: Path, target: Path) -> Path:
        if path.is_dir():
            renames[0] += 1
            if renames[0] > moment:
                raise Killed
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed_at_the_moment)
    with pytest.raises(Killed):
        switch_places(settings)
    with pytest.raises(SystemExit, match="interrupted half-way: finish it with make backfill"):
        refuse_unfinished_switch(settings.beside_dir)
    monkeypatch.setattr(Path, "rename", rename)
    switch_places(settings)
    assert (who(settings), who(beside.beside(settings))) == (["new", "new"], ["old", "old"])
    refuse_unfinished_switch(settings.beside_dir)


def test_a_job_waits_while_its_checkpoint_is_held(settings: Settings) -> None:
    job = "import sys; from pathlib import Path; from jobs.running import only_one\n"
    job += f"with only_one(Path({str(settings.run_dir)!r}), 'posts_with_counts'): print('runs', flush=True)"
    with held(settings, ["posts_with_counts"]):
        waiting = subprocess.Popen([sys.executable, "-c", job], stdout=subprocess.PIPE, text=True)
        assert waiting.stdout is not None
        assert "waits for whoever runs this job" in waiting.stdout.readline()
        assert waiting.poll() is None
    assert waiting.communicate(timeout=30)[0].strip() == "runs"


def test_a_running_job_is_asked_to_stop_and_waited_for(settings: Settings) -> None:
    job = "import fcntl, json, os, time; from pathlib import Path\n"
    job += f"run = Path({str(settings.run_dir)!r}); run.mkdir(parents=True, exist_ok=True)\n"
    job += "lock = (run / 'archive.lock').open('w'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
    job += "(run / 'archive.json').write_text(json.dumps({'pid': os.getpid()}))\n"
    job += "while not (run / 'archive.stop').exists(): time.sleep(0.05)\n"
    job += "(run / 'archive.json').unlink()"
    running = subprocess.Popen([sys.executable, "-c", job], env=os.environ)
    wait_until((settings.run_dir / "archive.json").exists, 120, lambda: "it does not start")
    with held(settings, ["archive"]):
        assert not (settings.run_dir / "archive.json").exists()
    assert running.wait(30) == 0


def test_a_checkpoint_keeps_its_term_when_it_changes_places(settings: Settings) -> None:
    sign(beside.beside(settings).checkpoint_dir / QUERIES[0], 3)
    switch_places(settings)
    from jobs.checkpoints import made

    assert made(settings.checkpoint_dir / QUERIES[0])["term"] == 3
