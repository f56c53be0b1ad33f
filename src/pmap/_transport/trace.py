"""The traceback of an exception as plain values, which travel from a worker to the caller.

The caller makes a traceback from these values: see the module `remote_frames`.
"""

from __future__ import annotations

import sys
from itertools import islice

from .exceptions import describe, members_of
from .own_frames import is_own_frame, shows_own_frames

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, TracebackType
    from typing import Any, TypeAlias

    # A place in a traceback: file, name, qualified name, module and first line of a function; then
    # first and last line, first and last column of the code that the function was running (None:
    # not known); then the source of these lines if no file has it, else an empty text.
    Place: TypeAlias = tuple[str, str, str, str, int, int, int | None, int | None, int | None, str]
    # A traceback: its places from the outermost to the innermost; the exception that Python shows
    # with it (cause or context); whether that is the cause; the tracebacks of the members of an
    # exception group.
    Trace: TypeAlias = tuple[tuple[Place, ...], "Linked | None", bool, tuple["Trace", ...]]
    # A linked exception (cause or context): its pickle (None: it cannot be pickled), its
    # description, its traceback.
    Linked: TypeAlias = tuple[bytes | None, str, Trace]

# How many linked exceptions are sent with an exception that an item raised, at most. Each is
# pickled, and the context of a RecursionError may be a chain of a thousand exceptions.
_MOST_LINKED = 10
# In nested exception groups, tracebacks are sent down to this depth: marshal limits how deeply
# values may be nested.
_DEEPEST = 50


def trace_of(error: BaseException, dumps: Callable[[BaseException], bytes]) -> Trace:
    """Return the traceback of `error` as plain values, without pmap's own frames.

    If the user wants to see pmap's frames, these stay. `dumps` pickles the exceptions that are
    linked with `error`, and may raise anything.
    """
    return _Tracer(dumps).trace(error)


class _Tracer:
    def __init__(self, dumps: Callable[[BaseException], bytes]) -> None:
        self._dumps = dumps
        self._own_frames = shows_own_frames()
        # The ids of exceptions seen so far, because a chain of contexts may form a circle.
        self._seen: set[int] = set()
        # Equal places become one object, because marshal writes an object only once.
        self._same: dict[Place, Place] = {}

    def trace(self, error: BaseException, depth: int = 0) -> Trace:
        self._seen.add(id(error))
        cause = error.__cause__
        shown = cause
        if shown is None and not error.__suppress_context__:
            shown = error.__context__
        linked: Linked | None = None
        if shown is not None and id(shown) not in self._seen and len(self._seen) < _MOST_LINKED:
            linked = self._linked(shown, depth + 1)
        members: tuple[Trace, ...] = ()
        if depth < _DEEPEST:
            members = tuple([self.trace(one, depth + 1) for one in members_of(error)])
        return self._places(error.__traceback__), linked, cause is not None, members

    def _linked(self, error: BaseException, depth: int) -> Linked:
        trace = self.trace(error, depth)
        try:
            return self._dumps(error), "", trace
        except BaseException:
            # Pickling an exception runs its own methods, which may raise anything.
            return None, describe(error), trace

    def _places(self, trace: TracebackType | None) -> tuple[Place, ...]:
        places: list[Place] = []
        while trace is not None:
            names = trace.tb_frame.f_globals
            if self._own_frames or not is_own_frame(names):
                name: object = names.get("__name__")
                # Marshal cannot write an object of a subclass of str.
                module = name if type(name) is str else ""
                place = _place(trace, trace.tb_frame.f_code, module)
                places.append(self._same.setdefault(place, place))
            trace = trace.tb_next
        return tuple(places)


def _place(trace: TracebackType, code: CodeType, module: str) -> Place:
    where: tuple[int | None, int | None, int | None, int | None] = None, None, None, None
    if trace.tb_lasti >= 0:
        where = next(islice(code.co_positions(), trace.tb_lasti // 2, None), where)
    _, last_line, column, last_column = where
    source = _source(code.co_filename, trace.tb_lineno, last_line or trace.tb_lineno)
    return (
        code.co_filename,
        code.co_name,
        code.co_qualname,
        module,
        code.co_firstlineno,
        trace.tb_lineno,
        last_line,
        column,
        last_column,
        source,
    )


def _source(file: str, line: int, last_line: int) -> str:
    """Return the source of lines that only the cache of `linecache` has; else an empty text."""
    # Code that this process has made itself, as template engines do, has no file. `linecache` may
    # be a module of the program with that name, and not the module of the standard library.
    cache: Any = getattr(sys.modules.get("linecache"), "cache", {})
    entry: Any = cache.get(file)
    # In the cache of `linecache`, the entry of a real file has the file's time. An entry that was
    # not read yet has one member only.
    if entry is None or len(entry) != 4 or entry[1] is not None:
        return ""
    return "".join(entry[2][line - 1 : last_line])
