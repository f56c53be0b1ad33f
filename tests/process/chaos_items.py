"""What the items of test_chaos do.

Thousands of workers import this module by its name, so it makes do without typing, too.
"""

import os
import time

KINDS = ("int", "float", "text", "mixed", "row", "big")
LONG = 60.0  # seconds: nobody waits for that
BIG = 300_000  # bytes: more than a journal or a socket takes at once


class Own(ValueError):
    """The function's own error."""


def value_of(kind: str, index: int) -> object:
    """Return what the item at `index` is to return: of each kind no two are equal."""
    if kind == "int":
        return index * 7 - 50
    if kind == "float":
        return index + 0.5
    if kind == "row":
        return index, "row"
    if kind == "big":
        return b"%8d" % index + bytes(BIG)
    return index if kind == "mixed" and index % 3 else f"<{index}>"


def do(path: str, kind: str, plan: dict[int, str], index: int) -> object:
    """Note in the file that the item began, and in which process; then do what the plan says."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{index} {os.getpid()}\n".encode())  # one write: no two can mix
    finally:
        os.close(fd)
    act = plan.get(index)
    if act == "raise":
        raise Own(index)
    if act == "raise once":
        try:
            os.close(os.open(f"{path}.{index}", os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass
        else:
            raise Own(index)
    if act == "exit":
        os._exit(3)
    if act == "pause":
        time.sleep(0.02)
    if act == "forever":
        time.sleep(LONG)
    return value_of(kind, index)


def do_row(path: str, kind: str, plan: dict[int, str], index: int, twice: int) -> object:
    """As `do`, for rows of two."""
    assert twice == 2 * index
    return do(path, kind, plan, index)
