"""How a worker has ended."""


class WorkerEnd:
    """Will hold how a worker has ended; it is made before that, for code that asks for it."""

    exitcode: int | None = None  # the exit code of the worker's process; None before its end
