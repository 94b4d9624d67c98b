"""`msm jobs` with stand-ins for the three jobs: each runs until it is told to stop, and says its options.

python -m tests.runtime.stand_in_jobs [OPTIONS...]; with --fail NAME that job ends by itself, once all run.
"""

import signal
import sys
import threading

from conf.settings import Settings, load_settings
from jobs.checkpoints import STATES
from jobs.running import announce, only_one, read_state


def stand_in(_: Settings, name: str, *options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.runtime.stand_in_jobs", "be", name, *options)


def be(name: str, options: list[str]) -> None:
    """A job, as far as `msm jobs` can see."""
    told, settings = threading.Event(), load_settings()
    with only_one(settings.run_dir, name):
        signal.signal(signal.SIGTERM, lambda *_: told.set())
        announce(settings, name)
        print(name, *options, flush=True)
        if options == ["--fail", name]:
            while not all(read_state(settings.run_dir, job) for job in STATES):
                told.wait(0.05)
            sys.exit(3)
        told.wait()
    print(name, "stopped between two batches", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["be"]:
        be(sys.argv[2], sys.argv[3:])
    else:
        from runtime import children, cli  # the stand-ins need not wait for Spark

        children.spark_submit = stand_in
        cli.prepare_cluster = lambda *_: None  # type: ignore[assignment]
        cli.app(["jobs", *sys.argv[1:]])
