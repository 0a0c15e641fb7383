"""Seen from here, what another host lets in: connections, and answers to questions. Runs on whoever plays stranger."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CONNECT_TIMEOUT = 2.0
"""Seconds without any answer after which a port counts as filtered."""
ANSWER_TIMEOUT = 5.0
MAX_ANSWER = 1_000_000


def main(ask: Mapping[str, Any]) -> None:
    """Print what `look` sees."""
    print(json.dumps(look(ask)))


def look(ask: Mapping[str, Any]) -> dict[str, Any]:
    """`{"ports": {port: state}, "answers": [[status, body in base64] or why there is none, …]}`."""
    target, ports = ask["target"], ask.get("ports", ())
    with ThreadPoolExecutor(max_workers=8) as pool:
        states = dict(zip(map(str, ports), pool.map(lambda port: _state(target, port), ports)))  # noqa: B905  # Python 3.9
    answers = [_answer(target, ask["port"], question) for question in ask.get("questions", ())]
    return {"ports": states, "answers": answers}


def _state(target: str, port: int) -> str:
    """`open`, `refused` (the host answered) or `filtered` (nothing came)."""
    try:
        socket.create_connection((target, port), timeout=CONNECT_TIMEOUT).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "filtered"
    return "open"


def _answer(target: str, port: int, question: Mapping[str, Any]) -> Any:
    """Status and body, or why there is none; in plain HTTP, and where that fails by TLS with any certificate."""
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    said = ""
    for connection in (
        http.client.HTTPConnection(target, port, timeout=ANSWER_TIMEOUT),
        http.client.HTTPSConnection(target, port, timeout=ANSWER_TIMEOUT, context=anybody),
    ):
        try:
            connection.request(
                "POST", question.get("path") or "/", question["body"].encode(), question["headers"]
            )
            response = connection.getresponse()
            return [response.status, base64.b64encode(response.read(MAX_ANSWER)).decode()]
        except (OSError, http.client.HTTPException) as error:
            said = said or f"{type(error).__name__}: {error}"
        finally:
            connection.close()
    return said
