"""The OpenAPI schema as one plain page: no script, nothing from elsewhere, readable without a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
code, pre { font-family: ui-monospace, monospace; background: #f3f3f3; border-radius: 3px; padding: .1em .3em }
pre { padding: .8em; overflow-x: auto }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3em .6em; border-bottom: 1px solid #ddd; vertical-align: top }
h2 { margin-top: 2.5rem } .method { text-transform: uppercase; font-weight: bold }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #e6e6e6 } code, pre { background: #262a31 } th, td { border-color: #3a3f47 } a { color: #8ab4f8 } }
"""


def page(schema: Mapping[str, Any]) -> str:
    """The whole page for an OpenAPI 3.1 schema."""
    return "\n".join(_page(schema))


def _page(schema: Mapping[str, Any]) -> Iterator[str]:
    info = schema["info"]
    title = escape(f"{info['title']} {info['version']}")
    yield f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
    yield f"<h1>{title}</h1><p>{_prose(info.get('description', ''))}</p>"
    yield '<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>'
    yield "<h2>Requests</h2>"
    for path, operations in schema["paths"].items():
        for method in METHODS:
            if method in operations:
                yield from _operation(path, method, operations[method])
    yield "<h2>Documents</h2>"
    for name, model in sorted(schema.get("components", {}).get("schemas", {}).items()):
        yield from _model(name, model)
    yield "</body></html>"


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<h3><span class="method">{method}</span> <code>{escape(path)}</code></h3>'
    yield f"<p><b>{escape(operation.get('summary', ''))}.</b> {_prose(operation.get('description', ''))}</p>"
    rows = [
        (f"<code>{escape(item['name'])}</code> ({escape(item['in'])})", _prose(item.get("description", "")))
        for item in operation.get("parameters", ())
    ]
    if "requestBody" in operation:
        rows.append(("body", _content(operation["requestBody"])))
    rows += [
        (f"<code>{escape(status)}</code>", f"{escape(item.get('description', ''))} {_content(item)}")
        for status, item in operation["responses"].items()
    ]
    yield _table(rows)


def _model(name: str, model: Mapping[str, Any]) -> Iterator[str]:
    yield f'<h3 id="{escape(name, quote=True)}">{escape(name)}</h3><p>{_prose(model.get("description", ""))}</p>'
    if "enum" in model:
        yield (
            "<p>One of " + ", ".join(f"<code>{escape(str(word))}</code>" for word in model["enum"]) + ".</p>"
        )
    yield _table(
        (f"<code>{escape(field)}</code>", f"{_type(shape)}. {_prose(shape.get('description', ''))}")
        for field, shape in model.get("properties", {}).items()
    )


def _content(item: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{escape(kind)}: {_type(body.get('schema', {}))}" if body.get("schema") else escape(kind)
        for kind, body in item.get("content", {}).items()
    )


def _type(shape: Mapping[str, Any]) -> str:
    """A JSON schema in a few words, with links to named documents."""
    if "$ref" in shape:
        name = escape(shape["$ref"].rsplit("/", 1)[-1], quote=True)
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in shape:
        return " or ".join(_type(branch) for branch in shape["anyOf"])
    if shape.get("type") == "array":
        return f"list of {_type(shape.get('items', {}))}"
    return escape(str(shape.get("type", "anything")))


def _prose(text: str) -> str:
    """Text with `code` in backquotes."""
    parts = escape(" ".join(text.split())).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _table(rows: Any) -> str:
    cells = "".join(f"<tr><td>{left}</td><td>{right}</td></tr>" for left, right in rows)
    return f"<table>{cells}</table>" if cells else ""
