"""What the items of calls with a checkpoint do; workers import this, so it imports little."""

from tests.files import mark


def noted(folder: str, x: int) -> int:
    """Note that an item runs."""
    mark(folder, x)
    return x * x


def fail_at_three(folder: str, x: int) -> int:
    """Note that an item runs; one of them fails."""
    mark(folder, x)
    if x == 3:
        raise LookupError("three")
    return x


def large(x: int) -> bytes:
    """Return what takes room in the file."""
    return bytes([x]) * 50_000
