"""The folder `beside`: what is rebuilt beside the running one, or was switched off and may come back.

It holds checkpoints and tables under the names that the live ones have. A switch makes the two change places.
"""

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from conf.settings import Settings
from conf.store import read_whole, write_whole
from contract import tables
from contract.topics import RESULT_TOPICS, TOPIC_BY_NAME, result_topic
from jobs.checkpoints import STATES
from jobs.running import SWITCH
from runtime.admin import admin_client
from runtime.topics import ensure_topics

STATEFUL = tuple(job for job, states in STATES.items() if set(states.values()) != {"none"})
"""The jobs with state. The archive has none; its table `events` is what one rebuilds from, never what is rebuilt."""
TABLES = (tables.ENGAGEMENT_BY_MINUTE, tables.POST_FACTS, tables.FIRST_HOUR_ENGAGEMENT)
ROLE = "role.json"
STEPS = ("leave", "come", "stay")


def beside(settings: Settings) -> Settings:
    """The settings of the jobs there."""
    return settings.model_copy(update={"beside": True})


def role(settings: Settings) -> str:
    """Why something is there: `rebuilt`, or `before` (switched off); empty where nothing is."""
    return str(read_whole(settings.beside_dir / ROLE).get("role", ""))


def jobs(settings: Settings) -> list[str]:
    """The jobs that were rebuilt there."""
    return list(read_whole(settings.beside_dir / ROLE)["jobs"])


def take_role(settings: Settings, role: str, jobs: Sequence[str]) -> None:
    settings.beside_dir.mkdir(parents=True, exist_ok=True)
    write_whole(settings.beside_dir / ROLE, {"role": role, "jobs": list(jobs)})


def drop(settings: Settings) -> bool:
    """Remove it with its topics, for good; False where nothing was there. Interrupted, `sweep` does the rest."""
    was_there = settings.beside_dir.exists()
    sweep(settings)
    if was_there:
        settings.beside_dir.rename(_gone(settings))
    return _remove(settings) or was_there


def sweep(settings: Settings) -> None:
    """Remove what a drop that was interrupted has left."""
    if _gone(settings).exists():
        _remove(settings)


def _gone(settings: Settings) -> Path:
    return settings.beside_dir.with_name("beside.gone")


def _remove(settings: Settings) -> bool:
    """The topics, and then the folder that was dropped; whether there were topics."""
    names = [result_topic(name, True) for name in RESULT_TOPICS]
    with closing(admin_client(settings)) as admin:
        there = sorted(set(names) & set(admin.list_topics()))
        if there:
            admin.delete_topics(there)
    if _gone(settings).exists():
        shutil.rmtree(_gone(settings))
    return bool(there)


def make_topics(settings: Settings) -> None:
    """The result topics of the jobs there."""
    ensure_topics(settings, [replace(TOPIC_BY_NAME[name], name=result_topic(name, True)) for name in RESULT_TOPICS])


def planned(settings: Settings) -> dict[str, Any]:
    """The switch that was begun and is not finished; empty where there is none."""
    return read_whole(settings.beside_dir / SWITCH)


def plan(settings: Settings, **changes: Any) -> None:
    """Write down how far the switch is."""
    write_whole(settings.beside_dir / SWITCH, {**planned(settings), **changes})


def change_places(settings: Settings) -> None:
    """Live and beside swap their folders; each rename can be told from those that are still to do."""
    begun = planned(settings)
    done, places = begun.get("moved", []), [(Path(live), Path(there)) for live, there in begun["places"]]
    leaving = settings.beside_dir / "leaving"
    for step in STEPS[len(done) :]:
        for live, there in places:
            aside = leaving / live.parent.name / live.name
            _move(*{"leave": (live, aside), "come": (there, live), "stay": (aside, there)}[step])
        done = [*done, step]
        plan(settings, moved=done)
    shutil.rmtree(leaving, ignore_errors=True)


def places(settings: Settings) -> list[tuple[str, str]]:
    """Each folder beside, and the live one that it stands for."""
    there = beside(settings)
    names = [("checkpoints", query) for job in STATEFUL for query in STATES[job]]
    names += [("lake", table) for table in TABLES]
    pairs = [(settings.data_dir / kind / name, there.beside_dir / kind / name) for kind, name in names]
    return [(str(live), str(new)) for live, new in pairs if new.exists()]


def _move(old: Path, new: Path) -> None:
    if old.exists():
        new.parent.mkdir(parents=True, exist_ok=True)
        old.rename(new)


def finish(settings: Settings) -> None:
    """The switch is done."""
    (settings.beside_dir / SWITCH).unlink()
