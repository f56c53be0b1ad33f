"""What the items do that tasks of an event loop wait for.

Workers import this, so it imports little.
"""

import asyncio
import os
from contextvars import ContextVar
from typing import Final

from tests.files import mark, wait_for_file

variable: Final[ContextVar[str]] = ContextVar("variable", default="unset")


def wait_to_go(folder: str, x: int) -> int:
    """Note that the item begins, wait for a file, note that it ends."""
    mark(folder, f"begin{x}")
    wait_for_file(f"{folder}/go")
    mark(folder, f"end{x}")
    return x


def first_goes(folder: str, x: int) -> int:
    """Wait, except for the first item."""
    return wait_to_go(folder, x) if x else 0


def invert(x: int) -> float:
    """Fail at 0."""
    return 1 / x


def exit_hard(code: int) -> None:
    """End the process."""
    os._exit(code)


def exit_at_2(x: int) -> int:
    """End the process at one item."""
    if x == 2:
        os._exit(3)
    return x


def large(_: int) -> bytes:
    """Return 64 MB."""
    return bytes(64 << 20)


def see(_: int) -> str:
    """Return what the context variable is."""
    return variable.get()


async def see_later(_: int) -> str:
    """Return what the context variable is; for `sync`, which runs it in a loop of asyncio."""
    await asyncio.sleep(0)
    return variable.get()
