"""The options: the name, type, default and check of each stand in one place.

To add an option, add a field to `WorkerOptions` (which workers run the call) or to `CallOptions`
(how the call runs), a check below them, and a line to `Options`, the type of ``**options``. A test
compares the three. The classes are no dataclasses, because the module of these takes long to
import.
"""

import os
import sys
from collections.abc import Callable, Iterable, KeysView, Mapping, Sequence
from operator import index
from types import ModuleType
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

from .._errors import OptionError
from .._trace.trace import Trace, TraceOption
from .._types import (
    Backend,
    GivenCheckpoint,
    GivenPool,
    Place,
    Progress,
    Show,
    StartMethod,
    is_iterable,
)

if TYPE_CHECKING:
    # Only from Python 3.15 on does `typing.TypedDict` take the argument `closed`.
    from typing_extensions import TypedDict
else:
    from typing import TypedDict

# The module `math` is not imported for `inf`: the import takes longer than all checks of options.
_INFINITE: Final = float("inf")
# The check of an option is a function. It gets the option's name and value, and returns the value
# to keep, or raises OptionError.
Check: TypeAlias = Callable[[str, object], object]

BACKENDS: Final[tuple[Backend, ...]] = get_args(Backend)
NO_INTERPRETERS: Final = (
    "backend='interpreters' needs Python 3.14 or later, which has concurrent.interpreters; this is "
    f"Python {sys.version_info[0]}.{sys.version_info[1]}"
)
# The backends that this Python has.
BACKENDS_HERE: Final[tuple[Backend, ...]] = tuple(
    [name for name in BACKENDS if name != "interpreters" or sys.version_info >= (3, 14)]
)
# The start methods that this Python has; to import `multiprocessing`, which knows them, would take
# longer than to import pmap.
START_METHODS: Final[tuple[StartMethod, ...]] = (
    get_args(StartMethod) if hasattr(os, "fork") else ("spawn",)
)


def whole(value: object) -> int | None:
    """Return `value` as an int; None if it is no integer.

    NumPy's integers are accepted. A bool is refused, although it is an int: ``processes=True`` is a
    mistake.
    """
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        try:
            return index(value)
        except Exception:  # the value is no number, or has an `__index__` that fails
            return None
    return None


def _count(meaning_of_none: str) -> Check:
    """Return the check for an option that counts something: an int >= 1, or None."""

    def check(name: str, value: object) -> int | None:
        if value is None:
            return None
        number = whole(value)
        if number is not None and number >= 1:
            return number
        raise OptionError(name, value, f"{name} is an int >= 1, or None: {meaning_of_none}")

    return check


def _one_of(words: tuple[str, ...], meaning_of_none: str = "") -> Check:
    """Return the check for an option that is one of `words`, or None if None has a meaning."""

    def check(name: str, value: object) -> object:
        if (value is None and meaning_of_none) or (isinstance(value, str) and value in words):
            return value
        allowed = f"{name} is one of {', '.join(map(repr, words))}"
        if meaning_of_none:
            allowed += f", or None: {meaning_of_none}"
        raise OptionError(name, value, allowed + _meant(value, words))

    return check


def _meant(value: object, words: tuple[str, ...]) -> str:
    from .option_names import backend_called  # the module is imported only to explain a mistake

    called = backend_called(value) if words == BACKENDS else None
    return f"; did you mean {called!r}?" if called else ""


def seconds_of(value: object) -> float | None:
    """Return `value` as a number of seconds; None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, SupportsFloat):
        return None
    try:
        return float(value)
    except Exception:  # the value is no number, or has a `__float__` that fails
        return None


def _backend(name: str, value: object) -> object:
    if isinstance(value, str):
        if value == "interpreters" and sys.version_info < (3, 14):
            raise OptionError(name, value, NO_INTERPRETERS)
        return _word_of_backend(name, value)
    # The module is imported only for an engine, because most backends are given as a word.
    from .engine_options import checked_engine

    return checked_engine(name, value, _word_of_backend)


_word_of_backend: Final = _one_of(BACKENDS)


def _inner_worker(name: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise OptionError(
        name, value, f"{name} is True, False, or None: True but for the threads of an executor"
    )


def _ship(name: str, value: object) -> tuple[str, ...]:
    # The module is imported only if a call or ``using`` gives this option.
    from .ship_check import checked_ship

    return checked_ship(name, value)


def _timeout(name: str, value: object) -> float | None:
    # A NaN has a test of its own, because every comparison with a NaN is false.
    seconds = seconds_of(value)
    if value is None or (seconds is not None and seconds > 0):
        return None if seconds == _INFINITE else seconds
    may = "an item may run" if name == "timeout" else "the call may take"
    raise OptionError(name, value, f"{name} is a number of seconds > 0, or None: {may} for ever")


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


def _memory(name: str, value: object) -> int | None:
    if value is None:
        return None
    number = whole(value)
    if isinstance(value, str):
        # The module is imported only if the size is given as a text.
        from .byte_sizes import byte_size

        number = byte_size(value)
    if number is not None and number >= 1:
        return number
    raise OptionError(
        name,
        value,
        f'{name} is a number of bytes >= 1, as an int or as a text such as "700MB" or "2GiB"; or '
        "None: a worker is never replaced for its size",
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
    # The module is imported only if a call or ``using`` gives this option.
    from .progress_check import checked_progress

    return checked_progress(name, value)


def _trace(name: str, value: object) -> object:
    from .trace_check import checked_trace  # the module is imported only if this option is given

    return checked_trace(name, value)


def _checkpoint(name: str, value: object) -> object:
    # The module is imported only if a call or ``using`` gives this option.
    from .checkpoint_check import checked_checkpoint

    return checked_checkpoint(name, value)


def _initializer(name: str, value: object) -> object:
    if value is None or callable(value):
        return value
    raise OptionError(name, value, f"{name} is a function, or None: a worker starts without one")


def _initargs(name: str, value: object) -> tuple[object, ...]:
    # A string is refused, although it is iterable: initargs=("text") is a tuple whose comma was
    # forgotten.
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
    """The options of workers.

    Calls with equal options of workers share one pool.
    """

    processes: int | None = None
    backend: Place = "processes"
    start_method: StartMethod | None = None
    initializer: Callable[..., object] | None = None
    initargs: tuple[object, ...] = ()
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    kill_over_memory: bool = False
    isolate: bool = False
    threads_per_worker: int | None = None
    main: Literal["value", "import"] = "value"
    inner_worker: bool | None = None
    ship: tuple[str, ...] = ()

    @property
    def most_tasks(self) -> int | None:
        """How many chunks a worker runs before it is replaced; None: no limit."""
        return 1 if self.isolate else self.max_tasks_per_child


class CallOptions(NamedTuple):
    """The options of a single call."""

    chunksize: int | None = None
    buffersize: int | None = None
    kill_on_cancel: bool = True
    timeout: float | None = None
    deadline: float | None = None
    retries: int | Iterable[float] = 0
    retry_on: type[Exception] | tuple[type[Exception], ...] | None = None
    seed: int | None = None
    keep_input: bool = False
    logs: bool = True
    progress: Show = False
    trace: TraceOption = False
    checkpoint: str | os.PathLike[str] | GivenCheckpoint | None = None


class Settings(NamedTuple):
    """The options that a verb got, by `using` or in a call, and the pool that it got.

    `given` has the names of the options that were set, even if they were set to their defaults.
    """

    pool: GivenPool | None = None
    worker: WorkerOptions = WorkerOptions()
    call: CallOptions = CallOptions()
    given: frozenset[str] = frozenset()


_POOL: Final[dict[str, Check]] = {"pool": _pool}
_WORKER: Final[dict[str, Check]] = {
    "processes": _count("one per CPU that this process may use"),
    "backend": _backend,
    "start_method": _one_of(START_METHODS, "the fastest that is safe with threads"),
    "initializer": _initializer,
    "initargs": _initargs,
    "max_tasks_per_child": _count("a worker is never replaced for its age"),
    "max_memory_per_child": _memory,
    "kill_over_memory": _yes_or_no,
    "isolate": _yes_or_no,
    "threads_per_worker": _count("the CPUs are shared among the workers"),
    "main": _one_of(("value", "import")),
    "inner_worker": _inner_worker,
    "ship": _ship,
}
_CALL: Final[dict[str, Check]] = {
    "chunksize": _count("as many items as fit the time they take"),
    "buffersize": _count("a few chunks for each worker"),
    "kill_on_cancel": _yes_or_no,
    "timeout": _timeout,
    "deadline": _timeout,
    "retries": _retries,
    "retry_on": _retry_on,
    "seed": _seed,
    "keep_input": _yes_or_no,
    "logs": _yes_or_no,
    "progress": _progress,
    "trace": _trace,
    "checkpoint": _checkpoint,
}
_ALL: Final = _POOL | _WORKER | _CALL


class _Options(TypedDict, total=False):
    """The options that a mapping verb takes in the call, and every verb in ``using``.

    Attributes:
        pool: the `Pool` that runs the call. None: a pool that all calls with the same worker
            options share.
        processes: how many workers. None: one for each CPU that this process may use.
        backend: where items run: in worker ``"processes"`` (the default); in ``"threads"`` of this
            process; in ``"interpreters"`` of this process, each with a lock and modules of its own
            (Python 3.14 or later); or, with ``"serial"``, one after the other in the thread that
            makes the call.
            Or an engine that the program has: any ``concurrent.futures.Executor``, any `Engine`, or
            a pool with ``apply_async``. It places chunks of items on its workers. pmap never shuts
            it down.
        start_method: how a worker process starts: ``"spawn"``, ``"forkserver"`` or ``"fork"``.
            None: what the program has set with ``multiprocessing.set_start_method``, else the
            fastest of them that is safe with threads in this process.
        initializer: a function that each worker calls once when it starts. None: nothing.
        initargs: the arguments of the initializer, as a tuple. Default: none.
        max_tasks_per_child: how many chunks a worker runs before it is replaced. None: no limit.
        max_memory_per_child: how many bytes of memory a worker may take (resident memory, as the
            operating system counts it); or a text with a unit, such as ``"700MB"`` (millions of
            bytes) or ``"2GiB"`` (times 1024 three times). What a forked worker has of its caller
            does not count. A worker that takes more when it has finished an item is replaced, which
            gives its memory back. None: no limit.
        kill_over_memory: whether a worker is killed when it takes more than `max_memory_per_child`
            while it runs an item. That item fails with `WorkerLost`. Default: False.
        isolate: whether each item runs in a process of its own, which ends with the item. Then
            nothing of the item is left, neither memory nor state. It means chunks of one item, and
            workers that run one chunk; a larger `chunksize` is refused. Default: False.
        threads_per_worker: how many threads libraries such as BLAS and OpenMP may use in each
            worker. Workers set the environment variables of these libraries (``OMP_NUM_THREADS``
            and the like), so it holds for libraries that are loaded in the worker. None: the CPUs
            that this process may use, divided by the number of workers, at least 1; variables that
            are set already stay as they are.
        main: how workers get what the script defines. ``"value"`` (the default): pmap sends them
            what a call uses, and no part of the script runs again. ``"import"``: workers import the
            script, as with ``multiprocessing`` (once for all workers of a pool, or with the start
            method ``"spawn"`` once in each), and find functions and classes by their names. This is
            for what cannot be sent by value (classes mapped by an ORM, settings made at the top of
            the script). The script must be a file whose calls stand behind
            ``if __name__ == "__main__":``. Workers do not see later changes of its globals.
        inner_worker: whether the items of a backend that is an engine run in worker processes of
            pmap, where the engine runs a chunk. False: they run in the engine's own worker. None:
            True, except for a ``ThreadPoolExecutor``, whose items run in its threads, and except on
            a machine where no process can be started: there they run in the engine's own worker,
            with a `RuntimeWarning`, unless an option needs a process of pmap.
        ship: packages, by name or as modules, whose files travel to where an engine runs the items,
            which need not have them. pmap travels with them, so it need not be there either. The
            Python there must have the same version, and all else that the packages import. Refused
            for a backend of this machine. Default: none.
        chunksize: how many items are sent to a worker in one message. None: as many as take about
            20 ms, by the measured time of earlier items.
        buffersize: how many items a stream reads ahead of the results that were taken from it, at
            most. None: a few chunks for each worker, and no more than the consumer takes in half a
            second. Only streams use this option.
        kill_on_cancel: whether the workers that run items of a call are killed when the call is
            cancelled or its stream is left. Default: True. If False, these items run to their end,
            and their results are dropped.
        timeout: how many seconds an item may run; time that it waits for a worker does not count.
            An item that runs longer fails with `TaskTimeout`, and its worker is killed. None: no
            limit. Items that run in this process cannot be ended: the threads backend leaves the
            thread of such an item to itself, and the serial backend ignores the option.
        deadline: how many seconds the whole call may take, counted from the moment when the verb
            is called, so the time in which the input is read counts, too. When they are over, no
            item begins any more, the workers that run items of the call are killed (unless
            `kill_on_cancel` is False), and the call raises `ResultTimeoutError`, which says how
            many items are done. With ``collecting`` a `Failure` with that error stands in the place
            of each item that is not done. None: no limit. Reading the input is not interrupted. In
            this process an item that runs is left to itself: threads go on with it, and the serial
            backend looks at the clock between two items.
        retries: how many times an item that failed is tried again; or the seconds to wait before
            each further try, as ``(0.1, 1.0, 10.0)``. Default: 0, so each item is tried once.
        retry_on: the errors after which an item is tried again: a class of exceptions, or a tuple
            of classes. None: `WorkerLost` and `TaskTimeout`, and not what the function raises.
        seed: an int >= 0 that makes random numbers the same in each run. Before each item
            ``random``, NumPy's global state (if NumPy is loaded) and `rng` are set from the seed
            and the index of the item alone. So the numbers do not depend on the number of workers,
            the size of chunks or the backend. With the threads backend the items run one at a time,
            since all threads share ``random``. None: random numbers differ from run to run, and
            between workers.
        keep_input: whether a `Failure` (with ``collecting``) keeps the item itself, as its `item`,
            so that the failed items can be run again. Default: False.
        logs: whether records that items log in worker processes go to the caller's loggers, with
            their levels, filters and handlers. Default: True. If False, they go to the worker's own
            loggers.
        progress: whether and how the progress of the call is shown. True: by a bar on stderr, with
            the name of the function. A string: by a bar with this text instead. The bars are those
            of tqdm (``pip install 'typed-pmap[progress]'``). There is no bar if stderr is neither a
            terminal nor that of a notebook, nor for a call inside an item. A function: pmap calls
            it with a `Progress`, wherever the call is made: at the beginning, then at most ten
            times a second, and at the end. It runs in different threads, but never in two at the
            same time; an exception that it raises becomes a warning. Default: False.
        trace: where the call notes which worker did what when. A `Trace`: in that one. True: in a
            new one, which `Trace.last` returns. A path that ends with ``.svg`` or ``.json``: in a
            new one, which is saved there when the call ends. Default: False, nowhere.
        checkpoint: the path of a file, or a `Checkpoint`, that keeps the result of each item as the
            item finishes. A later call with the same function and input takes from the file what is
            there, and runs the rest: so a program that was killed goes on where it was. None:
            nothing is kept.
    """

    pool: GivenPool | None
    processes: int | None
    backend: Place
    start_method: StartMethod | None
    initializer: Callable[..., object] | None
    initargs: Iterable[object]
    max_tasks_per_child: int | None
    max_memory_per_child: int | str | None
    kill_over_memory: bool
    isolate: bool
    threads_per_worker: int | None
    main: Literal["value", "import"]
    inner_worker: bool | None
    ship: Sequence[str | ModuleType]
    chunksize: int | None
    buffersize: int | None
    kill_on_cancel: bool
    timeout: float | None
    deadline: float | None
    retries: int | Iterable[float]
    retry_on: type[Exception] | tuple[type[Exception], ...] | None
    seed: int | None
    keep_input: bool
    logs: bool
    progress: bool | str | Callable[[Progress], object]
    trace: bool | str | os.PathLike[str] | Trace
    checkpoint: str | os.PathLike[str] | GivenCheckpoint | None


if TYPE_CHECKING:

    class Options(_Options, total=False, closed=True):
        """The options that a mapping verb takes in the call, and every verb in ``using``."""

else:
    # Only type checkers need `closed`. To import typing_extensions for it would take a tenth of the
    # time that the import of pmap takes.
    Options = _Options
    Options.__name__ = Options.__qualname__ = "Options"


def merge(
    settings: Settings, options: Mapping[str, object], verb: str = "", function: object = None
) -> Settings:
    """Return a copy of `settings` in which the values of `options` replace the old ones.

    `verb` and `function` are those of the call that gives the options; they are empty if no call
    gives them.

    Raises:
        OptionError: an option does not exist, has a value that is not allowed, or contradicts
            another one or a given pool.
    """
    for name in options:
        if name not in _ALL:
            # The module is imported only to explain a mistake.
            from .option_names import no_such_option

            why = no_such_option(name, options[name], _ALL, verb, function)
            raise OptionError(name, options[name], why)
    # The type is `Any`, because `_replace` asks for the type of each field, and only the check of
    # an option knows that type.
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
    if merged.worker.backend == "interpreters":
        from . import interpreter_options  # only a call on interpreters imports this module

        interpreter_options.check(in_force(merged))
    of_engines = merged.worker.inner_worker is not None or bool(merged.worker.ship)
    if of_engines or not isinstance(merged.worker.backend, str):
        # The module is imported only for an engine, because most backends are given as a word.
        from .engine_options import check

        check(in_force(merged), in_force(Settings()), merged.given)
    return merged


def worker_options() -> KeysView[str]:
    """Return the names of the options of workers."""
    return _WORKER.keys()


def checked(option: str, value: object, name: str) -> object:
    """Check the value of `option`, which the user gave as `name`, and return the value to keep.

    Raises:
        OptionError: the value is not allowed. The error calls the option `name`.
    """
    return _ALL[option](name, value)


def refuse_for_pool(others: Mapping[str, object]) -> None:
    """Raise `OptionError` for a keyword that a `Pool` does not take, with a helpful message."""
    for name, value in others.items():
        # The module is imported only to explain a mistake.
        from .option_names import refused_by_pool

        raise OptionError(name, value, refused_by_pool(name, value, _CALL, _WORKER))


def in_force(settings: Settings) -> dict[str, object]:
    """Return all options of `settings` with their values, also those that were not set."""
    homes = [(settings, _POOL), (settings.worker, _WORKER), (settings.call, _CALL)]
    return {name: getattr(home, name) for home, names in homes for name in names}


def changed(settings: Settings) -> dict[str, object]:
    """Return the options whose values in `settings` differ from the defaults.

    >>> changed(merge(Settings(), {"processes": 8}))
    {'processes': 8}
    """
    usual = in_force(Settings())
    return {name: value for name, value in in_force(settings).items() if value != usual[name]}


def set_options(settings: Settings) -> dict[str, object]:
    """Return the options that were set, even those that were set to their defaults.

    >>> set_options(merge(Settings(), {"backend": "processes"}))
    {'backend': 'processes'}
    """
    return {name: value for name, value in in_force(settings).items() if name in settings.given}
