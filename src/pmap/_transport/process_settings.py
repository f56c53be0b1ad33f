"""Settings of interpreter and process that a worker changes only when its caller has changed them.

Each row of `_rows` is one setting: how it is read, and how it is put in place. The caller reads all
settings when a call is made. A worker puts those settings in place that differ from what its caller
had at the call before. So what an initializer has set stays, as a global does, until the caller
changes the setting; and a call after which nothing has changed costs a worker nothing.
"""

from __future__ import annotations

import os
import sys

from . import process_role
from .light_stdlib import partial

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import EllipsisType
    from typing import Any, TypeAlias

    # A setting's value; `...`: the value is not known, or the setting is not in use here.
    Value: TypeAlias = "int | float | str | tuple[Value, ...] | None"
    Values: TypeAlias = tuple[Value | EllipsisType, ...]

# Those limits of the operating system that count as settings here. RLIMIT_CPU is left out: it
# limits the processor time of one process, and a worker may have used more than its caller.
_LIMITS = ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_FSIZE", "RLIMIT_NOFILE")
# The settings that are attributes of the module `sys`.
_OF_SYS = ("argv", "dont_write_bytecode", "pycache_prefix", "tracebacklimit")
# Functions that return a setting and take little time, by the names of their modules. `_dialects`
# is the dict of the registered dialects.
_PROBES = {
    "gc": ("isenabled", "get_threshold", "get_debug"),
    "_socket": ("getdefaulttimeout",),
    "_csv": ("field_size_limit", "_dialects.copy"),
    "decimal": ("DefaultContext.__reduce__",),
    "_tracemalloc": ("is_tracing", "get_traceback_limit"),
}


class _Row:
    """One setting.

    Attributes:
        module: the module that has the functions of the setting. A program that has not imported
            the module cannot have changed the setting, so then nothing is read.
        usual: the value that the setting has when Python starts. A worker does not import the
            module only to set this value. `...`: there is no fixed value at the start.
        read: returns the value in this process.
        apply: puts a value in place.
        of_machine: whether the value means nothing on another machine.
        waits: whether a worker sets the value only when other code in the worker imports the
            module.
        of_process: whether all interpreters of a process share the value. A worker that shares the
            caller's process leaves such a setting alone.
    """

    __slots__ = ("apply", "module", "of_machine", "of_process", "read", "usual", "waits")

    def __init__(
        self,
        module: str,
        usual: Value | EllipsisType,
        read: Callable[[], Any],
        apply: Callable[[Any], object],
        of_machine: bool = False,
        waits: bool = False,
        of_process: bool = False,
    ) -> None:
        self.module = module
        self.usual = usual
        self.read = read
        self.apply = apply
        self.of_machine = of_machine
        self.waits = waits
        self.of_process = of_process or of_machine


# The functions, written in C, that `read_process_settings` calls to see whether a setting has
# changed. With them: how many modules were imported when they were chosen, and the last of these
# modules.
_probes: tuple[list[Callable[[], object]], int, object] = [], -1, None
# What the functions in `_probes` returned last, and the settings that were read afterwards.
_last: tuple[list[object], Values] | None = None
_sys_names = vars(sys)


def read_process_settings() -> Values:
    """Return the values of all settings in this process, in the order of `_rows`.

    As long as nothing changes, the result is the same object. This function runs at each call. So
    it calls a few functions of C first, and reads all settings only if one of these functions
    returns another value than before.
    """
    global _last
    modules = sys.modules
    try:
        latest = next(reversed(modules), None)
    except RuntimeError:  # another thread has changed `sys.modules` meanwhile
        latest = None
    if _probes[1] != len(modules) or _probes[2] != latest:
        _choose_probes(len(modules), latest)
    seen: list[object] = [probe() for probe in _probes[0]]
    if _last is None or seen != _last[0]:
        # A copy of the list `sys.argv` is kept, as the program may change the list in place.
        seen = [each[:] if type(each) is list else each for each in seen]
        _last = seen, _read_all()
    return _last[1]


def _choose_probes(count: int, latest: object) -> None:
    """Choose the functions that return another value as soon as a setting has changed.

    They take no argument and little time.
    """
    global _probes
    found: list[Callable[[], object]] = [
        sys.getswitchinterval,
        # `sys.tracebacklimit` seldom exists, and `getattr` for a missing attribute would take
        # longer than all else here.
        *[partial(_sys_names.get, name) for name in _OF_SYS],
    ]
    if hasattr(sys, "get_coroutine_origin_tracking_depth"):
        found.append(sys.get_coroutine_origin_tracking_depth)
    if hasattr(os, "getpriority"):
        found.append(partial(os.getpriority, os.PRIO_PROCESS, 0))
    if hasattr(os, "sched_getaffinity"):
        found.append(partial(os.sched_getaffinity, 0))
    for module, names in _PROBES.items():
        functions: Any = sys.modules.get(module)
        if functions is not None:
            probes = [_found(functions, name) for name in names]
            found += [probe for probe in probes if probe is not None]
    context: Any = _found(sys.modules.get("multiprocessing.context"), "_default_context")
    if context is not None:
        found.append(partial(getattr, context, "_actual_context", None))
    system: Any = sys.modules.get("resource")
    if system is not None:
        limits = [getattr(system, name, None) for name in _LIMITS]
        found += [partial(system.getrlimit, limit) for limit in limits if limit is not None]
    _probes = found, count, latest


def _found(given: Any, path: str) -> Any:
    """Return the attribute to which `path` leads from `given`; None if it is missing.

    Another thread may be importing the module, so that an attribute is not there yet.
    """
    for name in path.split("."):
        given = getattr(given, name, None)
    return given


def _read_all() -> Values:
    # A module that is None in `sys.modules` is one that may not be imported here.
    modules = sys.modules
    return tuple([row.read() if modules.get(row.module) is not None else ... for row in _rows])


def apply_process_settings(values: Values, before: Values | None) -> None:
    """Put those of `values` in place that differ from the values `before`.

    `before`: the values that were put in place last; None: this process has just started.
    """
    for at, (row, value) in enumerate(zip(_rows, values, strict=False)):
        if value is ... or (before is not None and before[at] == value):
            continue
        if before is not None and before[at] is ... and value == row.usual:
            # The caller has imported the module, but has not changed the setting. So the value that
            # an initializer has set here stays.
            continue
        if row.of_process and process_role.shares_process:
            continue
        if row.module not in sys.modules:
            if row.waits:
                late[row.module] = row, value
                continue
            if row.usual == value:
                continue
        _put(row, value)


def _put(row: _Row, value: Value) -> None:
    try:
        __import__(row.module)
        if row.read() != value:
            row.apply(value)
    # The system does not allow the value here, or the module has no such setting: nothing changes.
    except (ImportError, AttributeError, OSError, ValueError, OverflowError):
        pass


# Settings of modules that this worker has not imported yet, by the names of the modules; each is
# put in place when the module is imported.
late: dict[str, tuple[_Row, Value]] = {}


def apply_late(module: str) -> None:
    """Apply the setting that was put aside until `module` is imported, which has happened now."""
    if module in late:
        _put(*late.pop(module))


def without_machine(values: Values) -> Values:
    """Return `values` for another machine: without those that mean something on this one only."""
    pairs = zip(_rows, values, strict=False)
    return tuple([... if row.of_machine else value for row, value in pairs])


# --- reading and writing -------------------------------------------------------------------------


def _attribute(name: str, usual: Value | EllipsisType = None) -> _Row:
    """Return the `_Row` of a setting that is an attribute of the module `sys`."""

    def read() -> Value | EllipsisType:
        value: Value | EllipsisType = getattr(sys, name, usual)
        return value if value is None or isinstance(value, (int, str)) else ...

    return _Row("sys", usual, read, lambda value: setattr(sys, name, value))


def _of(module: str) -> Any:
    return sys.modules[module]


def _argv() -> tuple[str, ...] | EllipsisType:
    argv: object = getattr(sys, "argv", None)
    if type(argv) is not list:
        return ...
    given: tuple[Any, ...] = tuple(sys.argv)
    return given if all(type(each) is str for each in given) else ...


def _set_argv(argv: tuple[str, ...]) -> None:
    sys.argv[:] = argv


def _set_collecting(on: bool) -> None:
    _of("gc").enable() if on else _of("gc").disable()


def _traced() -> int:
    tracer = _of("tracemalloc")
    return tracer.get_traceback_limit() if tracer.is_tracing() else 0


def _trace(frames: int) -> None:
    tracer = _of("tracemalloc")
    tracer.stop()
    if frames:
        tracer.start(frames)


# Variables by which OpenMP binds each thread to a processor. If one is set, OpenMP also binds the
# threads of each worker, so pmap does not.
_BINDING = ("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY")


def _cpus() -> tuple[int, ...] | EllipsisType:
    if any(name in os.environ for name in _BINDING):
        return ...
    return tuple(sorted(os.sched_getaffinity(0)))


_OF_A_DIALECT = (
    *("delimiter", "doublequote", "escapechar", "lineterminator", "quotechar", "quoting"),
    *("skipinitialspace", "strict"),
)
# The dialects that `csv` registers when it is imported.
_USUAL_DIALECTS = (
    ("excel", (",", True, None, "\r\n", '"', 0, False, False)),
    ("excel-tab", ("\t", True, None, "\r\n", '"', 0, False, False)),
    ("unix", (",", True, None, "\n", '"', 1, False, False)),
)


def _dialects() -> tuple[Any, ...]:
    csv = _of("_csv")
    given = [(name, csv.get_dialect(name)) for name in sorted(csv.list_dialects(), key=str)]
    # A dialect of `csv` whose name is of a subclass of str is left out: that class could not be
    # sent.
    return tuple(
        [
            (name, tuple([getattr(dialect, each) for each in _OF_A_DIALECT]))
            for name, dialect in given
            if type(name) is str
        ]
    )


# The names of the dialects of `csv` that the caller had when they were put in place last.
_dialects_told: set[str] = set()


def _set_dialects(dialects: tuple[tuple[str, tuple[Any, ...]], ...]) -> None:
    """Register the caller's dialects; those that only an initializer has registered stay."""
    csv = _of("_csv")
    now = dict(_dialects())
    for name, parts in dialects:
        if now.get(name) != parts:
            csv.register_dialect(name, **dict(zip(_OF_A_DIALECT, parts, strict=True)))
    named = {name for name, _ in dialects}
    for name in _dialects_told - named:
        if name in now:
            csv.unregister_dialect(name)
    _dialects_told.clear()
    _dialects_told.update(named)


# Attributes of a decimal context; its traps are sent by the names of their classes.
_OF_DECIMALS = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
_USUAL_DECIMALS = (
    *(28, "ROUND_HALF_EVEN", -999999, 999999, 1, 0),
    ("DivisionByZero", "InvalidOperation", "Overflow"),
)


def _decimals() -> tuple[Any, ...] | EllipsisType:
    given = getattr(_of("decimal"), "DefaultContext", None)
    if given is None:  # another thread is importing `decimal`, which is not complete yet
        return ...
    traps = sorted([signal.__name__ for signal, on in given.traps.items() if on])
    return *[getattr(given, name) for name in _OF_DECIMALS], tuple(traps)


def _set_decimals(values: tuple[Any, ...]) -> None:
    given = _of("decimal").DefaultContext
    for name, value in zip(_OF_DECIMALS, values[:-1], strict=True):
        setattr(given, name, value)
    for signal in given.traps:
        given.traps[signal] = signal.__name__ in values[-1]


def _limits() -> tuple[tuple[int, int], ...]:
    resource = _of("resource")
    return tuple([resource.getrlimit(getattr(resource, name)) for name in _LIMITS])


def _set_limits(limits: tuple[tuple[int, int], ...]) -> None:
    resource = _of("resource")
    for name, now, limit in zip(_LIMITS, _limits(), limits, strict=True):
        if now != limit:
            try:
                resource.setrlimit(getattr(resource, name), limit)
            except (OSError, ValueError):  # only root may raise a hard limit, so this limit stays
                continue


def _method() -> str | EllipsisType | None:
    context: Any = getattr(_of("multiprocessing.context"), "_default_context", None)
    # Another thread may be importing `multiprocessing.context`, which then lacks the attribute.
    if context is None:
        return ...
    method: str | None = context.get_start_method(allow_none=True)
    return ... if method is None else method


def _set_method(method: str) -> None:
    _of("multiprocessing.context")._default_context.set_start_method(method, force=True)


_rows = [
    _Row("sys", ..., _argv, _set_argv),
    _Row("sys", ..., sys.getswitchinterval, sys.setswitchinterval),
    _attribute("dont_write_bytecode", ...),
    _attribute("pycache_prefix"),
    _attribute("tracebacklimit"),
    _Row("gc", True, lambda: _of("gc").isenabled(), _set_collecting),
    _Row(
        "gc", ..., lambda: _of("gc").get_threshold(), lambda given: _of("gc").set_threshold(*given)
    ),
    _Row("gc", 0, lambda: _of("gc").get_debug(), lambda flags: _of("gc").set_debug(flags)),
    _Row(
        "_socket",
        None,
        lambda: _of("_socket").getdefaulttimeout(),
        lambda seconds: _of("_socket").setdefaulttimeout(seconds),
    ),
    _Row(
        "_csv",
        131072,
        lambda: _of("_csv").field_size_limit(),
        lambda size: _of("_csv").field_size_limit(size),
    ),
    _Row("_csv", _USUAL_DIALECTS, _dialects, _set_dialects),
    _Row("decimal", _USUAL_DECIMALS, _decimals, _set_decimals),
    _Row("tracemalloc", 0, _traced, _trace, of_process=True),
    _Row("multiprocessing.context", ..., _method, _set_method, waits=True),
    _Row("resource", ..., _limits, _set_limits, of_machine=True),
]
if hasattr(sys, "get_coroutine_origin_tracking_depth"):
    _rows.append(
        _Row(
            "sys",
            0,
            sys.get_coroutine_origin_tracking_depth,
            sys.set_coroutine_origin_tracking_depth,
        )
    )
if hasattr(os, "getpriority"):
    _rows.append(
        _Row(
            "os",
            ...,
            lambda: os.getpriority(os.PRIO_PROCESS, 0),
            lambda nice: os.setpriority(os.PRIO_PROCESS, 0, nice),
            of_machine=True,
        )
    )
if hasattr(os, "sched_getaffinity"):
    _rows.append(
        _Row("os", ..., _cpus, lambda cpus: os.sched_setaffinity(0, cpus), of_machine=True)
    )
