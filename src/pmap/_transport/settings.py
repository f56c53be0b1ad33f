"""Settings of the interpreter and the process that are not variables of any module.

They are the recursion limit, the limit of digits of an int as text, umask, locale, filters of
warnings, levels of loggers, and the time zone. The caller reads its settings when a call is made.
The worker applies the caller's settings before it runs a chunk of the call.
"""

from __future__ import annotations

import os
import sys
import time

from . import process_role
from .light_stdlib import partial
from .process_settings import read_process_settings

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from locale import LC_ALL, setlocale
    from threading import active_count as count_threads
    from typing import Any, TypeAlias

    from .process_settings import Values

    # How a filter of warnings matches a text: by the text itself, or by a regular expression and
    # its flags.
    Pattern: TypeAlias = str | tuple[str, int] | None
    # A filter of warnings: action, pattern of the message, module and name of the warning's
    # category, pattern of the module, line.
    Filter: TypeAlias = tuple[str, Pattern, tuple[str, str], Pattern, int]
    # The levels of logging: the level up to which logging is disabled, and the names of loggers
    # with the levels set for them.
    Levels: TypeAlias = tuple[int, tuple[tuple[str, int], ...]]
    # The settings of a process: recursion limit, digits, umask, locale, filters of warnings, levels
    # of logging, time zone, and the settings of `process_settings`. None in place of a setting
    # means that the setting is not known, or not in use. The time zone is the value of the
    # environment variable TZ when TZ took effect; None means the system's time zone.
    Settings: TypeAlias = tuple[
        int,
        int,
        int | None,
        str | None,
        tuple[Filter, ...] | None,
        Levels | None,
        str | None,
        Values,
    ]

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
# The time zone in effect, and the tuple that `time.tzname` was when that zone took effect.
# `time.tzset` makes a new tuple, so another tuple shows that the zone has changed.
_zone: str | None = os.environ.get("TZ")
_zone_names: tuple[str, str] = time.tzname
# Threads of pmap that only wait for work, and so create no files: see `_umask`.
waiting_threads: list[object] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=waiting_threads.clear)


def take_settings() -> Settings:
    """Return the settings of this process."""
    rest = _filters(), _levels(), _take_zone(), read_process_settings()
    return sys.getrecursionlimit(), sys.get_int_max_str_digits(), _umask(), _locale(), *rest


def apply_settings(settings: Settings, least: int = 0) -> None:
    """Apply recursion limit, limit of digits, umask, locale and time zone of `settings`.

    The recursion limit becomes no less than `least`. A worker that shares the caller's process sets
    only what belongs to the worker's own interpreter: the recursion limit and the limit of digits.
    """
    limit, digits, umask, locale, _, _, zone, _ = settings
    apply_zone(zone)
    limit = max(limit, least)
    if sys.getrecursionlimit() != limit:
        try:
            sys.setrecursionlimit(limit)
        except RecursionError:
            # The stack of this worker is deeper than the caller's recursion limit, so no item could
            # run with the caller's limit. This worker keeps its own limit.
            pass
    if sys.get_int_max_str_digits() != digits:
        sys.set_int_max_str_digits(digits)
    if process_role.shares_process:
        return
    if umask is not None:
        os.umask(umask)
    if locale is not None and _locale() != locale:
        try:
            setlocale(LC_ALL, locale)
        # The caller's locale does not exist on this system, so this process keeps its own.
        except Exception:
            pass


def _take_zone() -> str | None:
    """Return the time zone in effect: the value that TZ had at the last ``time.tzset()``."""
    global _zone, _zone_names
    if time.tzname is not _zone_names:
        _zone, _zone_names = os.environ.get("TZ"), time.tzname
    return _zone


def apply_zone(zone: str | None) -> None:
    """Make `zone` the time zone in effect, whatever TZ is and whatever zone an item has set."""
    global _zone, _zone_names
    if process_role.shares_process:
        return
    if (zone == _zone and time.tzname is _zone_names) or not hasattr(time, "tzset"):
        return
    before = os.environ.get("TZ")
    _set("TZ", zone)
    time.tzset()
    _set("TZ", before)
    _zone, _zone_names = zone, time.tzname


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _umask() -> int | None:
    """Return this process's umask; None where the umask cannot be read."""
    global _last_umask
    if process_role.shares_process:
        return None  # threads of the caller, not counted here, may create files
    # The umask can be read only by setting it to another value for a moment, in which no other
    # thread must create a file. If other threads run, this function returns what the umask was when
    # no other thread ran, or what the kernel said at the first call.
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


# Returns the locale as the C library names it, in bytes; None: the library is not in use here.
# Python's `setlocale` takes twice as long, because it makes a text of these bytes at each call.
_read_locale: Callable[[], bytes | None] | None = None
_last_locale: tuple[bytes | None, str | None] = None, None  # what was read last, and as a text


def read_locale_by(function: Callable[[int, None], bytes | None]) -> None:
    """Read the locale by the `setlocale` of the C library from now on."""
    global _read_locale
    _read_locale = partial(function, LC_ALL, None)


def _locale() -> str | None:
    global _last_locale
    read = _read_locale
    name = None if read is None else read()
    # `_last_locale` is read only once here, because another thread may change it.
    last = _last_locale
    if name is not None and name == last[0]:
        return last[1]
    try:
        locale = setlocale(LC_ALL, None)
    except Exception:
        locale = None  # Python cannot read a locale that code in C has set
    # Another thread may have changed the locale between the two reads, so there is a third.
    if read is not None and name == read():
        _last_locale = name, locale
    return locale


def default_filters() -> tuple[Filter, ...]:
    """Return Python's default filters of warnings."""
    try:
        from _warnings import filters
    except ImportError:
        return ()
    return tuple([_filter(each) for each in filters])


# The list of filters of warnings that was read last, and the same filters as plain values.
_last_filters: tuple[list[Any], tuple[Filter, ...]] = [], ()


def _filters() -> tuple[Filter, ...] | None:
    """Return the filters of warnings; None if no code has used warnings yet."""
    global _last_filters
    filters: list[Any] | None = getattr(sys.modules.get("warnings"), "filters", None)
    if filters is None:
        return None
    known, plain = _last_filters
    if filters != known:
        known = filters[:]
        plain = tuple([_filter(each) for each in known])
        _last_filters = known, plain
    return plain


def _filter(given: Any) -> Filter:
    action, message, category, module, line = given
    return (
        action,
        _pattern(message),
        (category.__module__, category.__qualname__),
        _pattern(module),
        line,
    )


def _pattern(given: Any) -> Pattern:
    return given if given is None or isinstance(given, str) else (given.pattern, given.flags)


_SEEN = "pmap: no level has changed"


def _levels() -> Levels | None:
    """Return the levels of loggers with a level of their own; None if logging was not used yet."""
    logging: Any = sys.modules.get("logging")
    root = getattr(logging, "root", None)
    if root is None:
        return None
    # To look at all loggers in each call would take too long. If the level of any logger changes,
    # `logging` clears the caches of all loggers. So pmap puts an entry of its own, a list, into the
    # root logger's cache: if the entry is still there, no level has changed, and the list has the
    # levels. The entry is put there before the levels are read. If another thread changes a level
    # meanwhile, the entry is gone, and the levels are read again at the next call.
    kept = getattr(root, "_cache", None)
    seen: list[Levels] = [] if kept is None else kept.get(_SEEN, [])
    if seen:
        return seen[0]
    seen = []  # another thread has put this empty list there, and reads the levels now
    if kept is not None:
        kept[_SEEN] = seen
    loggers = list(root.manager.loggerDict.items())
    levels = [(name, getattr(logger, "level", 0)) for name, logger in loggers]
    given = [("", root.level), *[each for each in levels if each[1]]]
    seen.append((root.manager.disable, tuple(given)))
    return seen[0]
