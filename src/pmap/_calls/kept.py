"""The interface between the engine and a checkpoint, which keeps results of items in a file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

# A range of items: the index of the first one, and the index behind the last one.
Range = tuple[int, int]


class Found(NamedTuple):
    """The outcomes of some items in a row, the first at index `start`, from a checkpoint file.

    `values` has their results. `failures` has the errors of failed items, by their offset from
    `start`. `attempts` has how often each failed item was tried, by the same offset.
    """

    start: int
    values: list[Any]
    failures: Mapping[int, Exception]
    attempts: Mapping[int, int]


class Sorted(NamedTuple):
    """What the engine has to do with items of a call, as the call's checkpoint has found out.

    Attributes:
        found: the outcomes that the checkpoint file has.
        run: the items that have to run.
        held: the items that another process, or another call, is computing; a later `Sorted` object
            decides about them.
        decided: the items that were held until now, and about which this object decides.
    """

    found: Sequence[Found] = ()
    run: tuple[Range, ...] = ()
    held: tuple[int, ...] = ()
    decided: tuple[int, ...] = ()


class Keeping(Protocol):
    """Keeps the results of one call in a checkpoint file."""

    def sort(self, items: Sequence[object]) -> Sorted:
        """Look up the next items of the call in the file, and claim those that nobody computes yet.

        Raises:
            CheckpointError: the file cannot be read or written.
        """
        ...

    def hold(self, indices: Sequence[int]) -> None:
        """Begin to look for the outcomes of items that another call is computing (`Sorted.held`).

        The engine calls this method when the scheduler knows that these items wait. A decision that
        came earlier would be lost, and the items would wait for ever.
        """
        ...

    def add(
        self,
        start: int,
        values: Sequence[object],
        failures: Mapping[int, Exception],
        attempts: Callable[[int], int],
    ) -> None:
        """Keep the outcomes of some items in a row, the first one at index `start`.

        Any thread may call this method, whatever locks it holds.

        `failures` is as in `Found`. `attempts` tells how often an item was tried.
        """
        ...

    def end(self, then: Callable[[Exception | None], object]) -> None:
        """Write what is not written yet, then call `then` once, with the error of writing if any.

        Another thread calls `then`. Items that this call has claimed, and that have no outcome, can
        be claimed by other calls again.
        """
        ...


class Keeper(Protocol):
    """A place, such as a file, where the results of calls are kept."""

    def begin(
        self,
        verb: str,
        name: str,
        identity: tuple[object, ...],
        seed: int | None,
        decide: Callable[[Sorted], object],
        in_thread: bool,
    ) -> Keeping:
        """Begin to keep the results of a call.

        Args:
            verb: the name of the verb.
            name: a short name of the function.
            identity: values that identify the function of the call, and the way in which an item
                becomes a call of the function.
            seed: the seed of the items' random numbers. With a seed, the result of an item also
                depends on the index of the item.
            decide: a function for decisions about held items; another thread calls it.
            in_thread: whether items run in the very thread that waits for their results.

        Raises:
            CheckpointError: the file cannot be used, or the function cannot be distinguished from
                others.
        """
        ...
