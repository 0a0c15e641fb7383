"""Ansible's events as JSON, one a line on standard output, for nodegate to read."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.callback import CallbackBase  # type: ignore[import-untyped,import-not-found,unused-ignore]

DOCUMENTATION = """
name: nodehost_events
type: stdout
short_description: events as JSON lines
description: Prints one JSON object for each start of a task and each result.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc,unused-ignore]
    """Prints what happened; judges nothing."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "nodehost_events"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._say(event="task", task=task.get_name().rpartition(" : ")[2])

    def v2_runner_on_ok(self, result: Any) -> None:
        # The results of a loop's items came one by one.
        if "results" not in result._result:
            self._result("ok", result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._result("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            self._result("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result("unreachable", result)

    def v2_on_file_diff(self, result: Any) -> None:
        for one in result._result.get("results", [result._result]):
            if one.get("diff") and one.get("changed"):
                self._say(event="diff", host=result._host.get_name(), text=self._get_diff(one["diff"]))

    def v2_playbook_on_stats(self, stats: Any) -> None:
        hosts = sorted(stats.processed)
        self._say(event="stats", hosts={host: dict(stats.summarize(host)) for host in hosts})

    def _result(self, status: str, result: Any) -> None:
        facts = result._result
        words = [str(one.get("msg", "")) for one in facts.get("results", []) if one.get("failed")]
        if not words:  # of a loop, Ansible's own words only say that an item failed
            words = [str(facts.get(key, "")) for key in ("msg", "stderr", "module_stderr")]
            # dpkg and pip tell the cause among much else that they did.
            words += [
                line.strip()
                for line in str(facts.get("stdout", "")).splitlines()
                if " error" in f" {line.lower()}"
            ]
        self._say(
            event=status, host=result._host.get_name(), task=result._task.get_name().rpartition(" : ")[2],
            changed=bool(facts.get("changed")), item=str(facts.get("_ansible_item_label") or ""),
            message="\n".join(dict.fromkeys(word for word in words if word)) if status != "ok" else "",
        )  # fmt: skip

    def _say(self, **event: Any) -> None:
        print(json.dumps(event, default=str), flush=True)
