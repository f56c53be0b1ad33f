"""Settings of the interpreter and the process that are no variables of any module.

Recursion limit, limit of digits of an int as text, umask, locale: taken at the caller when a call
is made, put in place in the worker before a chunk of it runs there.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from locale import LC_ALL, setlocale
    from threading import active_count as count_threads
    from typing import TypeAlias

    # recursion limit, digits, umask (None: not known), locale (None: not known)
    Settings: TypeAlias = tuple[int, int, int | None, str | None]

else:
    try:
        from _locale import LC_ALL, setlocale
    except ImportError:
        from locale import LC_ALL, setlocale
    try:
        from _thread import _count as count_threads
    except ImportError:
        from threading import active_count as count_threads

_last_umask: int | None = None
# Our own threads that wait for work, and create no files.
waiting_threads: list[object] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=waiting_threads.clear)


def take_settings() -> Settings:
    """Return those of this process."""
    return sys.getrecursionlimit(), sys.get_int_max_str_digits(), _umask(), _locale()


def apply_settings(settings: Settings, least: int = 0) -> None:
    """Make those of this process the ones in `settings`.

    `least`: the recursion limit is no less.
    """
    limit, digits, umask, locale = settings
    limit = max(limit, least)
    if sys.getrecursionlimit() != limit:
        try:
            sys.setrecursionlimit(limit)
        except RecursionError:
            pass  # it is lower than where we are: an item could not run at all
    if sys.get_int_max_str_digits() != digits:
        sys.set_int_max_str_digits(digits)
    if umask is not None:
        os.umask(umask)
    if locale is not None and _locale() != locale:
        try:
            setlocale(LC_ALL, locale)
        except Exception:  # this system has none of that name
            pass


def _umask() -> int | None:
    """Return this process's umask, as far as it can be known."""
    global _last_umask
    # It can only be read by setting it. No other thread may create a file meanwhile; so where there
    # are some, it is what it was when there were none, or what the kernel tells once.
    if count_threads() <= len(waiting_threads):
        _last_umask = os.umask(0o077)
        os.umask(_last_umask)
    elif _last_umask is None:
        try:
            with open("/proc/self/status", "rb") as status:
                _last_umask = int(status.read().partition(b"Umask:")[2].split()[0], 8)
        except (OSError, ValueError, IndexError):
            return None
    return _last_umask


def _locale() -> str | None:
    try:
        return setlocale(LC_ALL, None)
    except Exception:  # one that this program has set in C, and Python cannot read
        return None
