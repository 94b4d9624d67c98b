"""A supervisor over small parts: `first` must be ready before `second` starts; `hopeless` never comes up,
of `moody` one cannot always ask whether it is ready, and `archive` is a job. While there is a file `full`, the disk is.

python -m tests.runtime.stand_in_stack [hopeless] [moody] [archive]
"""

import errno
import sys
from dataclasses import replace
from http.client import BadStatusLine
from pathlib import Path
from typing import Any

from conf.settings import Settings, load_settings
from conf.store import write_whole
from runtime import supervisor
from runtime.parts import Part, stack_parts
from runtime.supervisor import Supervisor
from tests.runtime.stand_in_jobs import stand_in

LIVES = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
LIVES_LATER = f"import time; time.sleep(0.5); {LIVES}"
DIES = "import sys; print('the disk is full: free some space'); sys.exit(3)"


def parts(settings: Settings, names: list[str]) -> list[Part]:
    folder = settings.data_dir
    first = Part("first", (sys.executable, "-c", LIVES_LATER, str(folder / "first")), (folder / "first").exists)
    second = Part(
        "second", (sys.executable, "-c", LIVES, str(folder / "second")), (folder / "second").exists, ("first",)
    )
    hopeless = Part("hopeless", (sys.executable, "-c", DIES), lambda: False)
    moods = iter([TimeoutError("the broker does not answer"), BadStatusLine("")])

    def answer() -> bool:
        for mood in moods:
            raise mood
        return True

    moody = Part("moody", (sys.executable, "-c", LIVES, str(folder / "moody")), answer)
    archive = next(part for part in stack_parts(settings) if part.name == "archive")
    archive = replace(archive, command=stand_in(settings, "archive"), ready=lambda: True, after=())
    return [first, second, *(part for part in (hopeless, moody, archive) if part.name in names)]


def write_if_there_is_room(place: Path, content: dict[str, Any]) -> None:
    if (load_settings().data_dir / "full").exists():
        raise OSError(errno.ENOSPC, "No space left on device", str(place))
    write_whole(place, content)


if __name__ == "__main__":
    configured = load_settings()
    supervisor.write_whole = write_if_there_is_room  # type: ignore[assignment]
    sys.exit(Supervisor(configured, parts(configured, sys.argv[1:])).run())
