"""How a worker has ended."""


class WorkerEnd:
    """Gets the exit code of a worker when the worker ends; other code may hold it before that."""

    exitcode: int | None = None  # the exit code of the worker's process; None before its end
