"""The error tree and its two tables."""

from __future__ import annotations

import inspect

import pytest

from nodegate import errors
from nodegate.errors import BadDocument, Fault, NodegateError

ALL = [
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, NodegateError) and error is not NodegateError
]


def test_there_is_one_tree() -> None:
    exceptions = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, Exception)]
    assert len(exceptions) > 7
    assert set(exceptions) == {NodegateError, *ALL}


def test_every_error_has_an_http_status_and_an_exit_code_of_its_own() -> None:
    assert all(400 <= error.code <= 599 for error in ALL)
    codes = [error.exit_code for error in ALL]
    assert len(set(codes)) == len(codes)
    # 0 is success, 1 an unforeseen error, 2 the shell's and Typer's word for wrong usage, from 126 on the shell's
    assert all(2 < code < 126 for code in codes)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault(file="f.toml", line=3, key="probe.interval", message="odd"), "f.toml:3: probe.interval: odd"),
        (Fault(file="f.toml", line=3, key="", message="odd"), "f.toml:3: odd"),
        (Fault(file="request", line=None, key="weight", message="odd"), "request: weight: odd"),
        (Fault(file="request", line=None, key="", message="odd"), "request: odd"),
    ],
)
def test_a_fault_reads_as_compilers_write_it(fault: Fault, text: str) -> None:
    assert str(fault) == text


def test_a_bad_document_carries_and_prints_all_its_faults() -> None:
    faults = [Fault(file="f", line=line, key="k", message="odd") for line in (1, 2)]
    error = BadDocument(fault for fault in faults)
    assert error.faults == tuple(faults)
    assert str(error) == "f:1: k: odd\nf:2: k: odd"
