"""What this process is: the caller's, or a worker."""

from __future__ import annotations

import sys

from .light_stdlib import RLock, local

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from types import ModuleType

_PACKAGE = __name__.partition(".")[0]

# Set once, at the start of a worker process, or of the template of some.
in_worker = False
# Whether a worker runs items just now, or else loads what they need, say.
runs_items = False
# How many pools there are from the program to this process: that of a worker is its caller's and 1.
generation = 0
# `.depth` is there in a thread that runs items of the threads or serial backend.
item_threads = local()


def inside_item() -> bool:
    """Return whether the caller is an item of some map, in any kind of worker."""
    return in_worker or bool(getattr(item_threads, "depth", 0))


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
