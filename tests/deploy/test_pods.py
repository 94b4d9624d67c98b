"""Jobs and services run what is in the repository, with settings that it has, and with as few rights as will do."""

import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from conf import REPOSITORY
from conf.kafka import java_security, password, python_options
from conf.settings import Settings
from jobs.running import state_file, stop_file
from jobs.submit import ARCHIVE
from producers.pictures import EXTENSIONS, MAX_PIXELS, MAX_PIXELS_OF_WEBP
from producers.posting import PICTURES_AT_ONCE
from producers.publisher import Publisher
from runtime.parts import JOBS
from runtime.web import SERVICES, create_app
from tests.deploy.manifests import Manifest, everything, leaves, of_kind, pods, selected, settings
from tests.feeds.serving import wait_for

LARGEST = {  # of each format one that takes the most, and does not let itself be decoded smaller
    "JPEG": ("CMYK", (24_000, 2_083), {"progressive": True, "subsampling": 0}),
    "PNG": ("RGBA", (7_071, 7_071), {}),
    "WEBP": ("RGBA", (5_000, 5_000), {"lossless": True}),
    "GIF": ("P", (7_071, 7_071), {}),
}
MAKE = """
from PIL import Image
Image.new({1!r}, {2!r}).save({4!r}, {0!r}, **{3!r})
"""
CLEAN = """
from pathlib import Path
from producers.pictures import clean_picture
clean_picture(Path({!r}).read_bytes())
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
CONF = dict(
    line.split(None, 1)
    for line in (REPOSITORY / "conf/spark.conf").read_text().splitlines()
    if line.startswith("spark.")
)
DOCKERFILE = (REPOSITORY / "deploy/Dockerfile").read_text()
PYPROJECT = (REPOSITORY / "pyproject.toml").read_text()


def mounts(pod: Manifest) -> list[dict[str, Any]]:
    return [mount for container in pod["containers"] for mount in container["volumeMounts"]]


def test_each_job_is_an_application_that_starts_its_documented_file() -> None:
    files = {one["spec"]["mainApplicationFile"] for one in of_kind("SparkApplication").values()}
    assert files == {f"local:///app/jobs/{job}.py" for job in JOBS}
    assert all((REPOSITORY / file.removeprefix("local:///app/")).is_file() for file in files)


@pytest.mark.parametrize("application", of_kind("SparkApplication").values(), ids=lambda one: one["metadata"]["name"])
def test_a_job_has_the_settings_of_spark_conf(application: Manifest) -> None:
    """Jars and Python are in the image, memory is a field of its own, and of classes there is no archive."""
    elsewhere = {"spark.jars", "spark.driver.extraClassPath", "spark.pyspark.python", "spark.driver.memory"}
    expected = {name: value.strip() for name, value in CONF.items() if name not in elsewhere}
    options = "spark.driver.extraJavaOptions"
    assert ARCHIVE in expected[options]
    expected[options] = expected[options].replace(f" {ARCHIVE}", "")
    assert application["spec"]["sparkConf"] == expected
    assert len(expected) > 10


def test_the_image_is_of_the_locked_spark_and_has_its_jars_and_all_packages() -> None:
    (version,) = re.findall(r'"pyspark==([\d.]+)"', PYPROJECT)
    assert f"FROM apache/spark:{version}-scala2.13" in DOCKERFILE
    assert {one["spec"]["sparkVersion"] for one in of_kind("SparkApplication").values()} == {version}
    assert CONF["spark.jars"].strip() == ".jars/spark/*.jar"
    assert "cp .jars/spark/*.jar /opt/spark/jars/" in DOCKERFILE
    packages = set(re.findall(r'"(\w+)"', re.findall(r"^packages = \[(.+)\]", PYPROJECT, re.MULTILINE)[0]))
    assert packages - set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE)) == {"deploy"} & packages
    ignored = (REPOSITORY / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    copied = {word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()}
    assert {f"!{name}" for name in copied} <= set(ignored)
    # Set-up runs Spark on what the jobs are made of.
    assert DOCKERFILE.rindex("\nCOPY ") < DOCKERFILE.index("make setup")


def test_a_driver_and_its_executors_see_one_folder_under_one_path() -> None:
    for name in of_kind("SparkApplication"):
        seen = [
            [mount for mount in mounts(pods()[f"{name}-{role}"]) if mount["name"] == "data"]
            for role in ("driver", "executor")
        ]
        assert seen[0] == seen[1] == [{"name": "data", "mountPath": settings()["MSM_DATA_DIR"]}]
    assert of_kind("PersistentVolumeClaim")["data"]["spec"]["accessModes"] == ["ReadWriteMany"]


def variables() -> list[tuple[str, str, str | None]]:
    own = [
        (name, one["name"], one.get("value"))
        for name, pod in pods().items()
        for container in pod["containers"]
        for one in container.get("env", ())
    ]
    return own + [("settings", name, value) for name, value in settings().items()]


def test_each_variable_is_a_setting_and_its_value_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {f"MSM_{name.upper()}" for name in Settings.model_fields} | {"SPARK_LOCAL_DIRS"}
    assert [(pod, name) for pod, name, _ in variables() if name not in known] == []
    for pod in {"settings", *(pod for pod, _, _ in variables())}:
        with monkeypatch.context() as here:
            for of, name, value in variables():
                if of in ("settings", pod) and value is not None:
                    here.setenv(name, value)
            Settings()


def test_secrets_are_there_by_reference_only() -> None:
    assert of_kind("Secret") == {}
    named = [(pod, name, value) for pod, name, value in variables() if re.search("SECRET$|PASSWORD|TOKEN", name)]
    assert {value for _, _, value in named} == {None}
    assert {pod for pod, _, _ in named} == {one.name for one in SERVICES if one.takes_commands}
    assert [leaf for leaf in leaves(everything()) if re.search(r"password=(?!%s)", str(leaf))] == []


def test_no_pod_is_anybody_special() -> None:
    for name, pod in pods().items():
        assert pod["security"]["runAsNonRoot"] is True, name
        assert pod["security"]["runAsUser"] > 0, name
        assert pod["security"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert (rights["allowPrivilegeEscalation"], rights["readOnlyRootFilesystem"]) == (False, True), name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name


def test_what_a_pod_mounts_is_there() -> None:
    for name, pod in pods().items():
        assert {mount["name"] for mount in mounts(pod)} <= {volume["name"] for volume in pod["volumes"]}, name


def test_each_service_runs_alone_as_its_own_principal() -> None:
    modules = {}
    for name, deployment in of_kind("Deployment").items():
        command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
        assert command[:2] == ["/app/.venv/bin/python", "-m"]
        modules[name] = command[2]
        assert importlib.util.find_spec(command[2])
    for service in SERVICES:
        module = importlib.import_module(modules[service.name.replace("_", "-")])
        assert module.SERVICE is service
    assert (modules["website"], modules["auditor"]) == ("runtime.page", "audit.auditor")


@pytest.mark.parametrize("name", [name for name in of_kind("Deployment") if name != "auditor"])
def test_a_service_is_probed_grows_and_survives_a_drained_node(name: str) -> None:
    (container,) = of_kind("Deployment")[name]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(ports["http"]) == settings()["MSM_HTTP_PORT"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    # Kafka away is not mended by a restart, so what is asked for life does not ask for health.
    assert container["livenessProbe"]["tcpSocket"] == container["startupProbe"]["tcpSocket"] == {"port": "http"}
    assert of_kind("HorizontalPodAutoscaler")[name]["spec"]["scaleTargetRef"]["name"] == name
    assert of_kind("HorizontalPodAutoscaler")[name]["spec"]["minReplicas"] >= 2
    assert "replicas" not in of_kind("Deployment")[name]["spec"]
    assert selected(of_kind("PodDisruptionBudget")[name]["spec"]["selector"]) == [name]
    assert selected({"matchLabels": of_kind("Service")[name]["spec"]["selector"]}) == [name]


def test_who_reads_much_before_it_listens_has_half_an_hour_for_it() -> None:
    seconds = {
        name: probe["periodSeconds"] * probe["failureThreshold"]
        for name, one in of_kind("Deployment").items()
        if (probe := one["spec"]["template"]["spec"]["containers"][0].get("startupProbe"))
    }
    slow = {"posting", "refresh-feed", "trending-feed"}
    assert seconds == {name: 1_800 if name in slow else 60 for name in set(of_kind("Deployment")) - {"auditor"}}
    given = {name: of_kind("Deployment")[name]["spec"].get("progressDeadlineSeconds", 600) for name in seconds}
    assert [name for name in seconds if given[name] < seconds[name] + 600] == []


@pytest.mark.parametrize("name", [name for name in of_kind("Deployment") if name != "auditor"])
def test_a_service_that_is_stopped_answers_until_nobody_sends_it_anything(name: str) -> None:
    pod = of_kind("Deployment")[name]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    goes_on = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert goes_on >= 10
    deadline = inspect.signature(Publisher).parameters["deadline_seconds"].default
    assert pod["terminationGracePeriodSeconds"] - goes_on >= 2 * deadline  # and as long again for all else


@pytest.mark.parametrize("picture_format", EXTENSIONS)
def test_the_largest_pictures_fit_into_the_memory_of_posting(picture_format: str, tmp_path: Path) -> None:
    (container,) = of_kind("Deployment")["posting"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "2Gi"
    mode, size, options = LARGEST[picture_format]
    limit = MAX_PIXELS_OF_WEBP if picture_format == "WEBP" else MAX_PIXELS
    assert 0.99 * limit < size[0] * size[1] <= limit
    file = str(tmp_path / "picture")
    python(MAKE.format(picture_format, mode, size, options, file))
    peak = int(python(CLEAN.format(file))) * 1024
    assert 1.2 * PICTURES_AT_ONCE * peak < 2 * 2**30


def python(code: str) -> str:
    """What a process of its own prints: the most memory that it had is told of all that it did."""
    return subprocess.check_output([sys.executable, "-c", code], cwd=REPOSITORY, text=True)


@pytest.mark.parametrize("job", JOBS)
def test_a_driver_that_is_to_end_asks_its_job_and_waits_until_it_has(job: str, tmp_path: Path) -> None:
    """Its own script, with a folder of this machine in the place of the volume's."""
    driver = of_kind("SparkApplication")[job.replace("_", "-")]["spec"]["driver"]
    *shell, script = driver["lifecycle"]["preStop"]["exec"]["command"]
    run = Settings(data_dir=settings()["MSM_DATA_DIR"]).run_dir
    state_file(tmp_path, job).touch()
    with subprocess.Popen([*shell, script.replace(f"{run}/", f"{tmp_path}/")]) as waiting:
        wait_for(stop_file(tmp_path, job).exists)
        assert waiting.poll() is None
        state_file(tmp_path, job).unlink()
        assert waiting.wait(10) == 0
    assert driver["terminationGracePeriodSeconds"] >= 60


def test_the_website_alone_shows_the_page_and_is_well(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, kafka_security="scram")
    with TestClient(create_app(settings, services=()), base_url="http://localhost") as client:
        assert "<html" in client.get("/").text
        for path in ("/healthz", "/readyz"):
            assert client.get(path).json() == {"status": "ok", "services": {}}
        assert client.get("/feed").status_code == 404
    assert list(tmp_path.iterdir()) == [], "it made a key for itself"


def test_the_login_container_writes_what_our_clients_read(tmp_path: Path) -> None:
    """Its own script, with folders of this machine in the place of the pod's."""
    user, kafka = tmp_path / "user", tmp_path / "kafka"
    user.mkdir()
    kafka.mkdir()
    (user / "password").write_text("Zq3fG7hJk9LmNpRs")
    (user / "ca.pem").write_text("the authority")
    login = pods()["refresh-feed"]["containers"][0]["command"]
    script = login[-1].replace("/user/", f"{user}/").replace("/kafka/", f"{kafka}/")
    subprocess.run([*login[:-1], script], check=True)
    ours = Settings(data_dir=tmp_path, kafka_security="scram", kafka_secrets_dir=str(kafka), kafka_user="refresh-feed")
    options = python_options(ours.acting_as("refresh_feed"))
    assert password(ours, "refresh_feed") == options["sasl_plain_password"] == "Zq3fG7hJk9LmNpRs"
    assert options["sasl_plain_username"] == "refresh-feed"
    in_java = java_security(ours.acting_as("refresh_feed"))["sasl.jaas.config"]
    assert 'username="refresh-feed"' in in_java
    assert f"{kafka}/refresh_feed.properties:password" in in_java
    assert Path(options["ssl_cafile"]).read_text() == "the authority"
    assert (kafka / "refresh_feed.properties").stat().st_mode & 0o077 == 0


def test_kustomize_knows_each_place_of_the_image() -> None:
    known = yaml.safe_load((REPOSITORY / "deploy/manifests/image-fields.yaml").read_text())["images"]
    assert {one["path"] for one in known} == {
        "spec/image",
        "spec/driver/initContainers[]/image",
        "spec/executor/initContainers[]/image",
    }
    assert {container["image"] for pod in pods().values() for container in pod["containers"]} == {"mysocialmedia"}
