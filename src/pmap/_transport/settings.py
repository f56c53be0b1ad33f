"""Settings of the interpreter and the process that are no variables of any module.

Recursion limit, limit of digits of an int as text, umask, locale; filters of warnings and levels of
loggers; time zone: taken at the caller when a call is made, put in place in the worker before a
chunk of it runs there.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from locale import LC_ALL, setlocale
    from threading import active_count as count_threads
    from typing import Any, TypeAlias

    # How a filter of warnings looks for a text: as it is, or as a pattern with flags.
    Pattern: TypeAlias = str | tuple[str, int] | None
    # action, pattern of the message, module and name of the category, pattern of the module, line
    Filter: TypeAlias = tuple[str, Pattern, tuple[str, str], Pattern, int]
    # the level up to which logging is disabled, names of loggers with the levels that they were set
    Levels: TypeAlias = tuple[int, tuple[tuple[str, int], ...]]
    # recursion limit, digits, umask, locale, filters, levels (None: not known, or not in use), time
    # zone (what TZ was when it began; None: that of the system)
    Settings: TypeAlias = tuple[
        int, int, int | None, str | None, tuple[Filter, ...] | None, Levels | None, str | None
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
# The time zone that is in force, and what tells that `time.tzset` has made it another one.
_zone: str | None = os.environ.get("TZ")
_zone_names: tuple[str, str] = time.tzname
# Our own threads that wait for work, and create no files.
waiting_threads: list[object] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=waiting_threads.clear)


def take_settings() -> Settings:
    """Return those of this process."""
    rest = _filters(), _levels(), _take_zone()
    return sys.getrecursionlimit(), sys.get_int_max_str_digits(), _umask(), _locale(), *rest


def apply_settings(settings: Settings, least: int = 0) -> None:
    """Make those of this process the ones in `settings`, but for filters and levels.

    `least`: the recursion limit is no less.
    """
    limit, digits, umask, locale, _, _, zone = settings
    apply_zone(zone)
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


def _take_zone() -> str | None:
    """Return the time zone that is in force: what TZ was at ``time.tzset()``, not what it is."""
    global _zone, _zone_names
    if time.tzname is not _zone_names:
        _zone, _zone_names = os.environ.get("TZ"), time.tzname
    return _zone


def apply_zone(zone: str | None) -> None:
    """Let a time zone be in force, whatever TZ is, and whatever an item has made of it."""
    global _zone, _zone_names
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


def default_filters() -> tuple[Filter, ...]:
    """Return the filters that Python has where nobody has used warnings yet."""
    try:
        from _warnings import filters
    except ImportError:
        return ()
    return tuple([_filter(each) for each in filters])


# The filters that were seen last, and what is told of them.
_last_filters: tuple[list[Any], tuple[Filter, ...]] = [], ()


def _filters() -> tuple[Filter, ...] | None:
    """Return the filters of warnings; None where nobody has used warnings yet."""
    global _last_filters
    filters: list[Any] | None = getattr(sys.modules.get("warnings"), "filters", None)
    if filters is None:
        return None
    known, told = _last_filters
    if filters != known:
        known = filters[:]
        told = tuple([_filter(each) for each in known])
        _last_filters = known, told
    return told


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
_last_levels: Levels | None = None


def _levels() -> Levels | None:
    """Return the levels of all loggers that have one; None where nobody has used logging yet."""
    global _last_levels
    logging: Any = sys.modules.get("logging")
    root = getattr(logging, "root", None)
    if root is None:
        return None
    # Each change of a level clears what loggers keep of earlier decisions. There stands a word of
    # ours, which is gone then: to look at all loggers in each call would take too long.
    kept = getattr(root, "_cache", None)
    if kept is None or _SEEN not in kept or _last_levels is None:
        if kept is not None:
            kept[_SEEN] = True
        loggers = list(root.manager.loggerDict.items())
        levels = [(name, getattr(logger, "level", 0)) for name, logger in loggers]
        given = [("", root.level), *[each for each in levels if each[1]]]
        told = root.manager.disable, tuple(given)
        if told != _last_levels:
            _last_levels = told
    return _last_levels
