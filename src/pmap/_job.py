"""One submitted call: what has come of it so far, and who waits for the rest."""

from collections.abc import Callable, Mapping
from typing import Any

from ._outcome import Failure
from ._pending import Pending
from ._record import format_traceback
from ._work import Work

__all__ = ["Job"]


class Job(Pending):
    """The results of one call, filled by the driver, read by the caller."""

    # Whether nobody waits for more of it at present, so that nobody need work on it either.
    resting = False

    def __init__(
        self, work: Work, cancel: Callable[["Job"], None], in_books: Callable[[], bool]
    ) -> None:
        """Begin with no results.

        Args:
            work: the call.
            cancel: what asks for the end of it.
            in_books: whether the present thread is inside the books of the pool.
        """
        super().__init__(f"{work.call.verb}({work.function_name})", len(work.call.items))
        self.work = work
        # Any: what they are is known to the caller's types only.
        self.values: list[Any] = [None] * self.total
        self.failures: dict[int, Exception] = {}
        self.tried: dict[int, int] = {}  # items that are tried again, by how often they failed
        self._cancel_me = cancel
        self._in_books = in_books

    def fill(self, start: int, values: list[object], failures: Mapping[int, Exception]) -> None:
        """Take in the results of the items from `start` on; `failures` is by offset."""
        self.values[start : start + len(values)] = values
        for offset, error in failures.items():
            self.failures[start + offset] = error
        self._finished(len(values))

    def lose(self, index: int, error: Exception) -> None:
        """Take in that an item has no result because of its worker."""
        self.failures[index] = error
        self._finished(1)

    def _cancel(self) -> None:
        self._cancel_me(self)

    def needs_this_thread(self) -> bool:
        return self._in_books()

    def _round_off(self) -> None:
        if self.work.call.collect and self.error is None:
            for index, error in self.failures.items():
                self.values[index] = self.failure(index, error)
            self.failures.clear()

    def failure(self, index: int, error: Exception) -> Failure:
        """Return `error` as the value that stands where an item failed."""
        item = self.work.item(index)
        remote: object = getattr(error.__cause__, "tb", None)  # multiprocessing's RemoteTraceback
        text = remote if isinstance(remote, str) else ""
        if not text and error.__traceback__ is not None:
            text = format_traceback(error)
        text = text.strip().strip('"').strip()
        return Failure(error, index, item.function, item.input, text, self.tried.get(index, 0) + 1)
