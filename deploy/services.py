"""The five services, the website and the auditor as Deployments, with what keeps them up and lets them grow."""

from dataclasses import dataclass

from deploy.pods import (
    CONTAINER_SECURITY,
    DATA,
    HTTP_PORT,
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
    shared_data,
)

PYTHON = "/app/.venv/bin/python"
KEYS: tuple[Manifest, ...] = (
    {"name": "MSM_AUTH_SECRET", "valueFrom": {"secretKeyRef": {"name": "auth", "key": "secret"}}},
    {
        "name": "MSM_FORMER_AUTH_SECRETS",
        "valueFrom": {"secretKeyRef": {"name": "auth", "key": "former", "optional": True}},
    },
)
"""Those of JWTs and of the ids of posts, by reference; nobody but who takes commands needs them."""
PULLED_WITHIN = 600
"""Seconds until a pod that was asked for has its node, its image and its volumes: what Kubernetes allows for all."""
LEAVES_AFTER, STOPS_WITHIN = 10, 30
"""Seconds that a pod goes on while gateways hear that it leaves, and what it has then: 12 for answers, 10 for facts."""


@dataclass(frozen=True)
class Service:
    """`principal` is who it is in Kafka; empty for the website, which never asks Kafka anything.

    `takes_commands` says whether it asks who the user is; `shares` is the folder of the shared data that it sees, and
    perhaps `writes`; `view` the room for a view of its own.
    """

    name: str
    module: str
    principal: str
    takes_commands: bool = False
    shares: str = ""
    writes: bool = False
    view: str = ""
    cpu: str = "500m"
    memory: str = "512Mi"
    at_least: int = 2
    at_most: int = 20

    @property
    def starts_within(self) -> int:
        """Seconds until it listens: a feed reads its whole view before, and posting looks through all pictures."""
        return 1_800 if self.view or self.writes else 60


SERVICES = (
    # Of the largest pictures two at once take 650 MiB each.
    Service("posting", "producers.posting", "posting", takes_commands=True, shares="media", writes=True, memory="2Gi"),
    Service("likes", "producers.likes", "likes", takes_commands=True),
    Service("comments", "producers.comments", "comments", takes_commands=True),
    Service("refresh_feed", "feeds.refresh_feed", "refresh_feed", shares="lake", view="50Gi", cpu="1", memory="2Gi"),
    Service("trending_feed", "feeds.trending_feed", "trending_feed", view="1Gi"),
    Service("website", "runtime.page", "", shares="audit", at_most=6),
)


def services() -> list[Manifest]:
    """Of each: Deployment, Service, autoscaler and disruption budget."""
    return [
        one
        for service in SERVICES
        for one in (_deployment(service), _service(service), _autoscaler(service), _budget(service))
    ]


def _deployment(service: Service) -> Manifest:
    marks = labels(service.name, "service")
    container = {
        "name": "service",
        "image": IMAGE,
        "command": [PYTHON, "-m", service.module],
        "ports": [{"name": "http", "containerPort": HTTP_PORT}],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "env": [*kafka_user(service.principal), *(KEYS if service.takes_commands else ())],
        **_probes(service),
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVES_AFTER}}},
        "resources": {"requests": {"cpu": service.cpu, "memory": service.memory}, "limits": {"memory": service.memory}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": _mounts(service),
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": marks},
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": LEAVES_AFTER + STOPS_WITHIN,
        "topologySpreadConstraints": [spread],
        "initContainers": [login_container(service.principal)] if service.principal else [],
        "containers": [container],
        "volumes": _volumes(service),
    }
    return {
        **_head("apps/v1", "Deployment", service),
        "spec": {
            # No number of replicas: the autoscaler's would be overwritten by each apply.
            "selector": {"matchLabels": marks},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "progressDeadlineSeconds": PULLED_WITHIN + service.starts_within,
            "template": {"metadata": {"labels": marks}, "spec": pod},
        },
    }


def _probes(service: Service) -> Manifest:
    """Neither asks /healthz: that Kafka is away no restart mends, and what is in the views is to be had meanwhile."""
    ready = {"httpGet": {"path": "/readyz", "port": "http"}, "timeoutSeconds": 2}
    listens = {"tcpSocket": {"port": "http"}}
    return {
        "startupProbe": {**listens, "periodSeconds": 2, "failureThreshold": service.starts_within // 2},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**listens, "periodSeconds": 10, "failureThreshold": 3},
    }


def _mounts(service: Service) -> list[Manifest]:
    found: list[Manifest] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if service.principal:
        found.append(login_mount())
    if service.shares:
        folder = {"name": DATA, "mountPath": f"/data/{service.shares}", "subPath": service.shares}
        found.append(folder if service.writes else {**folder, "readOnly": True})
    if service.view:
        found.append({"name": "view", "mountPath": "/data"})
    return found


def _volumes(service: Service) -> list[Manifest]:
    """A view is on the node's own disk, one for each pod, and made again from its topic where it is not there."""
    # Of uploads 32 of 10 MiB may be there at once (producers/posting.py).
    found: list[Manifest] = [{"name": "tmp", "emptyDir": {"sizeLimit": "512Mi"}}]
    found += login_volumes(service.principal) if service.principal else []
    found += [shared_data()] if service.shares else []
    found += [{"name": "view", "emptyDir": {"sizeLimit": service.view}}] if service.view else []
    return found


def _service(service: Service) -> Manifest:
    ports = [{"name": "http", "port": HTTP_PORT, "targetPort": "http"}]
    return {**_head("v1", "Service", service), "spec": {"selector": labels(service.name, "service"), "ports": ports}}


def _autoscaler(service: Service) -> Manifest:
    busy = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    # A feed that is stopped drops its readers, and they come back all at once: a few at a time.
    slowly = {"stabilizationWindowSeconds": 600, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}]}
    return {
        **_head("autoscaling/v2", "HorizontalPodAutoscaler", service),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": kubernetes_name(service.name)},
            "minReplicas": service.at_least,
            "maxReplicas": service.at_most,
            "metrics": [{"type": "Resource", "resource": busy}],
            "behavior": {"scaleDown": slowly},
        },
    }


def _budget(service: Service) -> Manifest:
    selector = {"matchLabels": labels(service.name, "service")}
    return {**_head("policy/v1", "PodDisruptionBudget", service), "spec": {"maxUnavailable": 1, "selector": selector}}


def _head(api: str, kind: str, service: Service) -> Manifest:
    metadata = {"name": kubernetes_name(service.name), "labels": labels(service.name, "service")}
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def auditor() -> list[Manifest]:
    """One, never two at a time; it recounts in a Spark of its own and asks the feed as any reader does."""
    marks = labels("auditor", "auditor")
    container = {
        "name": "auditor",
        "image": IMAGE,
        "command": [PYTHON, "-m", "audit.auditor"],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "envFrom": [{"configMapRef": {"name": SETTINGS}}],
        "env": [
            *kafka_user("auditor"),
            {"name": "MSM_HTTP_HOST", "value": "refresh-feed"},
            {"name": "MSM_TRENDING_HOST", "value": "trending-feed"},
            {"name": "MSM_AUDIT_EVERY_SECONDS", "value": "3600"},
            {"name": "SPARK_LOCAL_DIRS", "value": "/tmp"},  # noqa: S108 - its own room, not what all share
        ],
        "resources": {"requests": {"cpu": "1", "memory": "3Gi"}, "limits": {"memory": "3Gi"}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            login_mount(),
            {"name": DATA, "mountPath": "/data"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": POD_SECURITY,
        "initContainers": [login_container("auditor")],
        "containers": [container],
        "volumes": [*login_volumes("auditor"), shared_data(), {"name": "tmp", "emptyDir": {"sizeLimit": "100Gi"}}],
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "auditor", "labels": marks},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": marks},
                "strategy": {"type": "Recreate"},
                "template": {"metadata": {"labels": marks}, "spec": pod},
            },
        }
    ]
