"""The document and the environment as Settings, with every fault at its line."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nodegate.documents import Document, dotted, faults_of, load
from nodegate.errors import BadDocument, Fault
from nodegate.settings.faults import cross_faults, file_faults
from nodegate.settings.sections import Settings


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of the file at `path` (None: the defaults) with NODEGATE_* of `environ` on top.

    `NODEGATE_PROBE__INTERVAL=5` sets `probe.interval`, `NODEGATE_POOLS__MAIN__RETRIES=1` that of the pool
    `main`; lists are written with commas. Paths in the file are relative to the file, those in variables
    to the working directory. Raises BadDocument with every fault; the files that are named are tried too.
    """
    document = load(path) if path is not None else Document(file="defaults", data={}, lines={})
    base = path.absolute().parent if path is not None else Path.cwd()
    variables = _variables(environ)
    data = _overlaid(_resolved(document.data, base), variables, environ)
    merged = replace(document, data=data)
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        faults = faults_of(error, merged, Settings)
        raise BadDocument([_named(fault, document, variables) for fault in faults]) from error
    if faults := [*cross_faults(settings, merged), *file_faults(settings, merged)]:
        raise BadDocument([_named(fault, document, variables) for fault in faults])
    return settings


_LISTS = frozenset(
    {"service_status", "listen", "hosts", "paths", "pools", "networks", "trusted_proxies", "to", "services"}
)
_FILES = frozenset(
    {
        "tls_certificate", "tls_ca", "haproxy", "policy", "password_file", "url_file", "secret_file",
        "peers_certificate", "peers_ca", "token_file", "file",
    }
)  # fmt: skip


def _variables(environ: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """The key path that each variable with a `__` in its name sets, and that name."""
    return {
        tuple(name.removeprefix("NODEGATE_").lower().split("__")): name
        for name in sorted(environ)
        if name.startswith("NODEGATE_") and "__" in name
    }


def _resolved(data: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """A copy of `data` in which the names of files are absolute, as seen from `base`."""
    resolved = copy.deepcopy(dict(data))
    pools, alerts = resolved.get("pools"), resolved.get("alerts")
    channels = alerts.get("channels") if isinstance(alerts, dict) else None
    fabio = resolved.get("fabio")
    schemes = fabio.get("auth") if isinstance(fabio, dict) else None
    tables: list[Any] = [
        resolved.get("gateway"),
        resolved.get("mail"),
        resolved.get("cluster"),
        resolved.get("registry"),
    ]
    tables += [
        table for many in (pools, channels, schemes) if isinstance(many, dict) for table in many.values()
    ]
    for table in tables:
        for key in _FILES & table.keys() if isinstance(table, dict) else ():
            if isinstance(table[key], str) and not _is_choice(key, table[key]):
                table[key] = str(base / os.path.expanduser(table[key]))
    return resolved


def _is_choice(key: str, text: str) -> bool:
    """Whether the value of a key that may name a file is one of its other words."""
    return key == "policy" and text in {"default", "off"}


def _overlaid(
    data: dict[str, Any], variables: Mapping[tuple[str, ...], str], environ: Mapping[str, str]
) -> dict[str, Any]:
    """`data` with the variables laid over it. Raises BadDocument for those that lead to no table."""
    faults = []
    for (*above, key), name in variables.items():
        table: Any = data
        for part in above:
            table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table[key] = _variable_value((*above, key), environ[name])
        else:
            words = f"{dotted((*above, key))} is not a setting that a variable can set"
            faults.append(_variable_fault(name, words))
    if faults:
        raise BadDocument(faults)
    return data


def _variable_value(path: tuple[str, ...], text: str) -> object:
    key = path[-1]
    if key in _LISTS and path != ("portal", "listen"):
        return [item.strip() for item in text.split(",") if item.strip()]
    if key in _FILES and not _is_choice(key, text):
        return os.path.abspath(os.path.expanduser(text)) if text else None
    return text


def _variable_fault(name: str, message: str) -> Fault:
    return Fault(file=name, line=None, key="", message=message)


def _named(fault: Fault, document: Document, variables: Mapping[tuple[str, ...], str]) -> Fault:
    """`fault` as one of the variable that set the value, if one did."""
    written = {dotted(key) for key in document.lines}
    for path, name in variables.items():
        key = dotted(path)
        inside = fault.key == key or fault.key.startswith((f"{key}.", f"{key}["))
        around = key.startswith(f"{fault.key}.") and fault.key not in written
        if inside or around:
            return _variable_fault(name, f"{fault.key}: {fault.message}")
    return fault
