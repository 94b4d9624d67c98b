"""A supervisor over small parts: `first` must be ready before `second` starts; `hopeless` never comes up.

python -m tests.runtime.stand_in_stack [hopeless]
"""

import sys
from pathlib import Path

from conf.settings import load_settings
from runtime.parts import Part
from runtime.supervisor import Supervisor

LIVES = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
DIES = "import sys; print('the disk is full: free some space'); sys.exit(3)"


def parts(folder: Path, names: list[str]) -> list[Part]:
    first = Part("first", (sys.executable, "-c", LIVES, str(folder / "first")), (folder / "first").exists)
    second = Part(
        "second", (sys.executable, "-c", LIVES, str(folder / "second")), (folder / "second").exists, ("first",)
    )
    hopeless = Part("hopeless", (sys.executable, "-c", DIES), lambda: False)
    return [first, second, *([hopeless] if "hopeless" in names else [])]


if __name__ == "__main__":
    configured = load_settings()
    sys.exit(Supervisor(configured, parts(configured.data_dir, sys.argv[1:])).run())
