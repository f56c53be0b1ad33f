"""The table of settings that a worker applies when its caller has changed them."""

import gc
import marshal
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pmap._transport import process_role, process_settings
from pmap._transport.environment import capture_environment
from pmap._transport.process_settings import (
    apply_late,
    apply_process_settings,
    read_process_settings,
    without_machine,
)

if TYPE_CHECKING:
    from pmap._transport.process_settings import Value


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = sys.getswitchinterval(), gc.get_threshold(), sys.argv[:]
    yield
    sys.setswitchinterval(before[0])
    gc.set_threshold(*before[1])
    sys.argv[:] = before[2]


def test_they_are_read_in_the_order_of_the_table() -> None:
    rows = process_settings._rows
    one_by_one = [row.read() if row.module in sys.modules else ... for row in rows]
    pairs = zip(read_process_settings(), one_by_one, strict=True)
    assert [both for both in pairs if both not in ((both[1], both[1]), (0, ...))] == []


def test_they_travel_as_plain_values() -> None:
    values = read_process_settings()
    assert marshal.loads(marshal.dumps(values)) == values


def test_what_has_not_changed_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told = read_process_settings()
    sys.setswitchinterval(0.25)  # as an initializer does
    gc.set_threshold(9, 8, 7)
    changed = read_process_settings()
    put: list[object] = []
    for row in process_settings._rows:
        monkeypatch.setattr(row, "apply", put.append)
    apply_process_settings(told, told)
    assert put == []
    apply_process_settings(changed, told)
    assert put == []  # the process has these values already
    apply_process_settings(told, changed)
    assert put == [told[1], told[6]]


def test_a_module_that_may_not_be_imported_has_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = process_settings._rows
    at = [row.module for row in rows].index("resource")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert read_process_settings()[at] is ...


def test_that_the_caller_imports_a_module_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told = read_process_settings()
    rows = process_settings._rows
    at = [row.module for row in rows].index("gc")
    assert told[at] is rows[at].usual is True
    before = (*told[:at], ..., *told[at + 1 :])  # the caller had not imported it
    monkeypatch.setattr(rows[at], "read", lambda: False)  # an initializer has switched it off
    put: list[object] = []
    monkeypatch.setattr(rows[at], "apply", put.append)
    apply_process_settings(told, before)
    assert put == []
    apply_process_settings(told, (*told[:at], False, *told[at + 1 :]))
    assert put == [True]


def test_a_worker_in_the_callers_process_leaves_alone_what_both_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = read_process_settings()
    put: list[str] = []

    def note(module: str, _value: object) -> None:
        put.append(module)

    for row in process_settings._rows:
        monkeypatch.setattr(row, "read", lambda: "another value")
        monkeypatch.setattr(row, "apply", partial(note, row.module))
    monkeypatch.setattr(process_role, "shares_process", True)
    apply_process_settings(told, None)
    assert "sys" in put
    assert {"os", "resource", "tracemalloc"}.isdisjoint(put)


def test_a_call_before_which_nothing_changed_has_the_same_environment() -> None:
    directory = os.getcwd()
    first = capture_environment(directory)
    assert capture_environment(directory) is first
    sys.setswitchinterval(0.25)
    assert capture_environment(directory) is not first


def test_arguments_that_are_no_strings_stay_here() -> None:
    given: list[object] = [*sys.argv, 3]
    sys.argv = given  # type: ignore[assignment]  # what a program may do
    values = read_process_settings()
    assert values[0] is ...
    apply_process_settings(values, None)
    assert sys.argv is given


def test_a_module_is_not_imported_for_what_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[Value] = []
    row = process_settings._Row("no_such_module", 5, lambda: 5, known.append)
    monkeypatch.setattr(process_settings, "_rows", [row])
    apply_process_settings((5,), None)
    apply_process_settings((6,), None)  # the import fails: the process stays as it is
    assert known == []


def test_a_setting_may_wait_for_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[Value] = []
    row = process_settings._Row("of_a_test", ..., lambda: 5, known.append, waits=True)
    monkeypatch.setattr(process_settings, "_rows", [row])
    apply_process_settings((6,), None)
    monkeypatch.setitem(sys.modules, "of_a_test", sys)
    assert known == []
    apply_late("of_a_test")
    apply_late("of_a_test")
    assert known == [6]


def test_what_is_of_the_machine_stays_there() -> None:
    values = read_process_settings()
    elsewhere = without_machine(values)
    rows = process_settings._rows
    assert [kept is ... for kept in elsewhere] == [
        row.of_machine or value is ... for row, value in zip(rows, values, strict=True)
    ]
    assert {"os", "resource"} >= {row.module for row in rows if row.of_machine}
