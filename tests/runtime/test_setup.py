"""Set-up in a folder of its own, with stand-ins for java and uv on PATH; `.ci/run` proves the real ones."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conf import REPOSITORY
from runtime.machine import REALTIME_PYTHON_NEEDED, SetupError, check_disk, check_python
from runtime.setup import drop_half_installed

MODULES = ("__init__", "setup", "machine", "jars")
NEEDED = (*(f"runtime/{name}.py" for name in MODULES), "conf/__init__.py", "conf/ivy.xml", "conf/ivysettings.xml")
GROUPS = ("Start here", "Run", "Work on it")
TARGETS = {"setup", "doctor", "demo", "up", "down", "status", "simulate", "jobs", "audit", "chaos", "backfill", "bench"}
TARGETS |= {"notebooks", "test", "lint", "advisories", "clean"}
JARS = {"spark/connector-1.jar": b"connector", "kafka/broker-1.jar": b"broker"}
S3_JARS = {"s3/store-1.jar": b"store"}
VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
for_realtime = pytest.mark.skipif(sys.version_info < REALTIME_PYTHON_NEEDED, reason="real time needs a newer Python")

JAVA = """#!/bin/sh
PATH=/usr/bin:/bin
if [ "$1" = -version ]; then echo 'openjdk version "{version}" 2026-01-01' >&2; exit; fi
echo "$@" >> "$TOOLS/java.log"
cat "${{1#@}}" > "$TOOLS/options.log"
[ -e "$TOOLS/unreachable" ] && {{ echo "Server access error at url"; exit 1; }}
for last; do :; done
mkdir -p "${{last%%\\[*}}" && cp -r "$TOOLS/registry/." "${{last%%\\[*}}"
"""
UV = f"""#!/bin/sh
PATH=/usr/bin:/bin
echo "$@" >> "$TOOLS/uv.log"
while [ -e "$TOOLS/hold" ]; do sleep 0.05; done
[ "$1" = venv ] || exit 0
for last; do :; done
packages="$last/lib/{VERSION}/site-packages"
mkdir -p "$last/bin" "$packages/pyspark/jars"
ln -s {sys.executable} "$last/bin/python"
touch "$packages/pyspark/jars/ivy-2.jar"
cp "$TOOLS/spark-submit" "$last/bin/"
"""
SPARK_SUBMIT = """#!/bin/sh
for word; do
  case "$word" in *ArchiveClassesAtExit=*) file=${word#*ArchiveClassesAtExit=}; echo classes > "${file%%\\"*}";; esac
done
"""


class Folder:
    """A checkout with small pins, and the only tools that its set-up finds."""

    def __init__(self, root: Path) -> None:
        self.root, self.tools = root / "checkout", root / "tools"
        for name in NEEDED:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, self.root / name)
        for lock in ("requirements.lock", "requirements-realtime.lock"):
            (self.root / lock).write_text("")
        (self.root / "pyproject.toml").write_text("")
        all_jars = JARS | S3_JARS
        lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in all_jars.items()]
        (self.root / "conf" / "jars.sha256").write_text("".join(lines))
        for name, content in all_jars.items():
            self.registry(name).parent.mkdir(parents=True, exist_ok=True)
            self.registry(name).write_bytes(content)

    def registry(self, name: str) -> Path:
        return self.tools / "registry" / name

    def tool(self, name: str, script: str) -> "Folder":
        path = self.tools / name
        path.write_text(script)
        path.chmod(0o755)
        return self

    def java(self, version: str = "17.0.15") -> "Folder":
        return self.tool("java", JAVA.format(version=version))

    def start(self, *options: str, **env: str) -> "subprocess.Popen[str]":
        kept = {name: value for name, value in os.environ.items() if name not in ("JAVA_HOME", "PYTHONPATH")}
        return subprocess.Popen(
            [sys.executable, "-m", "runtime.setup", *options],
            cwd=self.root,
            env={**kept, "PATH": str(self.tools), "TOOLS": str(self.tools), **env},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *options: str, **env: str) -> tuple[int, str, str]:
        """Exit code, output, and what it said last to stderr."""
        process = self.start(*options, **env)
        output, errors = process.communicate(timeout=240)
        return process.returncode, output, (errors.splitlines() or [""])[-1]

    def log(self, tool: str) -> list[str]:
        path = self.tools / f"{tool}.log"
        return path.read_text().splitlines() if path.exists() else []

    def jars(self) -> dict[str, bytes]:
        kept = (path for folder in ("spark", "kafka", "s3") for path in (self.root / ".jars" / folder).glob("*"))
        return {str(path.relative_to(self.root / ".jars")): path.read_bytes() for path in kept}


@pytest.fixture
def bare(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def folder(bare: Folder) -> Folder:
    return bare.java().tool("uv", UV).tool("spark-submit", SPARK_SUBMIT)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_a_machine_without_java_is_told_what_to_install(bare: Folder) -> None:
    code, _, said = bare.run()
    assert code == 1
    expected = "Java is missing: install a JRE of version 17 or later: apt-get install openjdk-17-jre-headless"
    assert said == f"make setup: {expected}"


@pytest.mark.parametrize("version", ["1.8.0_392", "11.0.22"])
def test_a_java_that_is_too_old_is_named(bare: Folder, version: str) -> None:
    code, _, said = bare.java(version).run()
    assert code == 1
    assert f"Java {version} at {bare.tools}/java is too old" in said
    assert "apt-get install openjdk-17-jre-headless" in said


@pytest.mark.parametrize("version", ["17", "21-ea", "25.0.1"])
def test_a_java_of_version_17_or_later_will_do(folder: Folder, version: str) -> None:
    assert folder.java(version).run()[0] == 0


def test_a_java_home_that_leads_nowhere_is_named(folder: Folder) -> None:
    code, _, said = folder.run(JAVA_HOME="/nowhere")
    assert code == 1
    assert "/nowhere/bin/java does not run" in said


def test_a_python_without_its_venv_module_is_told_what_to_install(bare: Folder, tmp_path: Path) -> None:
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "ensurepip.py").write_text("raise ImportError\n")
    code, _, said = bare.java().run(PYTHONPATH=str(shadow))
    assert (code, said) == (1, "make setup: Python's venv module is missing: apt-get install python3-venv")


def test_a_python_that_is_too_old_is_named() -> None:
    with pytest.raises(SetupError, match=r"Python 3.9 is too old: install Python 3.10 or later"):
        check_python((3, 9))


def test_who_is_told_to_take_another_python_is_told_the_same_options() -> None:
    with pytest.raises(SetupError, match=r"make setup PYTHON=python3.11 ARGS='--realtime --s3'$"):
        check_python((3, 10), REALTIME_PYTHON_NEEDED, ["--realtime", "--s3"])


def test_an_option_that_is_none_is_refused_with_those_that_there_are(bare: Folder) -> None:
    code, output, said = bare.run("--real-time")
    assert (code, output) == (2, "")
    assert said == "make setup: --real-time is no option: there are --realtime, --s3, --all, --quiet"


def test_a_full_disk_is_named_with_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=rf"GiB are free at {tmp_path}: free at least \d+ GiB"):
        check_disk(tmp_path / "not" / "there" / "yet", 2**60)


def test_room_is_asked_for_only_where_an_environment_is_not_there_yet(folder: Folder) -> None:
    path = folder.root / "runtime" / "machine.py"
    folder.run()
    path.write_text(path.read_text().replace("NEEDED = 3 * GIB, 2 * GIB", "NEEDED = 3_000_000 * GIB, 2_000_000 * GIB"))
    (folder.root / ".venv" / "classes.jsa").unlink()
    assert folder.run()[0] == 0
    if sys.version_info >= REALTIME_PYTHON_NEEDED:
        assert "free at least 2000000 GiB" in folder.run("--realtime")[2]
    shutil.rmtree(folder.root / ".venv")
    assert "free at least 3000000 GiB" in folder.run()[2]


def test_pip_that_cannot_reach_the_registry_says_so(bare: Folder) -> None:
    (bare.root / "requirements.lock").write_text(f"lz4==4.4.4 --hash=sha256:{'0' * 64}\n")
    closed = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
    code, _, said = bare.java().run(**closed, PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull)
    assert code == 1
    assert said.startswith("make setup: Python packages: the registry cannot be reached")
    assert not (bare.root / ".venv" / ".stamp").exists()


def test_a_cold_run_makes_all_and_a_second_one_does_nothing(folder: Folder) -> None:
    assert folder.run()[0] == 0
    assert folder.jars() == JARS
    assert (folder.root / ".venv" / "classes.jsa").read_text() == "classes\n"
    assert "--require-hashes" in folder.log("uv")[1]
    assert "--no-deps --no-build-isolation --editable" in folder.log("uv")[2]
    before = folder.log("uv"), folder.log("java")
    code, output, _ = folder.run()
    assert code == 0
    assert "nothing to do" in output
    assert (folder.log("uv"), folder.log("java")) == before


def test_a_new_lock_installs_again_but_fetches_no_jar_twice(folder: Folder) -> None:
    folder.run()
    (folder.root / "requirements.lock").write_text("# newer\n")
    assert folder.run()[0] == 0
    assert sum("--require-hashes" in line for line in folder.log("uv")) == 2
    assert len(folder.log("java")) == 1


def test_an_archive_of_classes_that_was_removed_is_made_again_and_nothing_else(folder: Folder) -> None:
    folder.run()
    (folder.root / ".venv" / "classes.jsa").unlink()
    before = folder.log("uv"), folder.log("java")
    assert folder.run()[0] == 0
    assert (folder.root / ".venv" / "classes.jsa").exists()
    assert (folder.log("uv"), folder.log("java")) == before


def test_jars_for_s3_are_fetched_once_they_were_asked_for_and_kept_from_then_on(folder: Folder) -> None:
    folder.run()
    assert "-confs kafka spark -" in folder.log("java")[0]
    assert folder.run("--s3")[0] == 0
    assert folder.jars() == JARS | S3_JARS
    assert "-confs s3 -" in folder.log("java")[1]
    assert "nothing to do" in folder.run("--s3")[1]
    (folder.root / ".jars" / "s3" / "store-1.jar").unlink()
    assert folder.run()[0] == 0
    assert folder.jars() == JARS | S3_JARS


@for_realtime
def test_everything_that_the_tests_need_is_made_at_once(folder: Folder) -> None:
    assert folder.run("--all")[0] == 0
    assert (folder.root / ".venv-realtime" / ".stamp").exists()
    assert folder.jars() == JARS | S3_JARS
    assert "nothing to do" in folder.run("--all")[1]


def test_a_jar_that_was_removed_is_fetched_again(folder: Folder) -> None:
    folder.run()
    (folder.root / ".jars" / "spark" / "connector-1.jar").unlink()
    assert folder.run()[0] == 0
    assert folder.jars() == JARS


def test_a_jar_of_another_version_does_not_stay_beside_the_pinned_one(folder: Folder) -> None:
    folder.run()
    (folder.root / ".jars" / "kafka" / "broker-0.jar").write_bytes(b"old")
    assert folder.run()[0] == 0
    assert folder.jars() == JARS


def test_a_jar_with_another_checksum_is_named_and_not_installed(folder: Folder) -> None:
    folder.registry("kafka/broker-1.jar").write_bytes(b"something else")
    code, _, said = folder.run()
    assert code == 1
    assert "these jars are not what conf/jars.sha256 says: kafka/broker-1.jar" in said
    assert folder.jars() == {}


def test_jars_that_cannot_be_fetched_leave_a_run_that_goes_on(folder: Folder) -> None:
    (folder.tools / "unreachable").touch()
    code, _, said = folder.run()
    assert code == 1
    assert "jars: the registry cannot be reached" in said
    (folder.tools / "unreachable").unlink()
    assert folder.run()[0] == 0
    assert folder.jars() == JARS


def test_jars_come_through_the_proxy_of_the_environment_and_nobody_sees_its_password(folder: Folder) -> None:
    proxies = {"HTTPS_PROXY": "http://ada:s3%22cret@proxy.example:3128", "http_proxy": "other.example"}
    code, *said = folder.run(**proxies, NO_PROXY="localhost, .corp.example")
    assert code == 0
    assert folder.log("options") == [
        '"-Dhttp.proxyHost=other.example"',
        '"-Dhttp.proxyPort=80"',
        '"-Dhttps.proxyHost=proxy.example"',
        '"-Dhttps.proxyPort=3128"',
        '"-Dhttp.proxyUser=ada"',
        '"-Dhttp.proxyPassword=s3\\"cret"',
        '"-Djdk.http.auth.tunneling.disabledSchemes="',
        '"-Dhttp.nonProxyHosts=localhost|*.localhost|corp.example|*.corp.example"',
    ]
    assert "s3" not in "".join([*said, *folder.log("java")])


def test_a_proxy_that_is_none_is_named_without_its_password(folder: Folder) -> None:
    code, output, said = folder.run(HTTPS_PROXY="http://ada:sec/ret@proxy.example:3128")
    assert (code, said) == (1, "make setup: HTTPS_PROXY is not like http://host:port")
    assert "sec" not in output


def test_what_cannot_be_reached_is_said_with_what_can_be_set(folder: Folder) -> None:
    (folder.tools / "unreachable").touch()
    said = folder.run()[2]
    assert all(name in said for name in ("HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL", "conf/ivysettings.xml"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on_where_it_was(folder: Folder, how: signal.Signals) -> None:
    (folder.tools / "hold").touch()
    process = folder.start()
    eventually(lambda: bool(folder.log("uv")))
    process.send_signal(how)
    (folder.tools / "hold").unlink()
    process.communicate(timeout=30)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGKILL: -9}[how]
    assert not (folder.root / ".venv" / ".stamp").exists()
    assert folder.run()[0] == 0
    assert folder.jars() == JARS


def test_two_runs_at_once_do_the_work_once(folder: Folder) -> None:
    (folder.tools / "hold").touch()
    first = folder.start()
    eventually(lambda: bool(folder.log("uv")))
    second = folder.start()
    assert second.stdout is not None
    assert "waiting for another set-up" in second.stdout.readline()
    (folder.tools / "hold").unlink()
    for process in (first, second):
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert sum(line.startswith("venv") for line in folder.log("uv")) == 1


def test_a_checkout_that_was_moved_gets_a_new_environment(folder: Folder) -> None:
    folder.run()
    moved = folder.root.with_name("elsewhere")
    folder.root = folder.root.rename(moved)
    code, output, _ = folder.run()
    assert code == 0
    assert "the folder has moved" in output
    assert sum(line.startswith("venv") for line in folder.log("uv")) == 2


@pytest.mark.parametrize(
    ("name", "options"), [(".venv", ()), pytest.param(".venv-realtime", ("--realtime",), marks=for_realtime)]
)
def test_an_environment_of_another_python_than_its_link_leads_to_is_made_anew(
    folder: Folder, name: str, options: tuple[str, ...]
) -> None:
    folder.run(*options)
    packages = folder.root / name / "lib" / VERSION
    packages.rename(packages.with_name("python3.1"))
    assert "nothing to do" not in folder.run(*options)[1]
    assert [line.split()[1] for line in folder.log("uv") if line.endswith(f"checkout/{name}")] == ["--clear"] * 2
    assert "nothing to do" in folder.run(*options)[1]


def test_a_half_installed_package_is_not_taken_for_installed(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name in ("whole", "half"):
        (packages / f"{name}-1.dist-info").mkdir(parents=True)
    (packages / "whole-1.dist-info" / "RECORD").touch()
    drop_half_installed(tmp_path)
    assert [info.name for info in packages.iterdir()] == ["whole-1.dist-info"]


def test_the_lock_and_the_jars_name_no_machine_and_no_registry() -> None:
    for name in ("requirements.lock", "conf/jars.sha256", "conf/ivysettings.xml"):
        text = (REPOSITORY / name).read_text()
        assert "://" not in text
        assert "/tmp/" not in text  # noqa: S108


def test_every_listed_jar_is_pinned_in_ivy_xml_and_the_other_way_round() -> None:
    listed = [line.split()[1] for line in (REPOSITORY / "conf" / "jars.sha256").read_text().splitlines()]
    dependencies = ElementTree.parse(REPOSITORY / "conf" / "ivy.xml").iter("dependency")
    pinned = [f"{jar.get('conf', '').split('->')[0]}/{jar.get('name')}-{jar.get('rev')}.jar" for jar in dependencies]
    assert sorted(pinned) == sorted(listed)


def test_make_alone_lists_every_target_in_its_group_with_a_sentence_and_a_duration() -> None:
    listed = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert [line for line in listed.splitlines() if line in GROUPS] == list(GROUPS)
    lines = {line.split()[1]: line for line in listed.splitlines() if line.startswith("  make ")}
    assert set(lines) == TARGETS
    assert all("(" in line for line in lines.values())


def test_a_folder_that_cannot_be_written_is_one_sentence(folder: Folder) -> None:
    (folder.root / ".jars").write_text("a file where a folder should be")
    code, _, said = folder.run()
    assert code == 1
    assert said.startswith("make setup: [Errno")
    assert ".jars" in said
