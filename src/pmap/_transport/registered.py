"""The functions that a program has registered with `multiprocessing` to pickle its types."""

from __future__ import annotations

import sys

from . import light_pickle

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pickle import PickleBuffer
    from typing import Any

    Buffers = Callable[[PickleBuffer], bool]

# Modules of `multiprocessing` that register reducers (functions that pickle a type). A plain pickle
# of these types does no harm: it fails, or it mentions `multiprocessing` and so is recognised, or
# it is just as good.
_OF_THE_LIBRARY = frozenset(
    {
        "multiprocessing.connection",
        "multiprocessing.heap",
        "multiprocessing.managers",
        "multiprocessing.reduction",
    }
)
_NONE: dict[type, Callable[[Any], Any]] = {}


def registered() -> Mapping[type, Callable[[Any], Any]]:
    """Return the reducers (functions that pickle a type) that ``ForkingPickler`` has, by type."""
    # If the program has not imported `multiprocessing.reduction`, it has registered nothing there,
    # so the module is not imported here.
    reduction = sys.modules.get("multiprocessing.reduction")
    # Another thread may be importing the module at this moment, so that the class is missing.
    pickler = getattr(reduction, "ForkingPickler", None)
    found: Mapping[type, Callable[[Any], Any]] = getattr(pickler, "_extra_reducers", _NONE)
    return found


def added() -> list[tuple[type, Callable[[Any], Any]]]:
    """Return pairs of a type and its reducer, as the program or a library has registered them.

    Reducers of `multiprocessing` itself are left out.
    """
    return [
        (kind, reducer)
        for kind, reducer in [*registered().items()]
        if not str(getattr(reducer, "__module__", None)).startswith("multiprocessing.")
    ]


# What `plain_dumps` returned last, and how many reducers (functions that pickle a type) were
# registered then.
_last: tuple[int, Callable[..., bytes]] = 0, light_pickle.dumps


def plain_dumps() -> Callable[..., bytes]:
    """Return a ``dumps`` that raises TypeError for objects whose types have a reducer.

    If there are no such types, return pickle's own ``dumps``. A reducer is a function that pickles
    a type. Without it, a plain pickle may be wrong: that of a number in shared memory would be a
    copy of the number.
    """
    global _last
    count = len(registered())
    if count != _last[0]:
        guarded = [
            kind
            for kind, reducer in [*registered().items()]
            if getattr(reducer, "__module__", None) not in _OF_THE_LIBRARY
        ]
        _last = count, _Guarded(guarded).dumps if guarded else light_pickle.dumps
    return _last[1]


class _Guarded:
    """Has a method `dumps` that raises TypeError for objects of certain types."""

    def __init__(self, kinds: list[type]) -> None:
        self._kinds = kinds
        self._known: dict[Any, Any] = {}
        self._table: dict[Any, Any] = {}

    def dumps(self, value: object, protocol: int, buffer_callback: Buffers | None = None) -> bytes:
        import copyreg

        if not self._table or self._known != copyreg.dispatch_table:
            self._known = dict(copyreg.dispatch_table)
            self._table = {**self._known, **dict.fromkeys(self._kinds, _refuse)}
        file = light_pickle.BytesIO()
        pickler = light_pickle.Pickler(file, protocol, buffer_callback=buffer_callback)
        pickler.dispatch_table = self._table
        pickler.dump(value)
        return file.getvalue()


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} is registered with ForkingPickler")
