"""What this process is: the caller's, or a worker."""

from __future__ import annotations

import sys

from .light_stdlib import RLock, local
from .started import (
    MOST_NESTED,
    depth,
    is_importing,
    is_marked,
    report_again,
    runs_our_command,
)

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from types import ModuleType

_PACKAGE = __name__.partition(".")[0]

# Set once, at the start of a worker process, or of the template of some.
in_worker = False
# Whether a worker runs items just now, or else loads what they need, say.
runs_items = False
# `.depth` is there in a thread that runs items of the threads or serial backend.
item_threads = local()


def inside_item() -> bool:
    """Return whether the caller is an item of some map, in any kind of worker."""
    return in_worker or bool(getattr(item_threads, "depth", 0))


def may_start_processes() -> bool:
    """Return whether a pool may have processes here; else it runs its items itself.

    What a process runs that pmap has started, before it is a worker or before it runs an item, each
    of its workers would run as well: a module that makes a pool when it is imported, a
    ``sitecustomize``.

    Raises:
        RuntimeError: not even that: this process is to be a worker and runs a program; or pools are
            nested too deep.
    """
    if in_worker and not runs_items:
        return False
    if is_marked():
        if is_importing() or runs_our_command():
            return False
        report_again()
        raise RuntimeError(
            "this process was started by pmap to be a worker, and it runs a program that uses pmap "
            "instead: call pmap.freeze_support() first in a program that is frozen; in one that "
            "embeds Python, say with multiprocessing.set_executable(path) which Python to start"
        )
    if depth() >= MOST_NESTED:
        raise RecursionError(
            f"this process is a worker of a pool in an item of a pool, and so on, {depth()} deep: "
            "is there a function whose items start the same function in a pool again?"
        )
    return True


def finish_package_on_demand() -> None:
    """Let a worker's bare ``pmap`` package load its ``__init__`` when somebody asks it for a name.

    A worker imports modules below the package without running the package's own ``__init__``, which
    would import everything; but a function that runs there may well use pmap.
    """
    package = sys.modules[_PACKAGE]
    if hasattr(package, "__version__"):
        return  # it is there: this is a frozen program, which has imported it
    lock = RLock()

    def load(name: str) -> object:
        with lock:
            if package.__dict__.get("__getattr__") is load:
                _run_init(package)
        found: object = getattr(package, name)  # by now of the __init__, or of its own __getattr__
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
