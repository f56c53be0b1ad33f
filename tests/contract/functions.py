"""The functions that the laws are tried with. Workers import this module, so it imports little."""

import os
import signal
import sys
import threading
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Never

from tests.acts import cancelled
from tests.bad_objects import Bare, TwoArguments
from tests.files import mark, marks, wait_for_file
from tests.items import square
from tests.limits import TIME_LIMIT, until
from tests.signals import KILL

from pmap import Pool, papply, pmap, pstarmap


def twice(value: object) -> tuple[object, object, str]:
    """Return something made of `value`."""
    return value, value, type(value).__name__


def pair(x: object, y: object, *more: object, **named: object) -> object:
    """Return the arguments."""
    return x, y, more, sorted(named.items())


def reverse(data: bytes) -> bytes:
    """Return `data`, reversed."""
    return data[::-1]


def fail_in(failing: frozenset[int], folder: str, x: int) -> int:
    """Note that `x` began; raise for some."""
    mark(folder, x)
    if x in failing:
        raise TwoArguments(x, "on purpose")
    return x * x


def die_at(folder: str, fatal: int, x: int) -> int:
    """Note that `x` began; at one of them the worker dies."""
    mark(folder, x)
    if x == fatal:
        os.kill(os.getpid(), KILL)
    return x * x


def wait_to_go(folder: str, x: int) -> int:
    """Note that `x` began, and wait until there is a file of its name."""
    mark(folder, x)
    wait_for_file(os.path.join(folder, str(x)))
    return x


def pid_and_wait(folder: str, free: int, x: int) -> int:
    """Note which process began `x`; those from `free` on wait to be killed."""
    mark(folder, f"{x}:{os.getpid()}")
    if x >= free:
        wait_for_file(os.path.join(folder, "never"))
    return x


def interrupt_at(fatal: int, x: int) -> int:
    """Have this very process interrupted, as by Ctrl-C, at one item."""
    if x == fatal:
        signal.raise_signal(signal.SIGINT)
    return x


def first_fails(folder: str, x: int) -> int:
    """Note that `x` began. Item 0 fails; no other ends before that.

    Where its worker has no processor just then, the failure is told late: each of the others takes
    a while, or two thousand of them would have run meanwhile.
    """
    mark(folder, x)
    if x == 0:
        Path(folder, "failing").touch()
        raise LookupError("the first")
    wait_for_file(os.path.join(folder, "failing"))
    time.sleep(0.005)
    return x


def one_waits_one_fails(folder: str, x: int) -> int:
    """Item 1 never ends by itself; item 0 fails once item 1 has begun."""
    mark(folder, x)
    if x == 0:
        until(lambda: "1" in marks(folder), "item 1 beginning")
        raise LookupError("the first")
    wait_for_file(os.path.join(folder, "go"))
    return x


def the_later_fails_first(folder: str, x: int) -> int:
    """Item 1 fails at once; item 0 fails when item 1 has."""
    mark(folder, x)
    if x == 1:
        Path(folder, "failed").touch()
        raise LookupError("the second")
    if x == 0:
        wait_for_file(os.path.join(folder, "failed"))
        raise ValueError("the first")
    return x


def first_fails_when_told(folder: str, x: int) -> int:
    """Item 0 fails once there is a file `go`; the others end at once."""
    mark(folder, x)
    if x == 0:
        wait_for_file(os.path.join(folder, "go"))
        raise LookupError("the first")
    return x


def control_flow(name: str) -> object:
    """Raise what must not reach the caller bare."""
    kinds: dict[str, type[BaseException]] = {
        "exit": SystemExit,
        "interrupt": KeyboardInterrupt,
        "generator": GeneratorExit,
        "stop": StopIteration,
        "bare": Bare,
    }
    if name == "cancelled":
        cancelled()
    if name in kinds:
        raise kinds[name]("now")
    return name


def zero_waits(folder: str, others: int, limit: float, x: int) -> int:
    """Item 0 ends when so many others have ended."""
    return one_waits(folder, 0, others, limit, x)


def one_waits(folder: str, slow: int, others: int, limit: float, x: int) -> int:
    """The item `slow` ends when so many others have ended."""
    if x == slow:
        until(lambda: len(marks(folder)) >= others, "the others' end", limit)
    mark(folder, x)
    return x


def answer_when_told(folder: str, x: int) -> int:
    """Wait for the file `go`."""
    mark(folder, x)
    wait_for_file(os.path.join(folder, "go"))
    return x * x


def three_then_wait(folder: str, x: int) -> int:
    """Items 0 to 2 end at once; the others wait."""
    return x if x < 3 else answer_when_told(folder, x)


def power(x: int, y: int) -> int:
    """Return x to the y."""
    return int(x**y)


variable: ContextVar[str] = ContextVar("variable", default="unset")


def surroundings(_: object = None) -> tuple[str, str | None, bool, str]:
    """Return what a function sees around it."""
    return (
        os.getcwd(),
        os.environ.get("PMAP_TEST"),
        "/nowhere/pmap" in sys.path,
        variable.get(),
    )


def nested(x: int) -> list[int]:
    """Use the verbs inside an item."""
    inner = pmap(square, range(x), chunksize=1)
    assert pstarmap(power, [(2, 3)]) == [8]
    assert papply.async_(square, 4).get(TIME_LIMIT) == 16
    return inner


def pool_inside(x: int) -> list[int]:
    """Use a Pool inside an item."""
    with Pool(2) as pool:
        return pool.map(square, range(x))


def wait_or_end(end: bool) -> None:
    """Wait to be killed, where that is possible."""
    if not end:
        time.sleep(2 * TIME_LIMIT)


def lock_for(_: object) -> threading.Lock:
    """Return what cannot be pickled."""
    return threading.Lock()


def raise_it(kind: type[BaseException], text: str) -> Never:
    """Raise a new exception of this kind."""
    raise kind(text)
