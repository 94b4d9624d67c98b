"""Makes the schemas of this folder anew: `python3 tests/deploy/schemas/make.py`. Needs cargo and pip.

Of Kubernetes' own resources they are what the package kubernetes-validate (Apache-2.0) has, of these kinds alone.
Of custom resources they are made from crates (0BSD) that hold each as Rust structs, which kopium made from the
definition (CRD) that its operator ships. So they know fields, types and choices, but no patterns and no bounds.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

Schema = dict[str, Any]
HERE = Path(__file__).parent
CRATES = {
    "kcr_kafka_strimzi_io@=3.20260604.80828": ("v1/kafkas", "v1/kafkanodepools", "v1/kafkatopics", "v1/kafkausers"),
    "kcr_sparkoperator_k8s_io@=3.20260530.161716": ("v1beta2/sparkapplications",),
    "kcr_monitoring_coreos_com@=3.20260613.160609": ("v1/servicemonitors", "v1/podmonitors", "v1/prometheusrules"),
    "kcr_gateway_networking_k8s_io@=3.20260617.224905": ("v1/httproutes",),
}
KUBERNETES = "kubernetes-validate==1.37.0", "v1.34.0-local-strict"
KINDS = (
    "apps.v1.Deployment",
    "autoscaling.v2.HorizontalPodAutoscaler",
    "core.v1.ConfigMap",
    "core.v1.Namespace",
    "core.v1.PersistentVolumeClaim",
    "core.v1.Service",
    "core.v1.ServiceAccount",
    "networking.v1.NetworkPolicy",
    "policy.v1.PodDisruptionBudget",
    "rbac.v1.Role",
    "rbac.v1.RoleBinding",
)
SCALARS: dict[str, Schema] = {
    "String": {"type": "string"},
    "bool": {"type": "boolean"},
    "i32": {"type": "integer"},
    "i64": {"type": "integer"},
    "f64": {"type": "number"},
    "IntOrString": {"type": ["integer", "string"]},
    "serde_json::Value": {},
}
RESOURCE = re.compile(r'#\[kube\(group = "(.+?)", version = "(.+?)", kind = "(.+?)"')
FIELD = re.compile(r"((?:#\[serde\([^\n]*\)\]\s*)?)pub (?:r#)?(\w+): ([^\n]+),")
VALUE = re.compile(r'(?:#\[serde\(rename = "([^"]*)"\)\]\s*)?(?:r#)?(\w+),')


def schema_of(source: str) -> tuple[str, Schema]:
    """Kind and schema of the resource that a module is about, without its status."""
    structs = dict(re.findall(r"pub struct (\w+) \{(.*?)\n\}", source, re.DOTALL))
    enums = dict(re.findall(r"pub enum (\w+) \{(.*?)\n\}", source, re.DOTALL))
    found = RESOURCE.search(source)
    assert found, "no resource in this module"
    group, version, kind = found.groups()
    spec = re.search(r"pub struct (\w+)", source[found.end() :])
    assert spec, "no specification after the resource's name"

    def typed(name: str) -> Schema:
        inner = re.fullmatch(r"(Option<|Vec<|BTreeMap<String, )(.+)>", name)
        if inner is None:
            return struct(structs[name]) if name in structs else _scalar_or_enum(name, enums)
        if inner[1] == "Option<":
            return typed(inner[2])
        if inner[1] == "Vec<":
            return {"type": "array", "items": typed(inner[2])}
        return {"type": "object", "additionalProperties": typed(inner[2])}

    def struct(body: str) -> Schema:
        fields = [(_json_name(serde, name), rust) for serde, name, rust in FIELD.findall(body)]
        needed = sorted(name for name, rust in fields if not rust.startswith("Option<"))
        return _object({name: typed(rust) for name, rust in fields}, needed)

    known = {"apiVersion": {"const": f"{group}/{version}"}, "kind": {"const": kind}, "metadata": {"type": "object"}}
    return kind, _object({**known, "spec": struct(structs[spec[1]])}, [*known, "spec"])


def _scalar_or_enum(name: str, enums: dict[str, str]) -> Schema:
    if name in enums:
        return {"enum": [renamed or value for renamed, value in VALUE.findall(enums[name])]}
    return SCALARS[name]


def _object(properties: dict[str, Schema], required: list[str]) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": required}


def _json_name(serde: str, name: str) -> str:
    renamed = re.search(r'rename = "([^"]+)"', serde)
    return renamed[1] if renamed else name


def kubernetes_schemas(folder: Path) -> None:
    """A file a kind, with the definitions that it needs."""
    package, version = KUBERNETES
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), package]
    subprocess.run(line, check=True)
    (found,) = folder.glob(f"**/{version}/_definitions.json")
    definitions = _without_texts(json.loads(found.read_text())["$defs"])
    for kind in KINDS:
        used: dict[str, Schema] = {}
        _collect({"$ref": f"#/$defs/io.k8s.api.{kind}"}, definitions, used)
        schema = {"$ref": f"#/$defs/io.k8s.api.{kind}", "$defs": used}
        _write(kind.rsplit(".", 1)[1], schema)


def _without_texts(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_texts(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {name: _without_texts(one) for name, one in node.items() if not (name == "description" and one == str(one))}


def _collect(node: Any, definitions: dict[str, Schema], used: dict[str, Schema]) -> None:
    """Everything that a reference leads to."""
    for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _collect(one, definitions, used)
    name = node["$ref"].rsplit("/", 1)[1] if isinstance(node, dict) and isinstance(node.get("$ref"), str) else None
    if name and name not in used:
        used[name] = definitions[name]
        _collect(used[name], definitions, used)


def _write(kind: str, schema: Schema) -> None:
    text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
    (HERE / f"{kind}.json").write_text(text + "\n")


def main() -> None:
    """Fetch the packages into a folder that is thrown away, and write a file a kind."""
    with tempfile.TemporaryDirectory() as folder:
        kubernetes_schemas(Path(folder, "python"))
        for command in (["init", "--quiet", "--name", "schemas"], ["add", "--quiet", *CRATES], ["vendor", "--quiet"]):
            subprocess.run(["cargo", *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for crate, modules in CRATES.items():
            for module in modules:
                source = Path(folder, "vendor", crate.split("@")[0], "src", f"{module}.rs").read_text()
                kind, schema = schema_of(source)
                _write(kind, schema)


if __name__ == "__main__":
    main()
