"""What `kubectl apply -k deploy/manifests` would send, one manifest after the other."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from deploy.generate import MANIFESTS

Manifest = dict[str, Any]


@cache
def everything() -> list[Manifest]:
    """All of the files that kustomization.yaml names."""
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    return [one for file in listed for one in yaml.safe_load_all((MANIFESTS / file).read_text())]


def of_kind(kind: str) -> dict[str, Manifest]:
    """By name."""
    return {one["metadata"]["name"]: one for one in everything() if one["kind"] == kind}


def settings() -> dict[str, str]:
    """The settings that all pods get."""
    found: dict[str, str] = of_kind("ConfigMap")["settings"]["data"]
    return found


@cache
def pods() -> dict[str, Manifest]:
    """Labels, containers (first those that set up), volumes and security of each kind of pod of ours, by name."""
    found = {name: _of_deployment(one["spec"]["template"]) for name, one in of_kind("Deployment").items()}
    for name, application in of_kind("SparkApplication").items():
        for role in ("driver", "executor"):
            found[f"{name}-{role}"] = _of_application(application["spec"], role)
    return found


def _of_deployment(template: Manifest) -> Manifest:
    spec = template["spec"]
    return {
        "labels": template["metadata"]["labels"],
        "containers": [*spec["initContainers"], *spec["containers"]],
        "volumes": spec["volumes"],
        "security": spec["securityContext"],
    }


def _of_application(spec: Manifest, role: str) -> Manifest:
    """As the operator's webhook makes it: it adds those volumes alone that the main container mounts."""
    pod = spec[role]
    mounted = {mount["name"] for mount in pod["volumeMounts"]}
    main = {"name": role, "image": spec["image"], **pod}
    return {
        "labels": pod["labels"],
        "containers": [*pod["initContainers"], main],
        "volumes": [volume for volume in spec["volumes"] if volume["name"] in mounted],
        "security": pod["podSecurityContext"],
    }


def selected(selector: Manifest) -> list[str]:
    """The pods that a label selector finds."""
    return [name for name, pod in pods().items() if _matches(selector, pod["labels"])]


def _matches(selector: Manifest, labels: dict[str, str]) -> bool:
    def holds(rule: Manifest) -> bool:
        return (labels.get(rule["key"]) in rule["values"]) == (rule["operator"] == "In")

    assert all(rule["operator"] in ("In", "NotIn") for rule in selector.get("matchExpressions", ()))
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        holds(rule) for rule in selector.get("matchExpressions", ())
    )


def leaves(node: Any) -> Iterator[Any]:
    """Every value that is no list and no mapping."""
    if isinstance(node, dict | list):
        for one in node.values() if isinstance(node, dict) else node:
            yield from leaves(one)
    else:
        yield node
