"""How a job is started as a process: the line of its docstring, and what it finds its data and its Python by."""

import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pyspark

from conf import REPOSITORY
from conf.settings import Settings
from conf.store import WITH_S3_JARS, checkpoints
from contract import tables
from jobs.checkpoints import committed_offsets
from jobs.offsets import total
from jobs.realtime import python_of

MANY = 500_000
"""Records from which on a batch over all of them is worth compiling: docs/decisions/no-generated-code.md."""
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
COMPILES_LITTLE = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"
"""For a JVM that does not grow old: half of the processor's time of a short batch is the compiler's.

Without the second option it would have a fifth of the room for what it compiles: once that is full, all is interpreted,
and a task that needs an adapter ends the JVM (VirtualMachineError, Spark's exit code 50).
"""
SPARK_CONF = REPOSITORY / "conf" / "spark.conf"
S3_JARS = REPOSITORY / ".jars" / "s3"
JAVA_OPTIONS = "spark.driver.extraJavaOptions"
ARCHIVE = "-XX:SharedArchiveFile=.venv/classes.jsa -Xlog:cds=off -Xlog:cds+dynamic=off"
"""Classes that `make setup` archived, for a quicker start; nothing where the file is missing or of another Java."""
ARENAS = "MALLOC_ARENA_MAX"
"""RocksDB takes memory in many threads: glibc would have eight arenas a core for them, and give little back."""
QUICK_START = f"-Dlog4j2.configurationFile=conf/log4j2.properties -XX:+UseSerialGC {COMPILES_LITTLE} {ARCHIVE}"


def spark_conf() -> dict[str, str]:
    """What conf/spark.conf says."""
    lines = (line.split(None, 1) for line in SPARK_CONF.read_text().splitlines() if line.startswith("spark."))
    return {name: value.strip() for name, value in lines}


def spark_submit(settings: Settings, name: str, *options: str, folder: str = "jobs") -> tuple[str, ...]:
    """The line of the job's docstring, with more options."""
    python = python_of(settings, name)
    usual = ("--master", settings.spark_master, "--properties-file", "conf/spark.conf")
    line: tuple[str, ...] = (str(python.with_name("spark-submit")), *usual)
    if python != Path(sys.executable):  # spark-submit looks for Spark where PYSPARK_PYTHON has it
        own = spark_conf()[JAVA_OPTIONS].replace(".venv/", f"{python.parents[1].name}/")
        other = ("-u", "SPARK_HOME", "-u", "PYSPARK_DRIVER_PYTHON", f"PYSPARK_PYTHON={python}")
        line = ("env", *other, *line, "--conf", f"spark.pyspark.python={python}")
        line = (*line, "--driver-java-options", own)
    own_scratch = temporary_in(settings, scratch(settings, name)) if folder == "jobs" else ()
    return (*line, *jars(settings), *own_scratch, *options, f"{folder}/{name}.py")


def scratch(settings: Settings, name: str) -> Path:
    """Where a local JVM has its temporary files: local copies of state, shuffles, libraries."""
    return settings.run_dir.parent / "scratch" / name


def temporary_in(settings: Settings, folder: Path) -> tuple[str, ...]:
    """The option for such a folder, where Spark is one process; makes it. A JVM that is killed leaves all there."""
    if not settings.spark_master.startswith("local"):
        return ()
    folder.mkdir(parents=True, exist_ok=True)
    # Spark's folder too, unless SPARK_LOCAL_DIRS says otherwise. Default options go before those that somebody gives.
    return ("--conf", f'spark.driver.defaultJavaOptions="-Djava.io.tmpdir={folder}"')


def empty(folder: Path) -> None:
    """Remove what an earlier process left there; the folder stays."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def jars(settings: Settings) -> tuple[str, ...]:
    """Options for the jars of the store beside those of conf/spark.conf; SystemExit where they are not there."""
    if not settings.store:
        return ()
    if not S3_JARS.exists():
        raise SystemExit(f"MSM_STORE is {settings.store}, and {S3_JARS} is not there: {WITH_S3_JARS}")
    return ("--jars", f"{spark_conf()['spark.jars']},.jars/s3/*.jar")


def job_env(settings: Settings) -> dict[str, str]:
    """What it gets besides the caller's environment, which may name another Spark."""
    loopback = {"SPARK_LOCAL_IP": "127.0.0.1"} if settings.spark_master.startswith("local") else {}
    return {
        "MSM_DATA_DIR": str(settings.data_dir),
        "MSM_KAFKA_SECRETS_DIR": settings.kafka_secrets_dir,
        "MSM_STORE": settings.store,
        "MSM_BESIDE": str(settings.beside).lower(),
        "MSM_COUNTS_TRIGGER": settings.counts_trigger,
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_HOME": str(Path(pyspark.__file__).parent),
        ARENAS: spark_conf()[f"spark.executorEnv.{ARENAS}"],
        **loopback,
    }


def for_a_batch(settings: Settings) -> tuple[str, ...]:
    """Options of a process that looks at everything once and ends: where that is little, it compiles little."""
    if archived(settings) >= MANY:
        return ()
    interpreted = (part for name, value in INTERPRETED.items() for part in ("--conf", f"{name}={value}"))
    return ("--driver-java-options", QUICK_START, *interpreted)


def archived(settings: Settings) -> int:
    """How many records the archive has taken in; 0 where its checkpoint does not say."""
    with suppress(OSError, ValueError):
        return total(committed_offsets(checkpoints(settings) / tables.EVENTS))
    return 0
