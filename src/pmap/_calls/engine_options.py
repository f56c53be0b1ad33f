"""Checks of the options of a call that runs on an engine: an executor, a cluster or the like.

This module is imported only when an option asks for an engine.
"""

import sys
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, TypeGuard

from .._errors import OptionError
from .._types import AppliesAsync, Engine, GivenPool

_ALLOWED: Final = (
    "backend is 'processes', 'threads', 'interpreters', 'serial', or an engine: an object with "
    "submit(f, *args) that returns a concurrent.futures.Future, or one with apply_async"
)

# The options that only worker processes of pmap can obey. If the items run in the processes of an
# engine, such as an executor that the user has given, these options are an error.
OF_INNER_WORKERS: Final = (
    *("initializer", "initargs", "max_tasks_per_child", "max_memory_per_child"),
    *("kill_over_memory", "isolate", "threads_per_worker", "start_method", "timeout"),
)

# The options that are only for engines.
_OF_ENGINES: Final = ("inner_worker", "ship")
# Beginnings of the names of modules whose executors and pools run their tasks on this machine.
_ON_THIS_MACHINE: Final = ("concurrent.futures.", "multiprocessing.", "pmap.")


def submits(engine: object) -> TypeGuard[Engine]:
    """Return whether `engine` has the method `submit` of a ``concurrent.futures.Executor``."""
    return callable(getattr(engine, "submit", None))


def applies_async(engine: object) -> TypeGuard[AppliesAsync]:
    """Return whether `engine` has the method `apply_async` of a ``multiprocessing.pool.Pool``."""
    return callable(getattr(engine, "apply_async", None))


def checked_engine(
    name: str, value: object, word: Callable[[str, object], object]
) -> Engine | AppliesAsync | object:
    """Return `value` if it is an engine; a word such as "threads" is left to the function `word`.

    Raises:
        OptionError: `value` is no engine.
    """
    if value is None or isinstance(value, str | int):
        return word(name, value)
    if isinstance(value, type):
        raise OptionError(name, value, f"{_ALLOWED}; this is the class: make an object of it")
    if isinstance(value, GivenPool):
        raise OptionError(name, value, "a pmap.Pool is given as pool=, not as the backend")
    if submits(value) or applies_async(value):
        return value
    raise OptionError(name, value, _ALLOWED)


# The classes of the standard library that run their tasks on this machine, each with its module.
_HERE: Final = (
    ("concurrent.futures.thread", "ThreadPoolExecutor"),
    ("concurrent.futures.process", "ProcessPoolExecutor"),
    ("multiprocessing.pool", "Pool"),
)


def kills(engine: object, inner_worker: bool | None) -> bool:
    """Return whether running chunks can be ended, so that a call can wait until they have ended.

    Either the engine has a method that ends its tasks (see `Engine`), or the tasks run on this
    machine. Then pmap can tell each task to end its inner worker.
    """
    if callable(getattr(engine, "kill", None)):
        return True
    if inner_worker is False or runs_live(engine, inner_worker):
        return False
    # If the program has not imported one of these modules, its engine is not of a class there.
    classes = [getattr(sys.modules.get(module), name, None) for module, name in _HERE]
    return isinstance(engine, tuple(one for one in classes if one is not None))


def runs_live(engine: object, inner_worker: bool | None) -> bool:
    """Return whether the engine runs items in threads of this process, so that none is pickled.

    That is certain only if the type of the engine is `ThreadPoolExecutor`: a subclass may run its
    tasks elsewhere.
    """
    if inner_worker is True:
        return False
    # If the program has not imported this module, its engine is not a `ThreadPoolExecutor`.
    module = sys.modules.get("concurrent.futures.thread")
    return type(engine) is getattr(module, "ThreadPoolExecutor", None)


def slots_of(engine: object, processes: int | None, live: bool) -> int:
    """Return how many chunks an engine gets at a time.

    If the program does not say how many, there are half as many chunks again as the engine has
    workers: then a worker that has finished a chunk need not wait for the next one.

    Args:
        engine: the engine.
        processes: the value of the option ``processes``.
        live: whether the items run in threads of this process; then no chunk has to be sent before
            a worker needs it.

    Raises:
        OptionError: the program does not say how many workers the engine has.
    """
    if processes is not None:
        return processes
    ask: object = getattr(engine, "slots", None)
    count: object = ask() if callable(ask) else None
    for name in ("_max_workers", "max_workers", "_processes"):
        count = getattr(engine, name, None) if count is None else count
    if isinstance(count, int) and count >= 1:
        return count if live else count + (count + 1) // 2
    raise OptionError(
        "processes",
        None,
        f"how many tasks {_named(engine)} runs at a time is not known: give processes=, or give "
        "the engine a method slots()",
    )


def check(
    options: Mapping[str, object], usual: Mapping[str, object], given: AbstractSet[str]
) -> None:
    """Raise `OptionError` for the first option that the engine of a call cannot obey.

    Args:
        options: the values of all options.
        usual: the default values of all options.
        given: the names of the options that were set.
    """
    engine, inner = options["backend"], options["inner_worker"]
    if isinstance(engine, str):
        for name in _OF_ENGINES:
            if options[name] != usual[name]:
                why = f"it is for a backend that is an engine, and backend={engine!r} is none"
                raise OptionError(name, options[name], why)
        return
    if options["ship"] and f"{type(engine).__module__}.".startswith(_ON_THIS_MACHINE):
        why = f"{_named(engine)} runs its tasks on this machine, which has the packages"
        raise OptionError("ship", options["ship"], f"{why}: leave it out")
    if options["main"] != "value":
        raise OptionError(
            "main",
            options["main"],
            f"the workers of {_named(engine)} get what a call uses by value: leave it out, or use "
            "backend='processes'",
        )
    if (
        options["kill_on_cancel"]
        and "kill_on_cancel" in given
        and not kills(engine, _as_given(inner))
    ):
        raise OptionError(
            "kill_on_cancel",
            True,
            f"{_named(engine)} has no method kill(future), so pmap cannot wait until what runs "
            "has ended: leave the option out, or give the engine this method",
        )
    if runs_live(engine, _as_given(inner)):
        why = f"the items run in the threads of {_named(engine)}, which cannot be ended"
    elif inner is False:
        why = f"with inner_worker=False the items run in the workers of {_named(engine)}"
    else:
        return
    for name in OF_INNER_WORKERS:
        if options[name] != usual[name]:
            raise OptionError(
                name, options[name], f"{why}: use inner_worker=True, or backend='processes'"
            )


def _as_given(inner: object) -> bool | None:
    return inner if isinstance(inner, bool) else None


def _named(engine: object) -> str:
    return f"the engine ({type(engine).__name__})"
