"""One call whose results a checkpoint keeps: which items are finished, and which it runs itself.

An item that the call is to run is marked in the file first, as claimed by this call. So another
call with the same file does not run the item as well.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import get_ident

from .._calls.describe import short_repr
from .._calls.kept import Found, Range, Sorted
from .._jobs.item_errors import Item
from .._transport.process_role import inside_item
from .keys import Keys
from .outcomes import loaded_error, loaded_result, packed_error, packed_result
from .session import Outcome, Session
from .store import CLAIMED, DONE, FAILED, Row


class CallKeeping:
    """Decides for each item of a call whether it has a result in the file, has to run, or waits."""

    def __init__(
        self,
        session: Session,
        keys: Keys,
        verb: str,
        name: str,
        decide: Callable[[Sorted], object],
        *,
        again: bool,
        in_thread: bool,
    ) -> None:
        """Register the call in the checkpoint file.

        Args:
            session: the session that uses the file.
            keys: makes the keys by which the file knows items.
            verb: the name of the verb.
            name: a short name of the function.
            decide: called with what is decided about items that had to wait for another call.
            again: whether items that failed in an earlier call run again.
            in_thread: whether items run in the thread that waits for results.
        """
        self._session = session
        self._keys = keys
        self._name = name
        self._decide = decide
        self._again = again
        self._in_thread = in_thread
        self._thread = get_ident()  # the identifier of the thread that called `sort` last
        self._read = 0  # how many items of the call have been looked up in the file
        # The items that this call has claimed and that have no outcome yet: for the index of each
        # item, the key of the item in the file.
        self._claimed: dict[int, bytes] = {}
        # The items that another call is computing: for the key of each item, the index of the item
        # in this call and a text of its input.
        self._held: dict[bytes, tuple[int, str]] = {}
        # The items that wait for another call, until the scheduler is told that they wait: for the
        # index of each item, its key and a text of its input.
        self._to_hold: dict[int, tuple[bytes, str]] = {}
        self.ended: bool = False
        self.has_items: bool = False
        self.number: int = session.add_call(self, verb, name, keys.function)

    def sort(self, items: Sequence[object]) -> Sorted:
        start = self._read
        self._read += len(items)
        self._thread = get_ident()
        keys = [self._keys.of(start + offset, item) for offset, item in enumerate(items)]
        places = {key: start + offset for offset, key in enumerate(keys) if key is not None}
        known = self._session.claim(self, places, again=self._again)
        self.has_items = True
        run: list[int] = []
        held: list[int] = []
        found: dict[int, object] = {}
        for offset, key in enumerate(keys):
            index = start + offset
            row = None if key is None else known.get(key)
            if key is None:
                # The input of this item cannot be pickled, so the item has no key: it runs, and its
                # result is not kept.
                run.append(index)
            elif row is None:
                self._take(index, key)
                run.append(index)
            elif row.state == CLAIMED:
                if self._session.threads.get(key) == get_ident() or inside_item():
                    # Either an earlier call of this very thread has claimed the item, and runs it
                    # only while this thread waits for that call. Or an item makes this call, and
                    # the claim may be that of the call to which this item belongs, whose worker
                    # runs nothing else until this item ends. This call would wait for ever in both
                    # cases, so it runs the item itself.
                    run.append(index)
                else:
                    self._to_hold[index] = key, short_repr(items[offset])
                    held.append(index)
            elif not self._load(found, index, row, short_repr(items[offset])):
                self._take(index, key)
                run.append(index)
        return Sorted(_joined(found), _ranges(run), tuple(held))

    def hold(self, indices: Sequence[int]) -> None:
        for index in indices:
            key, text = self._to_hold.pop(index)
            self._held[key] = index, text
        self._session.look_soon()

    def _take(self, index: int, key: bytes) -> None:
        self._claimed[index] = key
        if self._in_thread:
            # The thread that made the call is recorded, and not the thread that runs this code:
            # items that had to wait are claimed by the thread of the session.
            self._session.threads[key] = self._thread

    def _load(self, found: dict[int, object], index: int, row: Row, text: str) -> bool:
        """Load an outcome from the file into `found`; return whether that has succeeded."""
        assert row.value is not None
        try:
            if row.state == DONE:
                found[index] = loaded_result(row.value)
            else:
                found[index] = _Failed(*loaded_error(row.value, Item(self._name, index, text)))
        except Exception as error:
            # Loading the result may fail, for example because the result's class is gone.
            self._session.warn(
                f"the result of item {index} in the checkpoint cannot be loaded, so the item runs "
                f"again: {error!r}"
            )
            return False
        return True

    def add(
        self,
        start: int,
        values: Sequence[object],
        failures: Mapping[int, Exception],
        attempts: Callable[[int], int],
    ) -> None:
        for offset, value in enumerate(values):
            index = start + offset
            key = self._claimed.get(index)
            if key is None:
                continue
            # The outcome is pickled at once, because the program may change the result as soon as
            # the program has got it.
            error = failures.get(offset)
            if error is not None:
                state, data = FAILED, packed_error(error, attempts(index))
            else:
                packed = packed_result(value)
                if packed is None:
                    self._session.warn(
                        f"the result of item {index} cannot be pickled, so the checkpoint does not "
                        "keep it"
                    )
                    continue
                state, data = DONE, packed
            del self._claimed[index]
            self._session.threads.pop(key, None)
            self._session.put(Outcome(self, key, index, state, data))

    def end(self, then: Callable[[Exception | None], object]) -> None:
        # The thread that made this call runs no more items of it. So a later call of that thread
        # may wait until this call has given up its claims, and need not run the claimed items
        # itself.
        for key in [*self._claimed.values()]:
            self._session.threads.pop(key, None)
        self._session.end_call(self, then)

    # --- for the thread that writes the file ------------------------------------------------------

    @property
    def holds(self) -> bool:
        """Whether any item waits for another call, which is computing the item."""
        return bool(self._held)

    def claims_left(self) -> list[tuple[bytes, int]]:
        """End the call; return (key, owner) for each of its claims on items without an outcome."""
        self.ended = True
        self._held.clear()
        left = [(key, self._session.owner) for key in self._claimed.values()]
        for key, _ in left:
            self._session.threads.pop(key, None)
        return left

    def look_at_held(self) -> None:
        """Decide about waiting items that have an outcome now, or that nobody computes any more."""
        held = self._held.copy()
        places = {key: index for key, (index, _) in held.items()}
        known = self._session.claim(self, places, again=False)
        run: list[int] = []
        found: dict[int, object] = {}
        decided: list[int] = []
        for key, (index, text) in held.items():
            row = known.get(key)
            if row is not None and row.state == CLAIMED:
                continue
            del self._held[key]
            decided.append(index)
            if row is None or not self._load(found, index, row, text):
                self._take(index, key)
                run.append(index)
        if decided:
            self._decide(Sorted(_joined(found), _ranges(run), (), tuple(decided)))


class _Failed:
    """Stands for the failure of an item that was found in the file."""

    def __init__(self, error: Exception, attempts: int) -> None:
        self.error = error
        self.attempts = attempts


def _ranges(indices: Sequence[int]) -> tuple[Range, ...]:
    """Return indices in rising order as ranges.

    >>> _ranges([0, 1, 2, 5, 7, 8])
    ((0, 3), (5, 6), (7, 9))
    """
    ranges: list[Range] = []
    for index in indices:
        if ranges and ranges[-1][1] == index:
            ranges[-1] = ranges[-1][0], index + 1
        else:
            ranges.append((index, index + 1))
    return tuple(ranges)


def _joined(found: Mapping[int, object]) -> tuple[Found, ...]:
    """Return outcomes, ordered by index; the outcomes of neighbouring items become one object."""
    joined: list[Found] = []
    for start, stop in _ranges([*found]):
        outcomes = [found[index] for index in range(start, stop)]
        failed = {at: one for at, one in enumerate(outcomes) if isinstance(one, _Failed)}
        joined.append(
            Found(
                start,
                [None if isinstance(one, _Failed) else one for one in outcomes],
                {at: one.error for at, one in failed.items()},
                {at: one.attempts for at, one in failed.items()},
            )
        )
    return tuple(joined)
