"""Alerts ask for what the code says of itself, and Prometheus finds who says it."""

import re
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, generate_latest

import audit.auditor
import feeds.metrics
import jobs.progress
import producers.publisher
import service.limits
import service.middleware
from conf import REPOSITORY
from conf.settings import Settings
from deploy.capacity import PAGE, inputs_of
from deploy.jobs import JOBS, SCRATCH_GI
from jobs.checkpoints import STATES
from jobs.running import announce
from tests.deploy.manifests import Manifest, of_kind, pods, selected, settings
from tests.feeds.serving import free_ports

SAYING = (audit.auditor, feeds.metrics, jobs.progress, producers.publisher, service.limits, service.middleware)
"""Every module that says something to Prometheus, in one registry."""
OF_KUBERNETES = {"kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"}
OF_KAFKA = {"kafka_server_replicamanager_underreplicatedpartitions"}
"""Strimzi's reporter joins the domain, type and name of a metric of the broker with `_`, in lower case."""
OF_PLACE = {"job", "app_kubernetes_io_name", "pod", "namespace", "persistentvolumeclaim", "le"}
ALERTS = [
    rule for one in of_kind("PrometheusRule").values() for group in one["spec"]["groups"] for rule in group["rules"]
]
EXPOSED = generate_latest().decode()


def exported() -> set[str]:
    """Names of series, as /metrics has them."""
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", EXPOSED, re.MULTILINE))
    histograms = {
        f"{name}_{part}" for name, kind in kinds.items() if kind == "histogram" for part in ("bucket", "sum", "count")
    }
    return {name for name, kind in kinds.items() if kind != "histogram"} | histograms


def label_names() -> set[str]:
    found = set()
    for collector in set(REGISTRY._collector_to_names):
        found |= set(getattr(collector, "_labelnames", ()))
    return found


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_asks_for_metrics_that_somebody_exports(alert: Manifest) -> None:
    asked = set(re.findall(r"\b(?:msm|kubelet|kafka)_\w+", alert["expr"]))
    assert asked
    assert asked - exported() - OF_KUBERNETES - OF_KAFKA == set()


def test_kafka_lets_those_of_its_metrics_through_that_an_alert_asks_for() -> None:
    (cluster,) = of_kind("Kafka").values()
    config = cluster["spec"]["kafka"]["metricsConfig"]
    assert config["type"] == "strimziMetricsReporter"
    for metric in OF_KAFKA:
        assert any(re.fullmatch(allowed, metric) for allowed in config["values"]["allowList"]), metric


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_uses_labels_that_these_metrics_have(alert: Manifest) -> None:
    text = alert["expr"] + alert["annotations"]["summary"]
    in_groups = [name for group in re.findall(r"(?:by|on) \(([^)]+)\)", text) for name in group.split(", ")]
    in_selectors = re.findall(r"(\w+)=\"", text)
    in_texts = re.findall(r"\$labels\.(\w+)", text)
    assert set(in_groups + in_selectors + in_texts) - label_names() - OF_PLACE == set()


def test_alerts_name_queries_and_jobs_that_are_there() -> None:
    expressions = " ".join(alert["expr"] for alert in ALERTS)
    queries = {query for states in STATES.values() for query in states}
    assert set(re.findall(r'query="(\w+)"', expressions)) <= queries
    parts = {*of_kind("SparkApplication"), *of_kind("Service")}
    assert set(re.findall(r'app_kubernetes_io_name="([\w-]+)"', expressions)) == parts
    limits = Path(service.limits.__file__).read_text()
    assert all(f'"{why}"' in limits for why in re.findall(r'why="(\w+)"', expressions))


def test_a_service_of_which_no_instance_answers_wakes_somebody() -> None:
    (alert,) = (alert for alert in ALERTS if alert["alert"] == "ServiceDown")
    named = re.findall(
        r'absent\((\w+)\{.*?app_kubernetes_io_name="([\w-]+)"\} == 1\), "job", "([\w-]+)"', alert["expr"]
    )
    assert {name: metric for metric, name, said in named if name == said} == {
        name: "msm_feed_caught_up" if name.endswith("-feed") else "up" for name in of_kind("Service")
    }
    assert alert["labels"]["severity"] == "page"


def test_the_age_of_an_audit_is_measured_by_how_long_one_takes() -> None:
    (alert,) = (alert for alert in ALERTS if alert["alert"] == "AuditStale")
    assert "clamp_min(3 * max(max_over_time(msm_audit_seconds[1d])), 4 * 3600)" in alert["expr"]


def test_what_one_must_be_woken_for_is_watched() -> None:
    expressions = " ".join(alert["expr"] for alert in ALERTS)
    for metric in (
        "msm_audit_drift",
        "msm_audit_last_run_timestamp_seconds",
        "msm_job_lag_records",
        "msm_job_ready",
        "msm_job_dead_letters_total",
        "msm_feed_lag_records",
        "msm_feed_as_of_timestamp_seconds",
        "msm_facts_refused_total",
        "kubelet_volume_stats_available_bytes",
        "kafka_server_replicamanager_underreplicatedpartitions",
    ):
        assert re.search(rf"\b{metric}\b", expressions), metric


def test_state_is_told_of_when_it_fills_half_of_the_disks_of_its_executors() -> None:
    (alert,) = (alert for alert in ALERTS if alert["alert"] == "StateGrows")
    (job,) = (job for job in JOBS if job.name in alert["expr"])
    bytes_a_pair = inputs_of(PAGE.read_text())["state.bytes"]
    pairs = job.executors * SCRATCH_GI * 1e9 / bytes_a_pair
    assert float(alert["expr"].rsplit(">", 1)[1]) == pairs / 2


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_the_page_says_what_to_do_when_it_fires(alert: Manifest) -> None:
    page = REPOSITORY / "docs/kubernetes.md"
    assert f"| `{alert['alert']}` |" in page.read_text()
    assert alert["labels"]["severity"] in ("page", "ticket")


def test_prometheus_finds_every_part_by_its_port() -> None:
    (services,), others = of_kind("ServiceMonitor").values(), of_kind("PodMonitor")["jobs"]
    chosen = selected(services["spec"]["selector"])
    assert set(chosen) == set(of_kind("Service"))
    watched = selected(others["spec"]["selector"])
    named = {name for name in watched if "metrics" in ports(name)}
    assert named == {f"{name}-driver" for name in of_kind("SparkApplication")} | {"auditor"}
    assert {ports(name)["metrics"] for name in named} == {int(settings()["MSM_METRICS_PORT"])}


def test_prometheus_finds_kafka_by_the_label_that_strimzi_gives_its_pods() -> None:
    (cluster,) = of_kind("Kafka")
    monitor = of_kind("PodMonitor")["kafka"]["spec"]
    assert monitor["selector"] == {"matchLabels": {"strimzi.io/cluster": cluster}}
    assert [end["port"] for end in monitor["podMetricsEndpoints"]] == ["tcp-prometheus"]


def test_jobs_and_the_auditor_are_to_be_scraped_where_the_settings_say(tmp_path: Path) -> None:
    port = free_ports(1)
    announce(Settings(data_dir=tmp_path, metrics_host="127.0.0.1", metrics_port=port), "archive")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert "msm_job_ready" in answer.read().decode()


def ports(pod: str) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in pods()[pod]["containers"][-1].get("ports", ())}


def test_network_policies_are_about_pods_that_are_there() -> None:
    for name, policy in of_kind("NetworkPolicy").items():
        assert selected(policy["spec"]["podSelector"]), name
    denied = of_kind("NetworkPolicy")["nothing"]["spec"]
    assert set(selected(denied["podSelector"])) == set(pods())
    assert "ingress" not in denied
    assert "egress" not in denied
    to_kafka = of_kind("NetworkPolicy")["to-kafka"]["spec"]
    assert set(pods()) - set(selected(to_kafka["podSelector"])) == {"website"}
