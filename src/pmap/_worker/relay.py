"""Runs items that came through an engine, such as a Dask cluster or another executor.

The caller sends a chunk of items to the engine, and gets their results back from it. On one of the
engine's nodes, pmap gives the items to a worker process of its own, the inner worker. There each
item is one call of a `Relay`, which loads the function and the argument. So the engine's own
process on the node never loads an object of the user's.

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

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, TypeAlias

    # The pickled function, the pickled context variables, and the rules of the call: whether the
    # first failure ends a chunk, whether functions may be results, and the seed.
    Spec: TypeAlias = tuple[bytes, list[bytes], bool, bool, int | None]

# Returned for an item that was not run, because an item before it has failed.
SKIPPED: Final[tuple[()]] = ()
# A process keeps the loaded functions of this many calls, for the next items of these calls.
_MOST_KEPT: Final = 8

_kept: dict[bytes, ReceivedSpec] = {}
# A list with the chunk in which an item has failed, and whose later items are not run; or an empty
# list.
_stopped: list[bytes] = []
# Whether the last item of this process had a seed: the list is empty if not.
_had_seed: list[bool] = []


def initialize(data: bytes) -> None:
    """Call an inner worker's initializer; the pickle `data` has it and its arguments."""
    initializer, initargs = loads(data)
    initializer(*initargs)


class Relay:
    """Runs items of a chunk in an inner worker, which calls the `Relay` with one item at a time."""

    def __init__(self, chunk: bytes, key: bytes, spec: Spec, start: int, pickled: bool) -> None:
        """Keep what the items need; the function is not loaded yet.

        Args:
            chunk: bytes that identify this chunk among all others.
            key: bytes that identify the call among all others.
            spec: the function and the rules of the call.
            start: the index of the chunk's first item in the call.
            pickled: whether the items are pickles; else they are plain values.
        """
        self.given = chunk, key, spec, start, pickled
        self._call: Callable[[object], object] | None = None
        self._unloaded: list[Any] = []  # the failure record of a function that cannot be loaded

    def __reduce__(self) -> tuple[object, ...]:
        return _arrived, self.given

    def load(self) -> None:
        """Load the function of the call."""
        try:
            self._call = _loaded(self.given[1], self.given[2])
        except BaseException as error:
            # Loading a function imports modules, which may raise anything, even SystemExit.
            self._unloaded = capture_transport(FUNCTION, error)

    def __call__(self, item: tuple[int, Any]) -> object:
        """Run one item; `item` is a pair of the item's offset in the chunk and its value.

        Return the result as a relayed entry: see the top of this module.
        """
        chunk, _, spec, start, pickled = self.given
        if chunk in _stopped:
            return SKIPPED
        offset, value = item
        stop, by_value, seed = spec[2:]
        if self._call is None:
            self.load()
        call = self._call
        if call is None:
            return _failed(self._unloaded, chunk, stop)
        if _had_seed and seed is None:
            _had_seed.clear()
            # The seed of an earlier item must not decide the random numbers of this one.
            seed_anew()
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
        except BaseException as error:
            # Pickling a result runs the user's code, which may raise anything.
            return _failed(capture_transport(RESULT, error, result), chunk, stop)


def _arrived(*given: Any) -> Relay:
    """Return the `Relay` that has come with a chunk, after its function was loaded.

    The function is loaded here, before the first item begins: so the time to import modules for the
    function does not count as time of an item.
    """
    relay = Relay(*given)
    relay.load()
    return relay


def _failed(record: list[Any], chunk: bytes, stop: bool) -> tuple[object, ...]:
    if stop:
        _stopped[:] = [chunk]
    return tuple(record)


def _loaded(key: bytes, spec: Spec) -> Callable[[object], object]:
    """Return the user's function of a call, as a function of one argument: the item."""
    received = _kept.pop(key, None)
    if received is None:
        function, variables, stop, by_value, seed = spec
        rules = stop, by_value, False, None, seed, True
        received = ReceivedSpec([function], (), (), variables, _NOWHERE, *rules)
        received.load()
        while len(_kept) >= _MOST_KEPT:
            _kept.pop(next(iter(_kept)), None)
    # Put the function at the end of the dict, so that the first one in it is the one used longest
    # ago.
    _kept[key] = received
    return received.load()


# Takes the place of a call's environment where none is needed: the inner worker has applied it.
_NOWHERE: Final[Any] = None
