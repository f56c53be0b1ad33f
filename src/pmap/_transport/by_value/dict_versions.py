"""Versions of dicts, which show whether a dict has changed without a look at its contents.

CPython up to 3.13 keeps a number in each dict, and gives the dict a new number at each change. No
two dicts of an interpreter ever have the same number. No function returns the number, so it is read
from the memory of the dict. Before this module trusts the number, it tests once that the number is
in the expected place and changes as described.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Read: TypeAlias = Callable[[dict[Any, Any]], int]

# Python `_FIRST` and later versions before `_BEFORE` keep a version number in each dict.
_FIRST, _BEFORE = (3, 11), (3, 14)


def _reader() -> Read | None:
    """Return a function that reads a dict's version; None if this Python has no versions."""
    if sys.implementation.name != "cpython" or not _FIRST <= sys.version_info[:2] < _BEFORE:
        return None
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return None  # without a GIL, another thread may change the dict while its memory is read
    try:
        from ctypes import c_ssize_t, c_uint64, sizeof
    except (ImportError, OSError, MemoryError):  # this Python has no usable `ctypes`
        return None
    # In the memory of a dict, the version comes after the object header and the number of entries.
    place = object.__basicsize__ + sizeof(c_ssize_t)

    def read(given: dict[Any, Any]) -> int:
        return c_uint64.from_address(id(given) + place).value

    if dict.__basicsize__ < place + sizeof(c_uint64) or not is_version(read):
        return None
    return read


def is_version(read: Read) -> bool:
    """Return whether `read` returns another number after each change of a dict, and only then."""
    trial: dict[object, object] = {}
    other: dict[object, object] = {}
    changes: tuple[Callable[[], object], ...] = (
        lambda: trial.update({1: 2, 3: 4, 5: 6}),
        lambda: trial.__setitem__(1, 7),
        lambda: trial.__setitem__("text", 8),
        lambda: trial.__delitem__(3),
        lambda: trial.pop(5),
        trial.popitem,
        lambda: trial.setdefault(9, 10),
        lambda: trial.update(text=11),
        trial.clear,
    )
    seen = {read(other), read(trial)}
    for count, change in enumerate(changes, 3):
        change()
        seen.add(read(trial))
        # Reading the dict must not change its version.
        _ = [*trial.items()], trial.get(1), trial.copy(), trial == other
        seen.add(read(trial))
        if len(seen) != count:
            return False
    return True


class _Reader:
    """Finds the function that reads the version of a dict, when a version is first asked for."""

    read: Read | None = None
    is_found: bool = False


def version_of(given: dict[Any, Any]) -> int | None:
    """Return a number that stays the same only while the dict `given` is unchanged.

    Changes inside the dict's keys and values do not count. None: this interpreter keeps no such
    number.
    """
    if not _Reader.is_found:
        _Reader.read = _reader()
        _Reader.is_found = True
    return None if _Reader.read is None else _Reader.read(given)
