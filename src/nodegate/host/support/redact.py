"""Texts without their secrets. Pure.

Three nets, each for what slips through the others: values known to be secret (wherever they stand, also encoded), values
beside a name that says so (TOML, JSON, YAML, environment, HAProxy, keepalived), and forms that are secrets wherever
they appear. It would rather take too much: a report with a hole in it is mended by a question, a leaked key is not.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from re import Match, Pattern
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, SecretStr

SHORTEST = 6
"""Characters of a known value that is looked for everywhere; a shorter one would hit ordinary words."""

LONG_PART = 12
"""Characters from which on a part of a secret URL's path is no ordinary word."""

_NAME = (
    r"[A-Za-z0-9_.-]*(?:passw(?:or)?d|passphrase|passwd|secret|token|api[_-]?key|apikey|access[_-]?key|private[_-]?key|"
    r"credential|auth[_-]?pass|jwt|cookie|seed|salt|authorization|webhook|dsn|session[_-]?id)[A-Za-z0-9_.-]*"
)
_HARMLESS = re.compile(
    r"(?i)(?:_file|_path|_env|_bytes|_seconds|_age|_days|_at|_count|_total|_user|_url_seconds|modes?)$"
)
"""Endings of names whose value is a path, a number or a name: `token_file = "/etc/…"` says where, not what."""
_VALUE = r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|\[[^\]]*\]|(?:Bearer|Basic|Digest)\s+\S+|[^\s,;&}\]]+'
_BESIDE = re.compile(
    rf"(?i)(?P<head>(?<![A-Za-z0-9_.-])[\"']?(?P<name>{_NAME})[\"']?\s*(?:=|:(?!//))\s*)(?P<value>{_VALUE})"
)
_KEPT = re.compile(
    r"""(?i)\b[a-z_]*(?:password|token|secret|key|url)_file\s*=\s*["'](?P<path>[^"'\n]+)["']"""
)
_ARGUMENT = re.compile(
    r"(?im)(?P<head>(?:--(?:token|password|secret|api-key)[ =]|\b(?:insecure-password|auth_pass)\s+|"
    r"^\s*user\s+\S+\s+password\s+|\bstats\s+auth\s+|^\s*PRIVATE\s+KEY\s+))(?P<value>\S+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Something that is a secret wherever it stands; the group `secret` (else all of it) is replaced."""

    kind: str
    pattern: Pattern[str]


FORMS: tuple[Form, ...] = (
    Form(kind="private key", pattern=re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)")),
    Form(kind="URL credentials", pattern=re.compile(r"(?<=://)(?P<secret>[^\s/@\"'<>]+)(?=@)")),
    Form(kind="webhook", pattern=re.compile(r"(?i)https?://(?:hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/|api\.telegram\.org/bot|[\w.-]*webhook\.office\.com/)(?P<secret>[^\s\"'<>]+)")),
    Form(kind="authorization", pattern=re.compile(r"(?i)\b(?:Bearer|Basic)\s+(?P<secret>[A-Za-z0-9+/_.~=-]{8,})")),
    Form(kind="JWT", pattern=re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")),
    Form(kind="provider key", pattern=re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{15,}|\bxox[abprs]-[\w-]{8,}|\bsk-[\w-]{16,}|\bhvs\.[\w-]{16,}")),
    Form(kind="password hash", pattern=re.compile(r"\$(?:argon2(?:id|i|d)|2[aby]|[156y]|apr1)\$[^\s\"',]+")),
    Form(kind="e-mail address", pattern=re.compile(r"(?i)(?<![\w.+-])[a-z0-9._%+-]{1,64}@[a-z0-9-]+(?:\.[a-z0-9-]+)+")),
    Form(kind="seed", pattern=re.compile(r"(?<![A-Z9])[A-Z9]{81}(?![A-Z9])")),
    Form(kind="32-byte key", pattern=re.compile(r"\b0x[0-9a-fA-F]{64}\b")),
)  # fmt: skip
"""An IRI seed has the form of an address, an EVM key that of a hash: both go, for nobody can tell them apart."""


@dataclass(slots=True)
class Redactor:
    """Removes secrets and counts what it removed, by kind, in `counts`. `known` are values that must not appear."""

    known: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)

    def __call__(self, text: str) -> str:
        """The text with `[removed: KIND]` in the place of each secret."""
        for value in self._encoded():
            found = text.count(value)
            if found:
                self.counts["known secret"] += found
                text = text.replace(value, _mark("known secret"))
        for form in FORMS[:3]:
            text = form.pattern.sub(self._form(form.kind), text)
        text = _BESIDE.sub(self._beside, text)
        text = _ARGUMENT.sub(self._argument, text)
        for form in FORMS[3:]:
            text = form.pattern.sub(self._form(form.kind), text)
        return text

    def _encoded(self) -> list[str]:
        """Known values and how they look in URLs and basic authentication, the longest first."""
        values = {value for value in self.known if len(value) >= SHORTEST}
        values |= {quote(value, safe="") for value in values}
        values |= {base64.b64encode(value.encode()).decode() for value in values}
        return sorted(values, key=lambda value: (-len(value), value))

    def _form(self, kind: str) -> Callable[[Match[str]], str]:
        def replace(match: Match[str]) -> str:
            secret = match.groupdict().get("secret") or match.group()
            if secret.startswith("[removed:"):
                return match.group()
            self.counts[kind] += 1
            return match.group().replace(secret, _mark(kind))

        return replace

    def _beside(self, match: Match[str]) -> str:
        value = match["value"]
        if _HARMLESS.search(match["name"]) or not _is_secret(value):
            return match.group()
        self.counts["named secret"] += 1
        mark = value[0] if value[:1] in {'"', "'"} else ""
        return f"{match['head']}{mark}{_mark('named secret')}{mark}"

    def _argument(self, match: Match[str]) -> str:
        if match["value"].startswith("[removed:"):
            return match.group()
        self.counts["named secret"] += 1
        return match["head"] + _mark("named secret")


def secret_values(text: str) -> tuple[str, ...]:
    """The values that stand beside a telling name: what must not appear anywhere else either."""
    found: list[str] = []
    for match in _BESIDE.finditer(text):
        if not _HARMLESS.search(match["name"]) and _is_secret(match["value"]):
            found += _strings(match["value"])
    return tuple(found)


def secret_files(text: str) -> tuple[str, ...]:
    """The files that settings keep secrets in (`token_file`, `password_file`, `url_file` …): their content is known."""
    return tuple(match["path"] for match in _KEPT.finditer(text))


def declared_secrets(value: object) -> tuple[str, ...]:
    """What settings themselves call secret (SecretStr), however deep it lies."""
    if isinstance(value, SecretStr):
        return (value.get_secret_value(),)
    if isinstance(value, BaseModel):
        return declared_secrets([getattr(value, name) for name in type(value).model_fields])
    if isinstance(value, Mapping):
        return declared_secrets(list(value.values()))
    if isinstance(value, list | tuple):
        return tuple(secret for item in value for secret in declared_secrets(item))
    return ()


def with_parts(values: Iterable[str]) -> tuple[str, ...]:
    """The values, and of a URL that is a secret also its path and the long parts of it: logs may hold those alone."""
    found = []
    for value in values:
        found.append(value)
        if "://" in value:
            path = urlsplit(value).path.strip("/")
            found += [part for part in (path, *path.split("/")) if len(part) >= LONG_PART]
    return tuple(found)


def environment_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The values of variables with a telling name."""
    named = re.compile(rf"(?i){_NAME}")
    return tuple(
        value
        for name, value in environ.items()
        if value and named.fullmatch(name) and not _HARMLESS.search(name)
    )


def _strings(value: str) -> Iterable[str]:
    if value.startswith("["):
        return [part.strip("\"'") for part in re.findall(r'"(?:\\.|[^"\\])*"|\'[^\']*\'', value)]
    return [value.strip("\"'")]


def _is_secret(value: str) -> bool:
    """Whether a value hides anything: nothing, a number, a truth or what was already removed does not."""
    bare = value.strip("\"'[] ")
    return (
        bool(bare)
        and not bare.startswith("removed:")
        and re.fullmatch(r"(?i)true|false|null|none|-?[\d.]+|\{", bare) is None
    )


def _mark(kind: str) -> str:
    return f"[removed: {kind}]"
