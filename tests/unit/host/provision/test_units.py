"""Command lines and environment files, as systemd reads them."""

from __future__ import annotations

import shlex

from hypothesis import given, settings
from hypothesis import strategies as st

from nodegate.host.provision.document import Node, Opening
from nodegate.host.provision.units import environment_line, quoted, start_line

LINE = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=30
)


def test_iri_listens_on_the_loopback_until_somebody_else_may_ask() -> None:
    node = Node(jar="iri.jar", port=14265, options=("--testnet", "true"))
    line = start_line(node)
    assert line.startswith("/usr/bin/java -Xmx2g -jar /opt/iri/iri.jar --port 14265 --api-host 127.0.0.1 ")
    assert '--neighbors "${NEIGHBORS}" --testnet true' in line
    assert "--api-host 0.0.0.0" in start_line(node.model_copy(update={"api_from": ("192.0.2.1",)}))


def test_a_command_is_what_the_operator_wrote() -> None:
    node = Node(
        kind="command",
        command=("/opt/x/x", "--name", "a b", "$NEIGHBORS", "50%"),
        peer_ports=(Opening(port=1),),
    )
    assert start_line(node) == '/opt/x/x --name "a b" $NEIGHBORS "50%%"'


@settings(max_examples=200, deadline=None)
@given(LINE)
def test_an_argument_reaches_the_program_as_it_was_written(word: str) -> None:
    text = quoted(word)
    if text.startswith(("$", '"${')):
        return  # a variable, as documented
    (read,) = shlex.split(text)
    assert read.replace("%%", "%").replace("$$", "$") == word
    assert read.count("%") == 2 * word.count("%")


@settings(max_examples=200, deadline=None)
@given(LINE)
def test_a_value_in_an_environment_file_is_what_a_shell_would_read(value: str) -> None:
    assert shlex.split(environment_line("NAME", value).replace("\\$", "$").replace("\\`", "`")) == [
        f"NAME={value}"
    ]
