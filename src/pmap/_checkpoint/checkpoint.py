"""The class `Checkpoint`: a file that keeps results of calls, so that later calls find them."""

import os
from collections.abc import Callable
from typing import Any, ClassVar, Final

from .._calls.describe import short_repr
from .._calls.failure import Failure
from .._calls.kept import Keeping, Sorted
from .._errors import CheckpointError
from .._jobs.item_errors import Item
from .keeping import CallKeeping
from .keys import Keys, NoKeyError
from .outcomes import UNKNOWN, loaded_error, loaded_result
from .session import enter, entered
from .store import DONE, FAILED, Store


def _check(path: object, retry_failures: object) -> None:
    if not isinstance(path, str | os.PathLike) or isinstance(path, type):
        raise TypeError(f"path is the path of a file, got {short_repr(path)}")
    if not isinstance(retry_failures, bool):
        raise TypeError(f"retry_failures is True or False, got {short_repr(retry_failures)}")


class Checkpoint:
    """A file that keeps results of items, for the option `checkpoint`; a program can also read it.

    >>> import os, tempfile
    >>> from pmap import Checkpoint, pmap
    >>> path = os.path.join(tempfile.mkdtemp(), "run.sqlite")
    >>> pmap(abs, [-1, 2, -3], checkpoint=path)
    [1, 2, 3]
    >>> kept = Checkpoint(path)
    >>> kept.done, kept.failed, kept.results()
    (3, 0, {0: 1, 1: 2, 2: 3})

    Each method and attribute reads the file again, even while a call writes to it.

    Loading a result can run any code, as with any pickle: read only files that you trust.
    """

    __pmap_checkpoint__: ClassVar[bool] = True

    def __init__(self, path: str | os.PathLike[str], *, retry_failures: bool = False) -> None:
        """Make the object; the file is neither read nor written.

        Args:
            path: the path of the file, which need not exist.
            retry_failures: whether a call runs the items again that have failed. If False, the
                failures count as results: the call raises or returns the failures, and does not run
                the items.

        Raises:
            TypeError: `path` is no path, or `retry_failures` is no bool.
        """
        _check(path, retry_failures)
        self.path: Final[str] = os.path.abspath(path)
        self.retry_failures: Final[bool] = retry_failures

    @property
    def done(self) -> int:
        """The number of results in the file, of all calls together; 0 if there is no file."""
        return self._count(DONE)

    @property
    def failed(self) -> int:
        """The number of failures in the file, of all calls together; 0 if there is no file."""
        return self._count(FAILED)

    def _count(self, state: int) -> int:
        if not os.path.exists(self.path):
            return 0
        store = Store(self.path)
        try:
            return store.count(state)
        finally:
            store.close()

    def results(self) -> dict[int, Any]:
        """Return the results that the last call has so far, by the index of the item.

        The last call is the call that began last. Its results include those that it has found in
        the file. ``pickle`` loads the results, so their classes must be importable.

        Raises:
            CheckpointError: there is no such file, it is no checkpoint, or it cannot be read.
            Exception: what the loading of a result raises.
        """
        _, rows = self._of_last_call(DONE)
        return {index: loaded_result(data) for index, data in rows}

    def failures(self) -> dict[int, Failure]:
        """Return the failures that the last call has so far, by the index of the item.

        The text of the input is not kept, so `Failure.input` is "...".

        Raises:
            CheckpointError: there is no such file, it is no checkpoint, or it cannot be read.
        """
        name, rows = self._of_last_call(FAILED)
        found: dict[int, Failure] = {}
        for index, data in rows:
            error, attempts = loaded_error(data, Item(name, index, UNKNOWN))
            found[index] = Failure.of(error, index, name, UNKNOWN, attempts, None)
        return found

    def _of_last_call(self, state: int) -> tuple[str, list[tuple[int, bytes]]]:
        store = Store(self.path, must_exist=True)
        try:
            last = store.last_call()
            if last is None:
                return "", []
            number, _, name = last
            return name, store.of_call(number, state)
        finally:
            store.close()

    def __fspath__(self) -> str:
        """Return the path of the file."""
        return self.path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Checkpoint):
            return NotImplemented
        return (self.path, self.retry_failures) == (other.path, other.retry_failures)

    def __hash__(self) -> int:
        return hash((self.path, self.retry_failures))

    def __repr__(self) -> str:
        retry = ", retry_failures=True" if self.retry_failures else ""
        return f"Checkpoint({self.path!r}{retry})"

    def begin(
        self,
        verb: str,
        name: str,
        identity: tuple[object, ...],
        seed: int | None,
        decide: Callable[[Sorted], object],
        in_thread: bool,
    ) -> Keeping:
        """Begin to keep the results of a call; only pmap itself calls this method."""
        try:
            keys = Keys(identity, seed)
        except NoKeyError as error:
            raise CheckpointError(
                self.path,
                f"cannot keep results of {name}: the function cannot be told from others, since "
                f"it cannot be pickled: {error}",
            ) from error
        session = enter(self.path)
        try:
            return CallKeeping(
                session,
                keys,
                verb,
                name,
                decide,
                again=self.retry_failures,
                in_thread=in_thread,
            )
        finally:
            entered(session)
