from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.portal.badge import badge

SVG = "{http://www.w3.org/2000/svg}"
printable = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co")), max_size=80)


@given(printable)
@settings(max_examples=100, deadline=None)
def test_whatever_the_name_it_is_a_picture_that_holds_no_script(name: str) -> None:
    picture = ET.fromstring(badge(name, "up"))
    assert {element.tag.removeprefix(SVG) for element in picture.iter()} <= {
        "svg",
        "title",
        "rect",
        "path",
        "g",
        "text",
    }
    title = picture.find(f"{SVG}title")
    assert title is not None
    assert title.text is not None
    assert title.text.endswith(": up")


@pytest.mark.parametrize("status", ["up", "degraded", "down", "paused", "unknown", "something new"])
def test_every_status_has_a_picture(status: str) -> None:
    assert status in badge("n", status)
