"""The pages and mails as text. Whatever comes from outside is escaped by the templates' engine."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from nodegate.portal.records import Letter, Registration
from nodegate.settings import Settings
from nodegate.views import span


class Pages:
    """Renders; knows the portal's name and where it is."""

    def __init__(self, settings: Settings) -> None:
        portal = settings.portal
        self.public_url = portal.public_url or ""
        self.base = urlsplit(self.public_url).path.rstrip("/")
        common: dict[str, Any] = {
            "title": portal.title,
            "contact": portal.contact,
            "base": self.base,
            "public_url": self.public_url,
            "approval": portal.approval,
            "link_life": span(portal.link_life),
            "badges": portal.badges != "off",
        }
        self._html = _environment(autoescape=True, common=common)
        self._text = _environment(autoescape=False, common=common)

    def page(self, name: str, **values: Any) -> str:
        """The page `name`."""
        return self._html.get_template(f"{name}.html").render(**values)

    def mail(self, letter: Letter, *, registration: Registration | None, link: str, detail: str) -> str:
        """A mail: the first line is its subject."""
        template = self._text.get_template(f"mail/{letter.value}.txt")
        return template.render(registration=registration, link=link, detail=detail)


def _environment(*, autoescape: bool, common: dict[str, Any]) -> Environment:
    environment = Environment(
        loader=PackageLoader("nodegate.portal"),
        autoescape=autoescape,  # noqa: S701 -- mails are plain text, and pages are escaped
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(common)
    environment.filters["span"] = span
    return environment
