"""The gathering modules as one script: sent to `python3 -`, it leaves nothing behind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

PACKAGE = "nodegate.host.doctor.gather"
_PACKAGES = ("nodegate", "nodegate.host", "nodegate.host.sockets", "nodegate.host.doctor", PACKAGE)
_BORROWED = ("nodegate.errors", "nodegate.host.sockets.inetdiag")
"""Of the product itself, and for a newer Python: left away where they do not load, and what they tell with them."""
_MODULES = ("base", "network", "login", "process", "system", "gateway", "outside", "main")
"""In the order of their imports."""
OLDEST = (3, 9)
"""The Python that Debian 11 has."""

_TEXT = """\
import sys
if sys.version_info < {oldest}:
    sys.exit("needs Python {dotted} or newer, here is " + sys.version.split()[0])
import types
for name in {packages!r}:
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = []
for name, optional, source in {sources!r}:
    parent, _, last = name.rpartition(".")
    module = sys.modules[name] = types.ModuleType(name)
    try:
        exec(compile(source, name, "exec"), module.__dict__)
        setattr(sys.modules[parent], last, module)
    except Exception:
        del sys.modules[name]
        if not optional:
            raise
sys.modules["{package}.{entry}"].main({ask!r})
"""


def script(entry: str, ask: Mapping[str, object]) -> str:
    """A Python program that prints what module `entry` finds; `ask` has JSON types only."""
    return _TEXT.format(
        oldest=OLDEST, dotted=".".join(map(str, OLDEST)), packages=_PACKAGES, sources=_sources(),
        package=PACKAGE, entry=entry, ask=dict(ask),
    )  # fmt: skip


@cache
def _sources() -> tuple[tuple[str, bool, str], ...]:
    """Name, whether it may be missing, and text of each module."""
    names = [*((name, True) for name in _BORROWED), *((f"{PACKAGE}.{name}", False) for name in _MODULES)]
    return tuple((name, optional, _source(name)) for name, optional in names)


def _source(name: str) -> str:
    package, _, module = name.rpartition(".")
    return (files(package) / f"{module}.py").read_text("utf-8")
