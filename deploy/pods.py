"""What the pods of jobs and services have in common."""

from typing import Any

Manifest = dict[str, Any]

CLUSTER = "mysocialmedia"
"""Of Strimzi's: the prefix of its service and of the secret with its certificate."""
IMAGE = "mysocialmedia"
"""A stand-in: `images` in kustomization.yaml says which it is."""
SETTINGS, DATA = "settings", "data"
HTTP_PORT, METRICS_PORT = 8000, 9400
USER = 185
"""Of `spark` in the image: Hadoop wants a user that has a name."""
LOGIN_FOLDER = "/kafka"
"""Where `MSM_KAFKA_SECRETS_DIR` leads: in memory, and gone with the pod."""

POD_SECURITY: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def kubernetes_name(name: str) -> str:
    """Kubernetes allows no underscore."""
    return name.replace("_", "-")


def labels(name: str, component: str) -> dict[str, str]:
    """What selectors, alerts and people find it by."""
    return {
        "app.kubernetes.io/name": kubernetes_name(name),
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "mysocialmedia",
    }


def login_volumes(principal: str) -> list[Manifest]:
    """The password that Strimzi made for the user, and the authority that signed the brokers."""
    password = {"name": kubernetes_name(principal), "items": [{"key": "password", "path": "password"}]}
    authority = {"name": f"{CLUSTER}-cluster-ca-cert", "items": [{"key": "ca.crt", "path": "ca.pem"}]}
    return [
        {"name": "kafka-user", "projected": {"sources": [{"secret": password}, {"secret": authority}]}},
        {"name": "kafka-login", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]


def login_container(principal: str) -> Manifest:
    """Writes the password down as conf/kafka.py reads it: one line, `password=...`."""
    file = f"{LOGIN_FOLDER}/{principal}.properties"
    script = (
        f'umask 077; printf "password=%s\\n" "$(cat /user/password)" > {file}; cp /user/ca.pem {LOGIN_FOLDER}/ca.pem'
    )
    return {
        "name": "kafka-login",
        "image": IMAGE,
        "command": ["/bin/sh", "-euc", script],
        "securityContext": CONTAINER_SECURITY,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "32Mi"}},
        "volumeMounts": [
            password_mount(),
            {"name": "kafka-login", "mountPath": LOGIN_FOLDER},
        ],
    }


def password_mount() -> Manifest:
    return {"name": "kafka-user", "mountPath": "/user", "readOnly": True}


def login_mount() -> Manifest:
    return {"name": "kafka-login", "mountPath": LOGIN_FOLDER, "readOnly": True}


def shared_data() -> Manifest:
    """Checkpoints, lake and pictures: the same path for a driver, its executors and whoever reads them."""
    return {"name": DATA, "persistentVolumeClaim": {"claimName": DATA}}


def kafka_user(principal: str) -> list[Manifest]:
    """Who the process is in Kafka, where Kubernetes does not allow the name of its principal."""
    user = kubernetes_name(principal)
    return [{"name": "MSM_KAFKA_USER", "value": user}] if user != principal else []
