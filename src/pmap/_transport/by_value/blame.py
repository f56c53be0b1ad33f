"""Finding the object inside a value that cannot be pickled, and the path to it."""

from __future__ import annotations

import functools
from types import FunctionType, MethodType

from ..exceptions import safe_text
from ..importable import is_importable
from .fingerprints import untyped
from .globals_of import names_in
from .handover import inherited, is_nameless, is_semaphore
from .namespaces import namespace_of
from .picklers import Sender, dumps_full
from .role import is_handle

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_MOST_TRIED = 3000  # how many values one search may try to pickle
_LONGEST_KEY = 40  # characters of a dict's key that an error shows

# What the user can do about an object that cannot be pickled. The keys are names of modules, or of
# types.
_ADVICE = {
    "_thread": "make it in the function, or once in each worker: in an initializer",
    "_io": "open it in the function, by its name",
    "socket": "connect in the function, or once in each worker: in an initializer",
    "multiprocessing.synchronize": (
        'make it of a context whose locks have names, as multiprocessing.get_context("spawn"), or '
        'give start_method="fork"'
    ),
    "generator": "make a list of what it yields",
    "async_generator": "make a list of what it yields",
    "coroutine": "give the coroutine function itself, by pmap.sync: pmap(sync(f), xs)",
}
_MAKE_IT_THERE = "make it in the function, or once in each worker: in an initializer"
# Top-level packages with classes whose objects belong to one process, and for which `_STAYS` has
# advice. The search for the object that cannot be pickled ends at such an object: what is inside it
# would help no user.
_HOMES = ("pmap", "multiprocessing", "concurrent")
_POOL = "do not send {a}: make one in the item, or use it at the caller"
_RESULT = "do not send {a}: wait for its result at the caller, and send that"
_STAYS = {
    "Pool": _POOL.format(a="a pool"),
    "ThreadPool": _POOL.format(a="a pool"),
    "Executor": _POOL.format(a="an executor"),
    "AsyncResult": _RESULT.format(a="a handle"),
    "ApplyResult": _RESULT.format(a="a handle"),
    "Future": _RESULT.format(a="a future"),
    "ResultStream": "do not send a stream: take its results at the caller, and send these",
    "Completed": "do not send handles: wait for their results at the caller, and send these",
    "IMapIterator": "do not send an iterator: take its results at the caller, and send these",
}


def where_it_fails(value: object, name: str, why: BaseException | None = None) -> str:
    """Return a text: the path to the object in `value` that cannot be pickled, its type, advice.

    The text is empty if there is nothing to add to the error message. This function never raises.

    Args:
        value: what could not be pickled.
        name: what the error calls the value: the path begins with this name.
        why: what the pickling of `value` raised.
    """
    try:
        found = _Search(is_nameless(why)).path(value)
    # This code calls methods of the user's objects, which may raise anything.
    except Exception:
        return ""
    if found is None:
        return ""
    labels, culprit = found
    kind = type(culprit)
    # The object that cannot be pickled is the whole value, which the error names already. So only
    # advice is added, if there is any.
    if not (labels or _is_known(kind, name) or is_semaphore(culprit) or _stays(culprit)):
        return ""
    shown = kind.__qualname__ if kind.__module__ == "builtins" else _name_of(kind)
    if kind.__name__.endswith("Future") and _stays(culprit):
        # pmap's futures are of private classes, so the message names their public base class.
        shown = "concurrent.futures.Future"
    if isinstance(culprit, type):
        shown = f"the class {culprit.__qualname__}"
        return (
            f" ({' -> '.join([name, *labels])}: {shown}, which only an import makes; let the "
            'workers import the script: main="import")'
        )
    advice = _ADVICE.get(kind.__module__, _ADVICE.get(kind.__name__, _MAKE_IT_THERE))
    advice = _stays(culprit) or advice
    return f" ({' -> '.join([name, *labels])}: {shown}; {advice})"


def _is_known(kind: type, name: str) -> bool:
    """Return whether there is advice about the object `name`, which is of the class `kind`."""
    # The advice for whole packages is "make the object in the function". It does not help if the
    # object is the function's result. So for results only advice for single types counts.
    return kind.__name__ in _ADVICE or (name != "the result" and kind.__module__ in _ADVICE)


def _stays(value: object) -> str:
    """Return advice about an object that cannot leave its process; empty for other objects."""
    for cls in type(value).__mro__:
        if cls.__name__ in _STAYS and cls.__module__.partition(".")[0] in _HOMES:
            return _STAYS[cls.__name__]
    return ""


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class _Probe(Sender):
    """Tells a trial pickler to write all functions and classes in full, and lists them."""

    def __init__(self, nameless: bool) -> None:
        super().__init__()
        self.careful = True
        self.sends = False
        # Whether a lock of multiprocessing without a name counts as an object that cannot be
        # pickled.
        self._nameless = nameless
        self.met: list[object] = []

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Add `obj` to the list `met`; return None, so that `obj` is pickled with its contents."""
        self.met.append(obj)
        return None

    def inherited(self, number: int) -> Any:
        """Return what a trial pickler writes for a lock without a name; None: it cannot be sent."""
        return None if self._nameless else (inherited, (number,))


class _Search:
    def __init__(self, nameless: bool) -> None:
        self._nameless = nameless
        self._seen: dict[int, object] = {}
        self._left = _MOST_TRIED

    def path(self, value: Any) -> tuple[list[str], object] | None:
        """Return the path to the object that cannot be pickled, as labels, and the object itself.

        None means that no such object was found.
        """
        if id(value) in self._seen or self._left <= 0:
            return None
        self._seen[id(value)] = value
        self._left -= 1
        probe = _Probe(self._nameless)
        try:
            dumps_full(probe, value)
            fails = False
        except Exception:
            fails = True
        if fails and _stays(value):
            return [], value
        if fails or isinstance(value, FunctionType):
            for label, child in children_of(value):
                found = self.path(child)
                if found is not None:
                    return [label, *found[0]], found[1]
        for function in probe.met:
            if isinstance(function, FunctionType) and function is not value:
                found = self.path(function)
                if found is not None:
                    return [function.__qualname__, *found[0]], found[1]
        return ([], value) if fails else None


def children_of(value: object) -> Iterator[tuple[str, object]]:
    """Yield the objects inside `value`, each with the label that an error's path shows for it."""
    given, kind = untyped(value), type(value)
    if isinstance(value, FunctionType):
        yield from _of_function(value)
    elif isinstance(value, functools.partial):
        for name in ("func", "args", "keywords"):
            yield f".{name}", getattr(given, name)
    elif isinstance(value, MethodType):
        yield ".__self__", value.__self__
        yield ".__func__", value.__func__
    elif isinstance(value, dict):
        for key, child in given.items():
            yield f"[{safe_text(repr, key, _LONGEST_KEY)}]", child
            yield f"key {safe_text(repr, key, _LONGEST_KEY)}", key
    elif isinstance(value, tuple) and hasattr(kind, "_fields"):
        yield from [(f".{name}", getattr(given, name)) for name in given._fields]
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", child) for index, child in enumerate(given))
    elif isinstance(value, (set, frozenset)):
        yield from ((f"item {safe_text(repr, child, _LONGEST_KEY)}", child) for child in given)
    if not isinstance(value, (FunctionType, MethodType, type)) and not is_semaphore(given):
        yield from _attributes(given)


def _attributes(given: object) -> Iterator[tuple[str, object]]:
    value = untyped(given)
    if is_handle(type(given)):
        yield ".value", value.value
        return
    for name, child in [*getattr(value, "__dict__", {}).items()]:
        yield f".{name}", child
    for cls in type(given).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                yield f".{name}", getattr(value, name)


def _of_function(function: FunctionType) -> Iterator[tuple[str, object]]:
    if is_importable(function):
        return
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"variable {name!r}", cell.cell_contents
        except ValueError:
            continue
    yield "defaults", function.__defaults__
    yield "defaults", function.__kwdefaults__
    for name, child in function.__dict__.items():
        yield f".{name}", child
    if namespace_of(function.__globals__) is not None:
        for name in dict.fromkeys(names_in(code)):
            if name in function.__globals__:
                yield f"global {name!r}", function.__globals__[name]
