"""The outcome of a call with asynchronous input, which a task of the event loop collects."""

from typing import Any

from .._errors import CancelledError
from .._jobs.event_loops import cancel_task, in_running_loop, spawn
from .._jobs.pending import Pending
from .result_stream import ResultStream


class Collected(Pending):
    """The outcome of a call with asynchronous input: a list of all results.

    Only a task can read such input. So a task of the running event loop takes the results from a
    stream, and meanwhile the stream reads the input.
    """

    def __init__(self, stream: ResultStream[Any], name: str) -> None:
        """Start the task that reads the input.

        Raises:
            RuntimeError: no event loop of asyncio runs in this thread.
        """
        super().__init__()
        self._name = name
        self.values = []
        self._stream = stream
        try:
            self._task = spawn(self._collect)
        except RuntimeError:
            stream.drop()
            raise

    @property
    def name(self) -> str:
        return self._name

    async def _collect(self) -> None:
        try:
            try:
                async for value in self._stream:
                    self.values.append(value)
            finally:
                await self._stream.close_input()
        except Exception as error:
            self.error = self.error or error
        except BaseException:  # the event loop is ending, and so cancels its tasks
            self._cancel()
            raise
        self.settle()

    def wait(self, timeout: float | None = None) -> bool:
        if not self.over and in_running_loop(self._task):
            raise RuntimeError(
                f"{self.name} reads its input in the very event loop that `get` and `wait` would "
                "stop: use `await`"
            )
        return super().wait(timeout)

    def progress(self) -> tuple[int, int]:
        return len(self.values), self._stream.read

    def _cancel(self) -> None:
        self.error = self.error or CancelledError(f"{self.name} has no result: it was cancelled")
        self._stream.drop()
        self.settle()
        cancel_task(self._task)  # the task may be waiting for input, which nobody needs any more
