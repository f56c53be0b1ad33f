"""What a page shows of rich's bars; draws nothing, and refuses what rich would refuse."""

from types import TracebackType
from typing import Self


class Progress:
    """Bars, each a task."""

    def __init__(self) -> None:
        self._tasks: list[tuple[float, float | None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        done, total = self._tasks[0]
        assert done == total, "the bar stands still"

    def add_task(self, description: str, *, total: float | None = 100.0) -> int:
        """Return the number of a new task."""
        assert description
        self._tasks.append((0, total))
        return len(self._tasks) - 1

    def update(
        self, task_id: int, *, total: float | None = None, completed: float | None = None
    ) -> None:
        """Take in how far a task is."""
        before, expected = self._tasks[task_id]
        done = before if completed is None else completed
        self._tasks[task_id] = done, expected if total is None else total
