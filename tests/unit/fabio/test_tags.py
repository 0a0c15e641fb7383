"""Routing tags: the grammar, the options, and that nothing in a tag can do harm."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.fabio import options
from nodegate.fabio.tags import BadTag, Tag, is_routing, other_tags, parse
from nodegate.routes import Redirect, Treatment

PREFIX = "urlprefix-"


def good(tag: str, **more: object) -> Tag:
    parsed = parse(tag, prefix=PREFIX, datacenter="dc1", **more)  # type: ignore[arg-type]
    assert isinstance(parsed, Tag), parsed
    return parsed


def bad(tag: str, **more: object) -> str:
    parsed = parse(tag, prefix=PREFIX, datacenter="dc1", **more)  # type: ignore[arg-type]
    assert isinstance(parsed, BadTag), parsed
    return parsed.why


@pytest.mark.parametrize(
    ("tag", "host", "path"),
    [
        ("urlprefix-/", "", "/"),
        ("urlprefix-/Foo", "", "/Foo"),
        ("urlprefix- /foo", "", "/foo"),
        ("  urlprefix-/foo  ", "", "/foo"),
        ("\turlprefix-\t/foo\t", "", "/foo"),
        ("urlprefix-Abc.COM/Foo", "abc.com", "/Foo"),
        ("urlprefix-abc.com", "abc.com", "/"),
        ("urlprefix-abc.com:8080", "abc.com:8080", "/"),
        ("urlprefix-abc.com:8080/x", "abc.com:8080", "/x"),
        ("urlprefix-*.abc.com/", "*.abc.com", "/"),
        ("urlprefix-/p[x", "", "/p[x"),
        ("urlprefix-$DC.abc.com/", "dc1.abc.com", "/"),
        ("urlprefix-${DC}.abc.com/", "dc1.abc.com", "/"),
        ("urlprefix-/a/$DC/b", "", "/a/dc1/b"),
        ("urlprefix-/a$other/b", "", "/a/b"),
        ("urlprefix-/a${path}b", "", "/ab"),
    ],
)
def test_host_and_path(tag: str, host: str, path: str) -> None:
    parsed = good(tag)
    assert (parsed.host, parsed.path) == (host, path)


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("urlprefix-", "neither host nor path"),
        ("urlprefix-   ", "neither host nor path"),
        ("urlprefix-:1234", "TCP"),
        ("urlprefix-:1234 proto=tcp", "TCP"),
        ("urlprefix-[/bad", "[ without its ]"),
        ("urlprefix-{a,b/x", "{ without its }"),
        ("urlprefix-a}/x", "} without its {"),
        ("urlprefix-a]/x", "] without its ["),
        ("urlprefix-[z-a].com/x", "range"),
        ("urlprefix-[!].com/x", "empty [ ]"),
        ("urlprefix-/ü", "ASCII"),
        ("urlprefix-/x weight=abc", "not a number"),
        ("urlprefix-/x weight=30%", "not a number"),
        ("urlprefix-/x weight=", "not a number"),
        ("urlprefix-/x proto=tcp", "not supported"),
        ("urlprefix-/x proto=grpcs", "not supported"),
        ("urlprefix-/x proto=gopher", "not known"),
        ("urlprefix-/x pxyproto=true", "not supported"),
        ("urlprefix-/x grpcservername=a", "not supported"),
        ("urlprefix-/x strip=foo", "begins with a slash"),
        ("urlprefix-/x strip=/" + "a" * 127, "longer than 127"),
        ('urlprefix-/x host="x"', "not a host name"),
        ("urlprefix-/x redirect=301", "not CODE,URL"),
        ("urlprefix-/x redirect=200,http://a.com", "not CODE,URL"),
        ("urlprefix-/x redirect=301,javascript:alert(1)", "no URL"),
        ("urlprefix-/x redirect=301,http://a.com/$path/$path", "more than once"),
    ],
)
def test_what_cannot_be_used_says_why(tag: str, words: str) -> None:
    assert words in bad(tag)


@pytest.mark.parametrize(
    ("value", "weight"),
    [
        ("0.2", 0.2),
        (".5", 0.5),
        ("1e-1", 0.1),
        ("0", 0),
        ("-1", 0),
        ("NaN", 0),
        ("1234", 1234),
        ("+Inf", 1e6),
    ],
)
def test_weights(value: str, weight: float) -> None:
    assert good(f"urlprefix-/x weight={value}").meaning.weight == weight


def test_options_are_split_at_white_space_and_the_last_one_counts() -> None:
    parsed = good("urlprefix-/x   strip=/a\tstrip=/b  prepend=/c flag")
    assert parsed.text == "strip=/a strip=/b prepend=/c flag"
    assert parsed.meaning.treatment == Treatment(strip="/b", prepend="/c")
    assert parsed.remarks == ("the option 'flag' is not known and has no effect",)


def test_each_option_means_what_the_table_says() -> None:
    meaning = good(
        "urlprefix-/x proto=https tlsskipverify=true host=in.example:8443 auth=staff register=alias deny=ip:10.0.0.1"
    ).meaning
    assert (meaning.https, meaning.verify, meaning.registers) == (True, False, "alias")
    assert meaning.treatment == Treatment(host="in.example:8443", auth="staff", deny=("10.0.0.1/32",))
    assert good("urlprefix-/x host=dst").meaning.upstream_host == "dst"
    assert good("urlprefix-/x redirect=302,https://$host/a$path").meaning.treatment.redirect == Redirect(
        code=302, url="https://$host/a$path"
    )
    assert good("urlprefix-/x proto=http strip= prepend= host=").meaning == options.Meaning()


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "rule",
    ["allow=ip:300.0.0.0/8", "allow=10.0.0.0/8", "deny=", "deny=ip:", "allow=ip:10.0.0.0/8,nonsense",
     "allow=ip:10.0.0.0/8 deny=ip:10.0.0.0/8", "auth="],
)  # fmt: skip
def test_a_wrong_access_rule_closes_the_route(rule: str, strict: bool) -> None:
    parsed = good(f"urlprefix-/x {rule}", strict=strict)
    treatment = parsed.meaning.treatment
    assert treatment.closed
    assert (treatment.allow, treatment.deny) == ((), ())
    assert any("closed for everybody" in remark for remark in parsed.remarks)


def test_a_redirect_that_cannot_be_understood_is_proxied_only_when_strict() -> None:
    assert "redirect" in bad("urlprefix-/x redirect=what")
    parsed = good("urlprefix-/x redirect=what strip=/x", strict=True)
    assert parsed.meaning.treatment == Treatment(strip="/x")
    assert "proxied" in parsed.remarks[0]


def test_tags_are_told_apart_after_trimming() -> None:
    tags = [" urlprefix-/x", "a", " b ", "urlprefix-/y weight=1", ""]
    assert [is_routing(tag, PREFIX) for tag in tags] == [True, False, False, True, False]
    assert other_tags(tags, PREFIX) == ("a", "b")


def test_globs_do_not_count_where_they_are_switched_off() -> None:
    assert good("urlprefix-[/bad", glob_hosts=False).host == "["
    assert "[ without its ]" in bad("urlprefix-/p[x", glob_paths=True)


_words = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["weight=", "strip=/", "allow=ip:", "deny=ip:::/0", "redirect=301,", "host=", "proto=", "auth=", "[", "{", "$", "%", "\\"]),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(_words, max_size=6).map(" ".join), st.booleans(), st.booleans(), st.booleans())
def test_no_tag_whatever_it_is_raises_or_opens_what_it_wanted_closed(
    text: str, strict: bool, glob_hosts: bool, glob_paths: bool
) -> None:
    tag = parse(PREFIX + text, prefix=PREFIX, strict=strict, glob_hosts=glob_hosts, glob_paths=glob_paths)
    if isinstance(tag, BadTag):
        assert tag.why
        return
    said = options.split(tag.text)
    treatment = tag.meaning.treatment
    assert tag.path.startswith("/")
    assert tag.host == tag.host.lower()
    assert (tag.host + tag.path).isascii()
    assert 0 <= tag.meaning.weight < math.inf
    if {"allow", "deny"} & said.keys():
        assert treatment.closed or treatment.allow or treatment.deny
    if "auth" in said:
        assert treatment.closed or treatment.auth
