"""No workers: items run one after the other, in the thread that leads.

For debugging, with real breakpoints and tracebacks, and for calls made inside an item.
"""

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from .._work import Brief, Work
from . import Finished, Gone, Happening, Ready
from ._live import run_chunk

__all__ = ["SerialBackend"]


class SerialBackend:
    """Runs each chunk within `poll`: the leading thread is its only worker."""

    can_kill = False
    runs_in_poll = True
    warm = False

    def __init__(
        self, initializer: Callable[..., object] | None, initargs: tuple[object, ...]
    ) -> None:
        self._initializer = initializer
        self._initargs = initargs
        self._chunks: SimpleQueue[tuple[int, Work, int, Sequence[object]] | None] = SimpleQueue()
        self._forgotten: set[int] = set()
        self._killed: set[int] = set()  # workers whose chunks are not run any more
        self._happened: list[Happening] = []
        self._holds = 0  # chunks sent and not finished

    def start(self, worker: int) -> None:
        if self._initializer is not None:
            try:
                self._initializer(*self._initargs)
            except Exception as error:
                reason = f"the initializer raised {type(error).__name__}: {error}"
                self._tell(Gone(worker, begun=0, reason=reason, cause=error))
                return
        self._tell(Ready(worker, yields=False))

    def send(self, worker: int, work: Work, start: int, stop: int, together: int) -> None:
        self._holds += 1
        self._chunks.put((worker, work, start, work.call.items[start:stop]))

    def void(self, worker: int, work: Work) -> None:
        if self._holds:
            self._forgotten.add(work.number)

    def drop(self, brief: Brief) -> None:
        raise NotImplementedError("nothing is packed here")

    def rest(self) -> None:
        pass  # nothing is kept

    def cool(self) -> None:
        pass

    def stop(self, worker: int) -> None:
        self._tell(Gone(worker, begun=0))

    def kill(self, worker: int) -> None:
        self._killed.add(worker)
        self._tell(Gone(worker, begun=0))

    def _tell(self, happening: Happening) -> None:
        self._happened.append(happening)
        self.wake()  # another thread may be in `poll`

    def abort(self, worker: int) -> None:
        raise NotImplementedError("nothing is looked at here, so nothing is found to be late")

    def look(self, worker: int, limit: float) -> tuple[float, bool] | None:
        return None  # the item runs in the thread that would end it

    def take_back(self, worker: int) -> tuple[int, int | None]:
        return self._holds, None  # there is nobody else

    def flush(self) -> None:
        pass  # commands take effect at once

    def poll(self, timeout: float | None) -> list[Happening]:
        try:
            chunk = self._chunks.get(timeout=0 if self._happened else timeout)
        except Empty:
            return []
        if chunk is None:
            return []
        worker, work, start, items = chunk
        self._holds -= 1
        if worker in self._killed:
            return []
        if work.number in self._forgotten:
            return [Finished(worker, work, start, [], {}, True, 0.0)]
        try:
            return [
                run_chunk(worker, work, start, items, lambda: work.number not in self._forgotten)
            ]
        except BaseException:  # Ctrl-C: how far the chunk got is not known, so none of it is rerun
            self._killed.add(worker)
            self._tell(Gone(worker, begun=len(items)))
            raise

    def collect(self, polled: list[Happening]) -> list[Happening]:
        happened, self._happened = self._happened + polled, []
        if not self._holds:
            self._forgotten.clear()
        return happened

    def wake(self) -> None:
        self._chunks.put(None)

    @property
    def is_open(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def end(self) -> None:
        self._chunks = SimpleQueue()
        self._happened.clear()
        self._holds = 0

    def abandon(self) -> None:
        pass
