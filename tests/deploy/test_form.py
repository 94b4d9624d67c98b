"""Each manifest has the form that its kind demands, and those that follow from code are up to date."""

import json
import re
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest
import yaml
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from deploy.generate import MADE, MANIFESTS, made
from tests.deploy.manifests import Manifest, everything, of_kind

SCHEMAS = Path(__file__).with_name("schemas")
KINDS = sorted({one["kind"] for one in everything()})
DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@cache
def schema(kind: str) -> Manifest:
    found: Manifest = json.loads((SCHEMAS / f"{kind}.json").read_text())
    return found


@cache
def validator(kind: str) -> Validator:
    return validator_for(schema(kind))(schema(kind))


def complaints(manifest: Manifest) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in validator(manifest["kind"]).iter_errors(manifest)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_manifest_has_the_form_of_its_kind(kind: str) -> None:
    assert {name: found for name, one in of_kind(kind).items() if (found := complaints(one))} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_its_kind_does_not_know_is_told(kind: str) -> None:
    wrong = deepcopy(next(one for one in everything() if one["kind"] == kind))
    wrong["sepc"] = {}
    assert any("sepc" in complaint for complaint in complaints(wrong))


def test_the_schemas_see_a_field_that_is_misspelled_deep_inside() -> None:
    wrong = deepcopy(next(one for one in everything() if one["kind"] == "Deployment"))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    assert any("readynessProbe" in complaint for complaint in complaints(wrong))
    job = deepcopy(next(one for one in everything() if one["kind"] == "SparkApplication"))
    job["spec"]["executor"]["instances"] = "two"
    assert any("instances" in complaint for complaint in complaints(job))


@pytest.mark.parametrize("kind", KINDS)
def test_the_version_of_the_api_is_the_one_of_the_schema(kind: str) -> None:
    (version,) = {one["apiVersion"] for one in of_kind(kind).values()}
    of_kubernetes = schema(kind).get("$defs", {}).get(schema(kind).get("$ref", "").rsplit("/", 1)[-1])
    if of_kubernetes is None:
        assert version == schema(kind)["properties"]["apiVersion"]["const"]
    else:
        (known,) = of_kubernetes["x-kubernetes-group-version-kind"]
        assert version == "/".join(filter(None, (known["group"], known["version"])))


@pytest.mark.parametrize("file", MADE)
def test_what_follows_from_code_is_up_to_date(file: str) -> None:
    assert (MANIFESTS / file).read_text() == made(file), "run .venv/bin/python -m deploy.generate"


def test_every_file_is_listed_and_every_name_is_there_once() -> None:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
    others = {"kustomization.yaml", *listed["configurations"]}
    assert {path.name for path in MANIFESTS.iterdir()} == {*listed["resources"], *others}
    names = [(one["kind"], one["metadata"]["name"]) for one in everything()]
    assert len(set(names)) == len(names)
    assert [name for _, name in names if not DNS_NAME.fullmatch(name)] == []
