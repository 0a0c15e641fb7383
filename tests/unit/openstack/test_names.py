from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.errors import BadDocument
from nodegate.openstack.names import friendly, is_host_name, natural, parse_rule


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("overcloud-controller-0", "controller0"),
        ("overcloud-novacompute-3", "compute3"),
        ("overcloud-novacompute-10", "compute10"),
        ("overcloud-ceph-storage-1", "cephstorage1"),
        ("Overcloud-Controller-0", "overcloud-controller-0"),
        ("undercloud", "undercloud"),
        ("web-1", "web-1"),
    ],
)
def test_the_default_rule_gives_short_names(name: str, wanted: str) -> None:
    assert friendly(name) == wanted


@pytest.mark.parametrize(
    ("rule", "name", "wanted"),
    [
        (r"s/^mystack-(.+)$/\1/", "mystack-db-1", "db-1"),
        (r"s/^mystack-(.+)$/\1/d", "mystack-db-1", "db1"),
        (r"s/^MYSTACK-//i", "mystack-db-1", "db-1"),
        ("s|-|.|g", "a-b-c", "a.b.c"),
        ("s/-/./", "a-b-c", "a.b-c"),
        (r"s/a\/b/c/", "a/b", "c"),
        (r"s/(?P<role>db)-(\d)/\g<role>\2/", "db-1", "db1"),
        ("s/zzz/y/", "plain", "plain"),
    ],
)
def test_a_rule_is_a_substitution_as_in_sed(rule: str, name: str, wanted: str) -> None:
    assert friendly(name, (parse_rule(rule),)) == wanted


def test_the_first_rule_that_matches_counts() -> None:
    rules = (parse_rule("s/^a/x/"), parse_rule("s/^./y/"))
    assert [friendly(name, rules) for name in ("abc", "bcd")] == ["xbc", "ycd"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "should look like"),
        ("y/a/b/", "should look like"),
        ("s/a/b", "three '/'"),
        ("s/a/b/c/", "three '/'"),
        ("s/a/b/x", "unknown flag 'x'"),
        ("s/(/b/", "not a regular expression"),
        (r"s/a/\1/", "not a regular expression"),
        (r"s/a/\g<who>/", "not a regular expression"),
    ],
)
def test_a_wrong_rule_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(BadDocument, match="--rename") as caught:
        parse_rule(text)
    assert said in str(caught.value)


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_rule_or_a_clear_error(text: str) -> None:
    try:
        rule = parse_rule(text)
    except BadDocument:
        return
    rule.apply("overcloud-controller-0")


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("controller0", True),
        ("a.b-c.d", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("", False),
        ("-a", False),
        ("a-", False),
        ("a..b", False),
        ("a_b", False),
        ("a b", False),
        ("a\nb", False),
        ("a\n", False),
        ("ü", False),
    ],
)
def test_host_names_follow_rfc_1123(name: str, good: bool) -> None:
    assert is_host_name(name) is good


def test_natural_order_puts_2_before_10() -> None:
    names = ["n10", "n2", "n1", "m", "n2a", "10", "9"]
    assert sorted(names, key=natural) == ["m", "n1", "n2", "n2a", "n10", "9", "10"]
