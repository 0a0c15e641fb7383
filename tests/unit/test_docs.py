"""The documentation says what is true: its command lines are taken, its documents load, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from nodegate.cli import COMMANDS, application, load
from nodegate.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def blocks(*languages: str) -> Iterator[tuple[str, str]]:
    """Each fenced block in one of the languages, with the page it is on."""
    for page in PAGES:
        for language, text in FENCE.findall(page.read_text("utf-8")):
            if language in languages:
                yield str(page.relative_to(ROOT)), text


def command_lines() -> list[tuple[str, str]]:
    """Every `nodegate …` that a reader is told to type."""
    lines = []
    for page, text in blocks("console", "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            typed = line.removeprefix("$ ")
            if typed.startswith("nodegate "):
                lines.append((page, typed))
    return lines


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_a_documented_command_line_is_one_that_nodegate_takes(page: str, line: str) -> None:
    words = shlex.split(re.split(r" [|&;<>]+ ?", line)[0], comments=True)[1:]
    command: Any = get_command(application())
    context = command.make_context("nodegate", list(words))
    while words := [*context._protected_args, *context.args] if hasattr(command, "commands") else []:
        name = words[0]
        command = load(name) if context.parent is None and name in COMMANDS else command.commands[name]
        context = command.make_context(name, words[1:], parent=context)


def test_the_documentation_has_command_lines() -> None:
    assert len(command_lines()) > 10


@pytest.mark.parametrize(("page", "text"), list(blocks("toml")))
def test_a_documented_document_loads(page: str, text: str) -> None:
    tomllib.loads(text)
    if page.startswith("docs/configuration"):
        Settings.model_validate(tomllib.loads(text))


def test_every_link_leads_to_a_file() -> None:
    dead = [
        f"{page.name}: {link}"
        for page in PAGES
        for link in LINK.findall(page.read_text("utf-8"))
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert dead == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        ahead += [
            (page.parent / link).resolve()
            for link in LINK.findall(page.read_text("utf-8"))
            if "://" not in link
        ]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in seen] == []
