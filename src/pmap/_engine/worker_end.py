"""How a worker has ended."""


class WorkerEnd:
    """Holds the exit code of one worker, once that worker has ended."""

    exitcode: int | None = None  # the exit code of the worker's process; None before its end
