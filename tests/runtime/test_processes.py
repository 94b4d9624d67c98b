"""What is stopped is gone, whatever comes between."""

from pathlib import Path
from typing import NoReturn

import pytest

from runtime.processes import Process, wait_until


def test_who_is_interrupted_while_a_child_ends_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Process.start("stubborn", ("sh", "-c", "trap '' TERM; echo deaf; sleep 60"), tmp_path)
    wait_until(lambda: child.last_words() == "deaf", 120, child.last_words)

    def interrupted(_: float) -> NoReturn:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(child.popen, "wait", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            child.stop(60)
        assert child.exit_code == -9
    finally:
        child.kill()
