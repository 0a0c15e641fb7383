"""Bodies and their shapes."""

from __future__ import annotations

import re

import pytest

from nodegate.haproxy.shapes import COMMAND, ID, JSON_RPC, SPACE, Form, Mark

ADDRESS, HASH = '"0x' + "aB" * 20 + '"', '"0x' + "aB" * 32 + '"'
EACH = [(form, mark) for form in (COMMAND, JSON_RPC) for mark in form.marks]


@pytest.mark.parametrize(("form", "mark"), EACH)
def test_a_sample_of_a_mark_has_that_mark_as_its_shape(form: Form, mark: Mark) -> None:
    assert re.fullmatch(mark.pattern, mark.sample)
    assert form.shape(f"{{{mark.sample}}}") == f"{{{mark.sign}}}"
    assert form.sample(f"{{{mark.sign}}}") == f"{{{mark.sample}}}"


@pytest.mark.parametrize(("form", "mark"), EACH)
def test_a_body_with_a_mark_of_its_own_has_no_shape(form: Form, mark: Mark) -> None:
    assert form.shape(f'{{"command":{mark.sign}"getNodeInfo"}}') is None


@pytest.mark.parametrize("form", [COMMAND, JSON_RPC])
def test_no_pattern_takes_a_mark_that_was_set_before(form: Form) -> None:
    for number, mark in enumerate(form.marks):
        for before in form.marks[:number]:
            assert before.sign not in mark.sample
            assert re.search(mark.pattern, before.sign) is None


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (f"[{ADDRESS},{HASH}]", "[@,^]"),
        ('["0x1b4","0x"]', "[*,&]"),
        ('["0x1fffffffffffff"]', "[&]"),  # 14 digits: more than any quantity of the guard
        (f"[{ADDRESS[:-1]}0\"]", "[&]"),
        ('{"id":0}', "{!}"),
        ('{"id": 12, "x":1}', '{!,~"x":1}'),
        ('{"id":"6a0f-11"}', "{!}"),
        ('{"id":8999999999999999}', "{!}"),
        ('{"id":9007199254740993}', "{!3}"),
        ('{"id":12345678901234567}', "{!7}"),
        ('{"id":007}', "{!07}"),
        ('{"id":-1}', '{"id":-1}'),
        ('{"id":1.5}', "{!.5}"),
        ('{"id":  1}', '{"id":~~1}'),
        ('{"id":"a\\"b"}', '{"id":"a\\"b"}'),
        ('{"id":"' + "a" * 65 + '"}', '{"id":"' + "a" * 65 + '"}'),
        (f'{{"id":{ADDRESS}}}', '{"id":@}'),
    ],
)  # fmt: skip
def test_the_shape_of_a_json_rpc_body(body: str, shape: str) -> None:
    assert JSON_RPC.shape(body) == shape


def test_the_shape_of_a_command() -> None:
    run = "K" * 81
    assert COMMAND.shape(f'{{"hashes": ["{run}"]}}') == '{"hashes":~["@"]}'
    assert COMMAND.shape(f'["{run[1:]}"]') == f'["{run[1:]}"]'


def test_haproxy_sets_the_marks_in_the_same_order() -> None:
    form = Form(marks=(ID, SPACE))
    assert form.converters() == f"regsub('{ID.pattern}',!,g),regsub(' ',~,g)"
