"""How the engine speaks with a checkpoint, which keeps the results of items in a file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

# The items `start` to `stop` - 1.
Range = tuple[int, int]


class Found(NamedTuple):
    """Kept outcomes of the items from `start` on.

    `values`: their results. `failures`: the errors of failed items, by their offset from `start`.
    `attempts`: how often these were tried, by the offset too.
    """

    start: int
    values: list[Any]
    failures: Mapping[int, Exception]
    attempts: Mapping[int, int]


class Sorted(NamedTuple):
    """Items of a call, by what is to be done with each of them.

    Attributes:
        found: the outcomes that the checkpoint has.
        run: the items that are to be run.
        held: the items that another call is computing: a later `Sorted` decides about them.
        decided: the items that were held until now.
    """

    found: Sequence[Found] = ()
    run: tuple[Range, ...] = ()
    held: tuple[int, ...] = ()
    decided: tuple[int, ...] = ()


class Keeping(Protocol):
    """One call whose results are kept."""

    def sort(self, items: Sequence[object]) -> Sorted:
        """Look up the next `items` of the call, and claim those that nobody computes.

        Raises:
            CheckpointError: the file cannot be read or written.
        """
        ...

    def hold(self, indices: Sequence[int]) -> None:
        """Begin to look for the outcomes of these items, which `sort` has called held.

        The engine calls this when the scheduler holds the items. A decision that came before that
        would be lost: the scheduler would hold the items for ever.
        """
        ...

    def add(
        self,
        start: int,
        values: Sequence[object],
        failures: Mapping[int, Exception],
        attempts: Callable[[int], int],
    ) -> None:
        """Keep outcomes of the items from `start` on; any thread may call this, in any lock.

        `failures`: as in `Found`. `attempts`: tells how often an item was tried.
        """
        ...

    def end(self, then: Callable[[Exception | None], object]) -> None:
        """Write what is not written yet, then call `then` once, with the error of writing if any.

        Another thread calls `then`. Claims of items that have no outcome are given up.
        """
        ...


class Keeper(Protocol):
    """Where the results of calls are kept."""

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
            identity: the function, and how an item becomes its call.
            seed: the seed of the items' random numbers: they depend on the index, too.
            decide: is called in another thread with decisions about items that were held.
            in_thread: whether items run in the thread that waits for results.

        Raises:
            CheckpointError: the file cannot be used, or the function cannot be told from others.
        """
        ...
