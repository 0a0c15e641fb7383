"""Logs: one line for each event, as text or as JSON, on the standard library's logging."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TextIO

ROOT = "nodegate"
_PLAIN = re.compile(r"[A-Za-z0-9._:/@+%-]+")


class Event(StrEnum):
    """Every event that nodegate records with fields; other log lines are plain sentences."""

    VERDICT = "verdict"  # a node's status changed: node, pool, was, now, reasons
    CHANGE = "change"  # a change was handed to HAProxy: what, why
    WITHHELD = "withheld"  # safety holds a change back: what, rule, why
    REFUSED = "refused"  # HAProxy did not take a change
    REGISTRY = "registry"  # the registry was lost or came back
    HAPROXY = "haproxy"  # the link to HAProxy was lost or came back
    TASK = "task"  # a supervised task was started again
    SCALING = "scaling"  # a pool's size was changed, or could not be: pool, node, action, why
    INTENT = "intent"  # somebody changed a node's record through the API


def record(logger: logging.Logger, level: int, event: Event, message: str, **fields: object) -> None:
    """Log `message` as `event` with `fields`: JSON-able values, None is left out."""
    if logger.isEnabledFor(level):
        known = {key: value for key, value in fields.items() if value is not None}
        logger.log(level, "%s", message, extra={"event": event.value, "fields": known})


def configure_logging(
    *, as_json: bool = False, level: int = logging.INFO, stream: TextIO | None = None
) -> None:
    """Send all of nodegate's log lines, and warnings of the libraries, to `stream` (None: standard error).

    May be called again: the former arrangement is replaced.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if as_json else TextLines())
    handler.set_name(ROOT)
    root = logging.getLogger()
    for old in [old for old in root.handlers if old.get_name() == ROOT]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(level)


class TextLines(logging.Formatter):
    """`2024-05-01T12:00:00.000Z INFO daemon: message event=verdict node=a`, always one line.

    Values that are not plain words stand in JSON quotes, and so do control characters: what a node says
    cannot forge a line or move the cursor.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        parts = [_moment(record), record.levelname, f"{_source(record)}:", _one_line(record.getMessage())]
        event = getattr(record, "event", None)
        if event is not None:
            parts.append(f"event={event}")
        parts += [f"{key}={_quoted(value)}" for key, value in getattr(record, "fields", {}).items()]
        if record.exc_info:
            parts.append(f"trace={_quoted(self.formatException(record.exc_info))}")
        return " ".join(parts)


class JsonLines(logging.Formatter):
    """One JSON object for each line: time, level, source, message, event, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        document: dict[str, Any] = dict(getattr(record, "fields", {}))
        document |= {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "source": _source(record),
            "message": record.getMessage(),
        }
        if (event := getattr(record, "event", None)) is not None:
            document["event"] = event
        if record.exc_info:
            document["trace"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


def _moment(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _source(record: logging.LogRecord) -> str:
    return record.name.removeprefix(f"{ROOT}.")


def _one_line(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _quoted(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value, default=str)
