"""The versions of dicts: what has changed has another, and what has one is not looked at."""

import marshal
import sys
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pmap._transport.by_value import fingerprints
from pmap._transport.by_value.dict_versions import is_version, version_of
from pmap._transport.by_value.fingerprints import fingerprint_of

if TYPE_CHECKING:
    from pmap._transport.by_value.fingerprints import Fingerprint

needs_versions = pytest.mark.skipif(
    version_of({}) is None, reason="this interpreter keeps no versions of dicts"
)


def test_versions_are_kept_where_they_are_expected() -> None:
    expected = sys.implementation.name == "cpython" and sys.version_info < (3, 14)
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        assert (version_of({}) is not None) == expected


@needs_versions
def test_no_two_dicts_have_one_version() -> None:
    dicts: list[dict[int, int]] = [{n: n} for n in range(100)] + [{} for _ in range(100)]
    assert len({*map(version_of, dicts)}) == len(dicts)


def test_a_number_that_does_not_follow_the_changes_is_not_taken_for_a_version() -> None:
    numbers = count()
    assert not is_version(lambda _: 0)
    assert not is_version(lambda _: next(numbers))  # it changes by itself
    assert not is_version(len)
    assert not is_version(lambda given: hash(marshal.dumps(given)))  # two dicts have the same


def no_digest(value: object) -> bytes:
    return b"%d" % id(value)


class Counted:
    """`marshal`, whose calls are counted."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        patch.setattr(fingerprints, "marshal", SimpleNamespace(dumps=self.dumps))

    def dumps(self, value: Any, version: int) -> bytes:
        self.calls += 1
        return marshal.dumps(value, version)


def looked_at(value: object, before: "Fingerprint", patch: pytest.MonkeyPatch) -> tuple[bool, int]:
    """Return whether a value is unchanged, and how often its contents were looked at."""
    with patch.context() as inner:
        counted = Counted(inner)
        return fingerprint_of(value, no_digest, before) == before, counted.calls


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "_MANY", 100)


@needs_versions
@pytest.mark.usefixtures("few_are_many")
def test_a_large_dict_of_scalars_is_looked_at_when_it_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table: dict[int, object] = {number: number for number in range(100)}
    before = fingerprint_of(table, no_digest)
    assert looked_at(table, before, monkeypatch) == (True, 0)
    table[1] = True  # equal, and yet another value
    unchanged, calls = looked_at(table, before, monkeypatch)
    assert not unchanged
    assert calls
    table[1] = 1
    unchanged, calls = looked_at(table, before, monkeypatch)
    assert unchanged  # its contents are those that were sent
    assert calls
    now = fingerprint_of(table, no_digest, before)
    assert looked_at(table, now, monkeypatch) == (True, 0)


@pytest.mark.usefixtures("few_are_many")
@pytest.mark.parametrize("is_deep", [False, True])
def test_a_change_inside_of_a_value_is_seen(is_deep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    changing = [1]
    inner = (1, changing) if is_deep else changing
    table: dict[int, object] = {**{number: number for number in range(100)}, 100: inner}
    before = fingerprint_of(table, no_digest)
    assert looked_at(table, before, monkeypatch)[0]
    changing.clear()
    assert not looked_at(table, before, monkeypatch)[0]


@pytest.mark.usefixtures("few_are_many")
def test_a_list_that_comes_into_a_dict_of_scalars_is_seen_to_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table: dict[int, object] = {number: number for number in range(100)}
    before = fingerprint_of(table, no_digest)
    table[1] = given = [1]
    now = fingerprint_of(table, no_digest, before)
    assert now != before
    given.append(2)
    assert not looked_at(table, now, monkeypatch)[0]


@pytest.mark.usefixtures("few_are_many")
def test_a_change_is_seen_where_there_are_no_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: object) -> None:
        return None

    monkeypatch.setattr(fingerprints, "version_of", none)
    table = {number: number for number in range(100)}
    before = fingerprint_of(table, no_digest)
    assert looked_at(table, before, monkeypatch)[0]
    table[1] = 5
    assert not looked_at(table, before, monkeypatch)[0]
