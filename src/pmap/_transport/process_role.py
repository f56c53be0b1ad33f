"""Whether this process is the caller or a worker, and what the process is doing."""

from __future__ import annotations

import _thread
import sys

from .light_stdlib import RLock, local

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_PACKAGE = __name__.partition(".")[0]

# Whether this process is a worker, or the fork server that forks workers. The value is set
# once, when such a process starts.
in_worker = False
# Whether this worker is an interpreter of its own in the caller's process. Then what belongs to the
# whole process is the caller's, and the worker must not change it: the current directory, umask,
# locale, time zone, the handlers of signals, standard streams.
shares_process = False
# Whether this worker process is running items at the moment. The value is False while the worker
# loads what the items need.
runs_items = False
# How many pools lie between the program and this process: 0 in the program itself, and in a worker
# one more than in the worker's caller.
generation = 0
# Thread-local data: the attribute `depth` exists in a thread that runs items of the threads or
# serial backend.
item_threads = local()


def daemon() -> bool:
    """Return whether pmap's threads may be daemons, which Python forbids in a subinterpreter."""
    if shares_process:
        return False
    # pmap may have been imported in an interpreter that the program has made. Python 3.11 has no
    # interpreters that forbid daemons.
    allowed: Callable[[], bool] | None = getattr(_thread, "daemon_threads_allowed", None)
    return allowed is None or allowed()


def inside_item() -> bool:
    """Return whether the calling code runs in an item, in any kind of worker."""
    return in_worker or bool(getattr(item_threads, "depth", 0))


def finish_package_on_demand() -> None:
    """Let the package ``pmap`` of a worker be imported in full when an item first uses it.

    A worker imports modules of the package ``pmap`` without running the package's own ``__init__``,
    which would import everything. But a function that runs in the worker may use pmap.
    """
    package = sys.modules[_PACKAGE]
    if hasattr(package, "__version__"):
        # A frozen program (an executable with Python inside) has imported the whole package
        # already.
        return
    lock = RLock()

    def load(name: str) -> object:
        with lock:
            if package.__dict__.get("__getattr__") is load:
                _run_init(package)
        # The `__init__` of the package has run by now, and has set the attribute `name`, or a
        # `__getattr__` that finds it.
        found: object = getattr(package, name)
        return found

    package.__dict__["__getattr__"] = load


def _run_init(package: ModuleType) -> None:
    import importlib.util

    path = package.__path__[0]
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, f"{path}/__init__.py", submodule_search_locations=[path]
    )
    assert spec is not None
    assert spec.loader is not None
    del package.__dict__["__getattr__"]
    package.__spec__ = spec
    package.__file__ = spec.origin
    package.__package__ = _PACKAGE
    package.__loader__ = spec.loader
    spec.loader.exec_module(package)
