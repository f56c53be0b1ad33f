"""Runs the items of a chunk that came through an engine, and makes their results ready to go back.

The caller of the verb sends a chunk to an engine. On the engine's node, pmap gives the items to a
worker process of its own, the inner worker. There each item is one call of a `Relay`, which loads
the function and the argument. So the process on the node that passes the chunk on never loads an
object of the user's.

What a `Relay` returns is a *relayed entry*: a plain scalar as it is; ``(0, data)``, any other value
pickled; a failure record (see `failure_record`) as a tuple; or `SKIPPED`.
"""

from __future__ import annotations

from .._transport.failure_record import FUNCTION, RESULT, capture_transport
from .._transport.packing import PLAIN
from .._transport.randomness import seed_anew, seeded
from .._transport.values import dumps, loads
from .function import ReceivedSpec
from .item import failure, load_argument

TYPE_CHECKING = False  # a worker starts faster without `typing`; type checkers assume True
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeAlias

    # The pickled function, the pickled context variables, and the rules of the call: whether the
    # first failure ends a chunk, whether functions may be results, and the seed.
    Spec: TypeAlias = tuple[bytes, list[bytes], bool, bool, int | None]

# In the place of the result of an item that was not run, because an item before it has failed.
SKIPPED: Final[tuple[()]] = ()
# How many calls a process keeps the loaded function of.
_MOST_KEPT: Final = 8

_kept: dict[bytes, ReceivedSpec] = {}
# The chunk of which an item has failed, so that later items of it are not run.
_stopped: list[bytes] = []
# Whether the last item of this process had a seed: a list that is empty or not.
_had_seed: list[bool] = []


def initialize(data: bytes) -> None:
    """Call the initializer of an inner worker, which came pickled with its arguments."""
    initializer, initargs = loads(data)
    initializer(*initargs)


class Relay:
    """The function that the inner worker is given: it runs one item of one chunk."""

    def __init__(self, chunk: bytes, key: bytes, spec: Spec, start: int, pickled: bool) -> None:
        """Load nothing yet.

        Args:
            chunk: what tells this chunk from all others.
            key: what tells the call from all others.
            spec: the function and the rules of the call.
            start: the index of the chunk's first item in the call.
            pickled: whether the items are pickles; else they are plain values.
        """
        self.given = chunk, key, spec, start, pickled
        self._call: Callable[[object], object] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return Relay, self.given

    def __call__(self, item: tuple[int, Any]) -> object:
        """Run one item, given as its offset in the chunk and its value; return a relayed entry."""
        chunk, key, spec, start, pickled = self.given
        if chunk in _stopped:
            return SKIPPED
        offset, value = item
        stop, by_value, seed = spec[2:]
        try:
            call = self._call
            if call is None:
                call = self._call = _loaded(key, spec)
        except BaseException as error:  # the import of a module may raise SystemExit, say
            return _failed(capture_transport(FUNCTION, error), chunk, stop)
        if _had_seed and seed is None:
            _had_seed.clear()
            seed_anew()  # this item must not draw what the seed of another call makes
        try:
            argument = load_argument([value] if value else []) if pickled else value
            if seed is None:
                result = call(argument)
            else:
                _had_seed[:] = [True]
                result = seeded(seed, start + offset, lambda: call(argument))
        except BaseException as error:
            return _failed(failure(error), chunk, stop)
        if type(result) in PLAIN:
            return result
        try:
            return 0, dumps(result, by_value)
        except BaseException as error:  # the pickling of `result` may raise anything
            return _failed(capture_transport(RESULT, error, result), chunk, stop)


def _failed(record: list[Any], chunk: bytes, stop: bool) -> tuple[object, ...]:
    if stop:
        _stopped[:] = [chunk]
    return tuple(record)


def _loaded(key: bytes, spec: Spec) -> Callable[[object], object]:
    """Return the function of a call as a function of one argument: the item."""
    received = _kept.pop(key, None)
    if received is None:
        function, variables, stop, by_value, seed = spec
        rules = stop, by_value, False, None, seed, True
        received = ReceivedSpec([function], (), (), variables, _NOWHERE, *rules)
        received.load()
        while len(_kept) >= _MOST_KEPT:
            _kept.pop(next(iter(_kept)), None)
    _kept[key] = received  # as the last one: the first is that which was used longest ago
    return received.load()


# The environment of a call is that of the inner worker's items: nothing is left to apply.
_NOWHERE: Final[Any] = None
