"""The Spark operator's applications: one a job, with the settings of conf/spark.conf."""

from dataclasses import dataclass
from pathlib import Path

from deploy.pods import (
    CONTAINER_SECURITY,
    DATA,
    IMAGE,
    METRICS_PORT,
    POD_SECURITY,
    SETTINGS,
    Manifest,
    kafka_user,
    kubernetes_name,
    labels,
    login_container,
    login_mount,
    login_volumes,
    password_mount,
    shared_data,
)
from jobs.running import state_file, stop_file
from jobs.submit import ARCHIVE, JAVA_OPTIONS, spark_conf

IN_IMAGE = ("spark.jars", "spark.driver.extraClassPath", "spark.pyspark.python", "spark.driver.memory")
"""The image has the jars in Spark's own folder and names its Python; memory is the application's field."""
SCRATCH, SCRATCH_GI = "spark-local-dir-1", 100
"""Spark takes volumes of this name for shuffles and for RocksDB: the node's disk. Who needs more of it is evicted."""


@dataclass(frozen=True)
class Job:
    """A job, and the machines that it has at first: docs/capacity.md says when it needs more."""

    name: str
    executors: int
    cores: int
    memory: str


JOBS = (
    Job("posts_with_counts", executors=2, cores=4, memory="8g"),
    Job("trending_posts", executors=2, cores=4, memory="8g"),
    Job("archive", executors=1, cores=4, memory="4g"),
)


def settings_of_spark() -> dict[str, str]:
    """What conf/spark.conf says, but for what the image and the application say themselves."""
    said = {name: value for name, value in spark_conf().items() if name not in IN_IMAGE}
    return said | {JAVA_OPTIONS: said[JAVA_OPTIONS].replace(f" {ARCHIVE}", "")}


def applications() -> list[Manifest]:
    return [_application(job) for job in JOBS]


def _application(job: Job) -> Manifest:
    name = kubernetes_name(job.name)
    return {
        "apiVersion": "sparkoperator.k8s.io/v1beta2",
        "kind": "SparkApplication",
        "metadata": {"name": name, "labels": labels(job.name, "job")},
        "spec": {
            "type": "Python",
            "pythonVersion": "3",
            "mode": "cluster",
            "sparkVersion": "4.2.0",
            "image": IMAGE,
            "mainApplicationFile": f"local:///app/jobs/{job.name}.py",
            "restartPolicy": {"type": "Always", "onFailureRetryInterval": 10, "onSubmissionFailureRetryInterval": 20},
            "sparkConf": settings_of_spark(),
            "volumes": [
                *login_volumes(job.name),
                shared_data(),
                {"name": SCRATCH, "emptyDir": {"sizeLimit": f"{SCRATCH_GI}Gi"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
            ],
            "driver": _driver(job),
            "executor": {
                **_pod(job),
                "instances": job.executors,
                "cores": job.cores,
                "memory": job.memory,
                "memoryOverhead": "2g",  # RocksDB's memory is not the heap's
            },
        },
    }


def _driver(job: Job) -> Manifest:
    return {
        **_pod(job),
        "cores": 2,
        "memory": "4g",
        "memoryOverhead": "1g",
        "serviceAccount": "spark-driver",
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "env": kafka_user(job.name),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-euc", _stop(job)]}}},
        "terminationGracePeriodSeconds": 60,
    }


def _stop(job: Job) -> str:
    """Asks the job to stop between two batches and waits: SIGTERM reaches the JVM alone, which takes Python with it."""
    stop, state = (file(Path("/data/run"), job.name) for file in (stop_file, state_file))
    return f"touch {stop}; while [ -e {state} ]; do sleep 1; done"


def _pod(job: Job) -> Manifest:
    return {
        "labels": labels(job.name, "job"),
        "initContainers": [login_container(job.name)],
        "podSecurityContext": POD_SECURITY,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            login_mount(),
            password_mount(),  # the operator adds the volumes that this container mounts, and no others
            {"name": DATA, "mountPath": "/data"},
            {"name": SCRATCH, "mountPath": "/scratch"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
