"""The options: their names, types, defaults and checks, each in one place.

To add an option, add a field to `WorkerOptions` (who runs) or `CallOptions` (how this call runs),
its check below them, and a line to `Options`, which types ``**options``; a test holds that they
agree. No dataclasses: their module takes as long to import as half of pmap.
"""

import os
from collections.abc import Callable, Iterable, KeysView, Mapping
from operator import index
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    NamedTuple,
    SupportsFloat,
    SupportsIndex,
    TypeAlias,
    get_args,
)

from .._errors import OptionError, TaskTimeout, WorkerLost
from .._types import Backend, GivenPool, Progress, Show, StartMethod, is_iterable

if TYPE_CHECKING:
    # typing's own TypedDict knows closed= only from Python 3.15 on.
    from typing_extensions import TypedDict
else:
    from typing import TypedDict

_INFINITE: Final = float("inf")  # to import math would take longer than the checks
# From (name, value) to the value as it is kept; raises OptionError.
Check: TypeAlias = Callable[[str, object], object]

BACKENDS: Final[tuple[Backend, ...]] = get_args(Backend)
# Not multiprocessing.get_all_start_methods: the import would cost more than pmap itself.
START_METHODS: Final[tuple[StartMethod, ...]] = (
    get_args(StartMethod) if hasattr(os, "fork") else ("spawn",)
)


def whole(value: object) -> int | None:
    """Return `value` as an int, or None if it is none.

    A bool is an int, and ``processes=True`` is a mistake; numpy's integers are fine.
    """
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        try:
            return index(value)
        except Exception:  # a class, an array of several numbers, or it refuses
            return None
    return None


def _count(meaning_of_none: str) -> Check:
    """Return the check of an option that counts something: an int >= 1, or None."""

    def check(name: str, value: object) -> int | None:
        if value is None:
            return None
        number = whole(value)
        if number is not None and number >= 1:
            return number
        raise OptionError(name, value, f"{name} is an int >= 1, or None: {meaning_of_none}")

    return check


def _one_of(words: tuple[str, ...], meaning_of_none: str = "") -> Check:
    """Return the check of an option that is one of a few words; None only if that has a meaning."""

    def check(name: str, value: object) -> object:
        if (value is None and meaning_of_none) or (isinstance(value, str) and value in words):
            return value
        allowed = f"{name} is one of {', '.join(map(repr, words))}"
        if meaning_of_none:
            allowed += f", or None: {meaning_of_none}"
        raise OptionError(name, value, allowed + _meant(value, words))

    return check


def _meant(value: object, words: tuple[str, ...]) -> str:
    from .option_names import backend_called  # only a mistake needs it

    called = backend_called(value) if words == BACKENDS else None
    return f"; did you mean {called!r}?" if called else ""


def seconds_of(value: object) -> float | None:
    """Return `value` as a number of seconds, or None if it is none."""
    if isinstance(value, bool) or not isinstance(value, SupportsFloat):
        return None
    try:
        return float(value)
    except Exception:  # a class, an array of several numbers, or it refuses
        return None


def _timeout(name: str, value: object) -> float | None:
    # No comparison below holds for a NaN, nor in `_retries`.
    seconds = seconds_of(value)
    if value is None or (seconds is not None and seconds > 0):
        return None if seconds == _INFINITE else seconds
    raise OptionError(
        name, value, f"{name} is a number of seconds > 0, or None: an item may run for ever"
    )


def _retries(name: str, value: object) -> int | tuple[float, ...]:
    number = whole(value)
    if number is not None and number >= 0:
        return number
    if is_iterable(value) and not isinstance(value, str | bytes):
        given = [seconds_of(delay) for delay in value]
        delays = tuple([delay for delay in given if delay is not None and 0 <= delay < _INFINITE])
        if len(delays) == len(given):
            return delays
    raise OptionError(
        name,
        value,
        f"{name} is how often a failed item is tried again, an int >= 0, or the seconds to wait "
        "before each further try, as (0.1, 1.0)",
    )


def _retry_on(name: str, value: object) -> tuple[type[Exception], ...] | None:
    if value is None:
        return None
    given = tuple(value) if is_iterable(value) and not isinstance(value, type) else (value,)
    kinds = tuple([k for k in given if isinstance(k, type) and issubclass(k, Exception)])
    if len(kinds) == len(given):
        return kinds
    raise OptionError(
        name,
        value,
        f"{name} is a class of exceptions, a tuple of such classes, or None: lost workers and "
        "items that took too long",
    )


def _seed(name: str, value: object) -> int | None:
    if value is None:
        return None
    number = whole(value)
    if number is not None and number >= 0:
        return number
    raise OptionError(
        name, value, f"{name} is an int >= 0, or None: random numbers differ from run to run"
    )


def _yes_or_no(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise OptionError(name, value, f"{name} is True or False")


def _progress(name: str, value: object) -> object:
    if value is False:
        return value
    from .progress_check import checked_progress  # only who asks for it needs it

    return checked_progress(name, value)


def _initializer(name: str, value: object) -> object:
    if value is None or callable(value):
        return value
    raise OptionError(name, value, f"{name} is a function, or None: a worker starts without one")


def _initargs(name: str, value: object) -> tuple[object, ...]:
    # A string is iterable too, but initargs=("text") is a tuple that lost its comma.
    if is_iterable(value) and not isinstance(value, str | bytes):
        return tuple(value)
    raise OptionError(name, value, f"{name} is a tuple of arguments for the initializer, as (1,)")


def _pool(name: str, value: object) -> object:
    if value is None or (isinstance(value, GivenPool) and not isinstance(value, type)):
        return value
    raise OptionError(
        name, value, f"{name} is a pmap.Pool, or None: a shared pool that is kept warm"
    )


class WorkerOptions(NamedTuple):
    """Who runs: calls with equal worker options share one pool."""

    processes: int | None = None
    backend: Backend = "processes"
    start_method: StartMethod | None = None
    initializer: Callable[..., object] | None = None
    initargs: tuple[object, ...] = ()
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    kill_over_memory: bool = False
    isolate: bool = False
    threads_per_worker: int | None = None
    main: Literal["value", "import"] = "value"

    @property
    def most_tasks(self) -> int | None:
        """How many chunks a worker runs before it is replaced; None: no limit."""
        return 1 if self.isolate else self.max_tasks_per_child


class CallOptions(NamedTuple):
    """How this call runs."""

    chunksize: int | None = None
    buffersize: int | None = None
    kill_on_cancel: bool = True
    timeout: float | None = None
    retries: int | Iterable[float] = 0
    retry_on: type[Exception] | tuple[type[Exception], ...] | None = None
    seed: int | None = None
    keep_input: bool = False
    logs: bool = True
    progress: Show = False


class Settings(NamedTuple):
    """All that a verb was told: on a given pool, or else by which workers; and how.

    `given`: the names of the options that were set, also of those that were set to their defaults.
    """

    pool: GivenPool | None = None
    worker: WorkerOptions = WorkerOptions()
    call: CallOptions = CallOptions()
    given: frozenset[str] = frozenset()


_POOL: Final[dict[str, Check]] = {"pool": _pool}
_WORKER: Final[dict[str, Check]] = {
    "processes": _count("one per CPU that this process may use"),
    "backend": _one_of(BACKENDS),
    "start_method": _one_of(START_METHODS, "the fastest that is safe with threads"),
    "initializer": _initializer,
    "initargs": _initargs,
    "max_tasks_per_child": _count("a worker is never replaced for its age"),
    "max_memory_per_child": _count("a worker is never replaced for its size"),
    "kill_over_memory": _yes_or_no,
    "isolate": _yes_or_no,
    "threads_per_worker": _count("the CPUs are shared among the workers"),
    "main": _one_of(("value", "import")),
}
_CALL: Final[dict[str, Check]] = {
    "chunksize": _count("as many items as fit the time they take"),
    "buffersize": _count("a few chunks for each worker"),
    "kill_on_cancel": _yes_or_no,
    "timeout": _timeout,
    "retries": _retries,
    "retry_on": _retry_on,
    "seed": _seed,
    "keep_input": _yes_or_no,
    "logs": _yes_or_no,
    "progress": _progress,
}
_ALL: Final = _POOL | _WORKER | _CALL


class _Options(TypedDict, total=False):
    """The options that a mapping verb takes in the call, and every verb in ``using``.

    Attributes:
        pool: the `Pool` to run on. None: a shared one, kept warm for these worker options.
        processes: how many workers. None: one per CPU that this process may use.
        backend: where items run: in ``"processes"`` (unless something else is said), in
            ``"threads"``, or ``"serial"``: one after the other, in the thread that calls.
        start_method: how a worker process begins: ``"spawn"``, ``"forkserver"`` or ``"fork"``.
            None: the fastest that is safe with threads in this process.
        initializer: a function that each worker calls once when it begins. None: nothing.
        initargs: the initializer's arguments, a tuple. Empty unless given.
        max_tasks_per_child: how many chunks a worker runs before it is replaced. None: no limit.
        max_memory_per_child: how many bytes of memory a worker may take (resident, as the operating
            system counts them). One that is found to take more after an item is replaced, and its
            memory is given back. None: no limit.
        kill_over_memory: whether a worker that grows over `max_memory_per_child` while it runs an
            item is killed, which costs that item a `WorkerLost`. False unless given.
        isolate: whether each item gets a process of its own, which ends with it: nothing of it is
            left, its memory least of all. The same as chunks of one item, and workers that run one;
            a larger `chunksize` is refused. False unless given.
        threads_per_worker: how many threads libraries such as BLAS and OpenMP may use in each
            worker. It is told to them by their environment variables (``OMP_NUM_THREADS`` and the
            like), so it counts for those that are loaded in the worker. None: the CPUs that this
            process may use, divided by the workers, at least one, unless the variable is set.
        main: how workers come to what the script defines. ``"value"`` (unless something else is
            said): they are told, and nothing of the script runs again. ``"import"``: workers import
            the script, as with ``multiprocessing`` (all of a pool together, or each one with the
            start method ``"spawn"``), and find functions and classes by their names: for what
            cannot travel by value (classes mapped by an ORM, settings made at the top of the
            script). The script has to be a file whose calls stand behind
            ``if __name__ == "__main__":``; what its globals have become since is not seen.
        chunksize: how many items travel to a worker in one message. None: as many as fit the
            time they take.
        buffersize: how many items a stream reads ahead of what was taken from it, at most. None:
            a few chunks for each worker, and no more than the consumer takes in half a second. Only
            streams look at it.
        kill_on_cancel: whether a call that is cancelled, or a stream that is left, ends the items
            that run by killing their workers. True unless given; if False, they run to their end
            and nobody hears of it.
        timeout: how many seconds an item may run; time that it waits does not count. One that runs
            for longer is ended by killing its worker, whatever it does, and costs a `TaskTimeout`.
            None: for ever. Items that run in this very process cannot be ended: a thread is left
            to itself, and the serial backend takes no notice.
        retries: how often an item that failed is tried again; or the seconds to wait before each
            further try, as ``(0.1, 1.0, 10.0)``. 0 unless given: each item is tried once.
        retry_on: after which errors there is another try: a class of exceptions, or a tuple of
            them. None: lost workers and timeouts, and not what the function itself raises.
        seed: makes random numbers the same in each run: each item finds ``random``, NumPy's global
            state (if NumPy is loaded) and `rng` as functions of the seed and of its index alone,
            whatever the number of workers, the size of chunks, the backend. None: they differ from
            run to run, and between workers. With the threads backend the items then run one at a
            time, since ``random`` is the whole process's.
        keep_input: whether a `Failure` (with ``collecting``) keeps its item itself, as `item`, so
            that only the failures can be run again. False unless given.
        logs: whether what items log in worker processes comes to the caller's loggers, by their
            levels, filters and handlers. True unless given; if False, it stays with the worker's
            own.
        progress: shows how far the call is. True: by a bar on stderr, with the function's name; a
            string: with that in its place. Bars are tqdm's
            (``pip install 'typed-pmap[progress]'``). None is shown where stderr is neither a
            terminal nor a notebook's, nor for a call inside an item. Or a function, which is called
            with a `Progress`, wherever the call is made: at the beginning, then at most ten times a
            second, and at the end. It runs in different threads, never in two at a time; what it
            raises becomes a warning. False unless given.
    """

    pool: GivenPool | None
    processes: int | None
    backend: Backend
    start_method: StartMethod | None
    initializer: Callable[..., object] | None
    initargs: Iterable[object]
    max_tasks_per_child: int | None
    max_memory_per_child: int | None
    kill_over_memory: bool
    isolate: bool
    threads_per_worker: int | None
    main: Literal["value", "import"]
    chunksize: int | None
    buffersize: int | None
    kill_on_cancel: bool
    timeout: float | None
    retries: int | Iterable[float]
    retry_on: type[Exception] | tuple[type[Exception], ...] | None
    seed: int | None
    keep_input: bool
    logs: bool
    progress: bool | str | Callable[[Progress], object]


if TYPE_CHECKING:

    class Options(_Options, total=False, closed=True):
        """The options that a mapping verb takes in the call, and every verb in ``using``."""

else:
    # What checkers read of it has no meaning at run time, and the import of typing_extensions
    # would take a tenth of that of pmap.
    Options = _Options
    Options.__name__ = Options.__qualname__ = "Options"


def merge(
    settings: Settings, options: Mapping[str, object], verb: str = "", function: object = None
) -> Settings:
    """Return `settings` with `options` laid over them.

    `verb` and `function` are those of the call that they are for; empty: it is none.

    Raises:
        OptionError: an option does not exist, has a value that is not allowed, or contradicts
            another one or a given pool.
    """
    for name in options:
        if name not in _ALL:
            from .option_names import no_such_option  # only a mistake needs it

            why = no_such_option(name, options[name], _ALL, verb, function)
            raise OptionError(name, options[name], why)
    # Any: _replace takes what the field takes, which each check has just made sure of.
    kept: dict[str, Any] = {name: _ALL[name](name, value) for name, value in options.items()}
    merged = Settings(
        pool=kept.get("pool", settings.pool),
        worker=settings.worker._replace(**{n: v for n, v in kept.items() if n in _WORKER}),
        call=settings.call._replace(**{n: v for n, v in kept.items() if n in _CALL}),
        given=settings.given.union(kept),
    )
    if merged.worker.isolate and merged.call.chunksize not in (None, 1):
        raise OptionError(
            "chunksize",
            merged.call.chunksize,
            "with isolate=True each item has a process of its own, so a chunk has one item",
        )
    if merged.pool is not None:
        for name, value in changed(merged).items():
            if name in _WORKER:
                raise OptionError(name, value, f"the given pool has already decided {name}")
    return merged


def worker_options() -> KeysView[str]:
    """Return the names of the options that say who runs."""
    return _WORKER.keys()


def checked(option: str, value: object, name: str) -> object:
    """Return the value of an option that is given under another `name`, as it is kept.

    Raises:
        OptionError: it is not allowed; the error has that name.
    """
    return _ALL[option](name, value)


def refuse_for_pool(others: Mapping[str, object]) -> None:
    """Raise `OptionError` for the first of the keywords that a `Pool` does not take."""
    for name, value in others.items():
        from .option_names import refused_by_pool  # only a mistake needs it

        raise OptionError(name, value, refused_by_pool(name, value, _CALL, _WORKER))


def in_force(settings: Settings) -> dict[str, object]:
    """Return every option, in the order of `Options`, with its present value."""
    homes = [(settings, _POOL), (settings.worker, _WORKER), (settings.call, _CALL)]
    return {name: getattr(home, name) for home, names in homes for name in names}


def changed(settings: Settings) -> dict[str, object]:
    """Return those options that differ from their defaults.

    >>> changed(merge(Settings(), {"processes": 8}))
    {'processes': 8}
    """
    usual = in_force(Settings())
    return {name: value for name, value in in_force(settings).items() if value != usual[name]}


def set_options(settings: Settings) -> dict[str, object]:
    """Return those options that were set, also those that were set to their defaults.

    >>> set_options(merge(Settings(), {"backend": "processes"}))
    {'backend': 'processes'}
    """
    return {name: value for name, value in in_force(settings).items() if name in settings.given}


# -- what options amount to --------------------------------------------------------------------


def delays(retries: int | Iterable[float]) -> tuple[float, ...]:
    """Return the seconds to wait before each further try.

    >>> delays(2), delays([0.5, 1])
    ((0.0, 0.0), (0.5, 1.0))
    """
    if isinstance(retries, int):
        return (0.0,) * retries
    return tuple([float(delay) for delay in retries])


def errors(
    retry_on: type[Exception] | tuple[type[Exception], ...] | None,
) -> tuple[type[Exception], ...]:
    """Return the errors after which there is another try."""
    if retry_on is None:
        return WorkerLost, TaskTimeout
    return retry_on if isinstance(retry_on, tuple) else (retry_on,)
