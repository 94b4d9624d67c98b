"""The `/docs` page: the OpenAPI document as plain HTML, since nothing here loads scripts from elsewhere."""

from html import escape
from json import dumps
from typing import Any

DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
SHOWN: tuple[str, ...] = ("parameters", "requestBody", "responses")
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
code {{ font-family: ui-monospace, monospace }} summary {{ cursor: pointer }}
pre {{ overflow: auto; padding: 1rem; border: 1px solid #8886; border-radius: .5rem }}
</style>
<h1>{title}</h1>
<p>Commands want <code>Authorization: Bearer &lt;JWT&gt;</code>. The same as OpenAPI:
<a href="/openapi.json">/openapi.json</a></p>
{operations}
<h2>Schemas</h2>
{schemas}
</html>"""


def docs_page(openapi: dict[str, Any]) -> str:
    """One page with every operation: what it does, what it takes, what it answers."""
    operations = [
        _operation(method, path, operation)
        for path, methods in openapi.get("paths", {}).items()
        for method, operation in methods.items()
    ]
    schemas = [
        _folded(f"<code>{escape(name)}</code>", schema)
        for name, schema in openapi.get("components", {}).get("schemas", {}).items()
    ]
    return PAGE.format(
        title=escape(openapi["info"]["title"]),
        operations="\n".join(operations),
        schemas="\n".join(schemas),
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    text = operation.get("description") or operation.get("summary", "")
    parts = {part: operation[part] for part in SHOWN if part in operation}
    heading = f"<code><b>{method.upper()}</b> {escape(path)}</code> {escape(text)}"
    return _folded(heading, parts)


def _folded(heading: str, content: dict[str, Any]) -> str:
    return f"<details><summary>{heading}</summary><pre>{escape(dumps(content, indent=2))}</pre></details>"
