from __future__ import annotations

from pathlib import Path

import pytest

from nodegate.alerting.defaults import rules_of
from nodegate.documents import load
from nodegate.errors import BadDocument
from nodegate.settings import load_settings


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "nodegate.toml"
    path.write_text(text)
    return path


def test_a_secret_comes_from_a_variable_and_files_are_relative_to_the_document(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://hooks.example.org/T0")
    text = '[alerts.channels.ops]\nkind = "webhook"\nurl = "https://alerts.example.org/"\n[alerts.channels.chat]\nkind = "slack"\nurl_file = "url"\n'
    environ = {"NODEGATE_ALERTS__CHANNELS__OPS__SECRET": "hush"}
    channels = load_settings(file(tmp_path, text), environ).alerts.channels
    secret = channels["ops"].secret
    assert secret is not None
    assert secret.get_secret_value() == "hush"
    assert "hush" not in repr(channels)
    assert channels["chat"].url_file == tmp_path / "url"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[alerts.channels.ops]\nkind = "email"\nto = ["a@example.org"]\n', 2, "set mail.server"),
        ('[alerts.channels.ops]\nkind = "slack"\nurl_file = "gone"\n', 3, "cannot be read"),
        ('[alerts.rules.x]\non = ["node-dwon"]\n', 2, "no signal or event"),
        ('[alerts.rules.node-down]\nchannels = ["x"]\n', 1, "no channel 'x'"),
    ],
)
def test_faults_point_at_their_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(BadDocument, match=words) as caught:
        load_settings(file(tmp_path, text), {})
    assert caught.value.faults[0].line == line


@pytest.mark.parametrize(
    ("table", "key", "line"),
    [
        ('[alerts.rules.mine]\non = ["banned"]\nhold = 5\n', "hold", 3),
        ('[alerts.rules.mine]\non = ["pool-out", "started"]\nabove = 0.5\nhold = 5\n', "above", 3),
        ('[alerts.rules.mine]\nbelow = 1\non = ["node-added"]\n', "below", 2),
        ("[alerts.rules.haproxy-restarted]\nclear = 60\nhold = 60\n", "hold", 3),
    ],
)
def test_an_event_is_not_asked_how_long_it_lasts_or_how_much_it_is(
    tmp_path: Path, table: str, key: str, line: int
) -> None:
    path = file(tmp_path, table)
    with pytest.raises(BadDocument, match="it is an event, which happens at one moment") as caught:
        rules_of(load_settings(path, {}).alerts, load(path))
    fault = caught.value.faults[0]
    assert (fault.file, fault.line, fault.key.rpartition(".")[2]) == (str(path), line, key)


def test_a_rule_without_a_signal_points_at_its_table(tmp_path: Path) -> None:
    path = file(tmp_path, "[alerts]\ngroup = 1\n\n[alerts.rules.mine]\nhold = 3\n")
    with pytest.raises(BadDocument, match="a new rule needs `on`") as caught:
        rules_of(load_settings(path, {}).alerts, load(path))
    assert caught.value.faults[0].line == 4
