"""The backends and start methods that tests go over; workers import this, so it imports little."""

import multiprocessing
import multiprocessing.pool
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pmap import Options
    from pmap._types import Backend, StartMethod

# Typeshed has neither of the two.
RemoteTraceback: Final[type[Exception]] = vars(multiprocessing.pool)["RemoteTraceback"]
MaybeEncodingError: Final[type[Exception]] = vars(multiprocessing.pool)["MaybeEncodingError"]
_ALL_METHODS: Final[tuple["StartMethod", ...]] = ("spawn", "forkserver", "fork")
# Those of this platform.
START_METHODS: Final[tuple["StartMethod", ...]] = tuple(
    method for method in _ALL_METHODS if method in multiprocessing.get_all_start_methods()
)


@dataclass(frozen=True)
class Settings:
    """A backend, and for processes a start method."""

    name: str
    backend: "Backend"
    start_method: "StartMethod | None" = None

    @property
    def processes(self) -> bool:
        """Whether items run in processes of their own."""
        return self.backend == "processes"

    def may_begin_late(self, size: int) -> int:
        """Return how many items of a call may begin after one of chunks of `size` has failed.

        Neither a thread nor an interpreter can be ended: the other one may just have called the
        function, which had not said so yet.
        """
        return 1 if self.name in ("threads", "interpreters") else 0

    def options(self, processes: int = 2, chunksize: int | None = None) -> "Options":
        """Return the options of a verb that runs on it."""
        return {
            "backend": self.backend,
            "start_method": self.start_method,
            "processes": processes,
            "chunksize": chunksize,
        }


BACKENDS: Final = (
    *(Settings(method, "processes", method) for method in START_METHODS),
    Settings("threads", "threads"),
    *((Settings("interpreters", "interpreters"),) if sys.version_info >= (3, 14) else ()),
    Settings("serial", "serial"),
)
