"""What `multiprocessing` says, in a worker, of the worker process and of its parent.

A worker itself does not import `multiprocessing`. When an item or a module imports it in a worker,
this module tells `multiprocessing` what it would know in a child process of its own.
`multiprocessing.process` gets the name, the identity, the authentication key and the parent of the
worker. `multiprocessing.resource_tracker` gets the resource tracker of the caller, so that shared
memory and semaphores live as long as the caller. `multiprocessing.context` gets the start method
that the caller has set.
"""

from __future__ import annotations

import os
import sys

from .._transport import process_role
from .._transport.process_settings import apply_late

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._transport.descriptors import Descriptor
    from .._transport.protocol import Identity


_PROCESS = "multiprocessing.process"
_TRACKER = "multiprocessing.resource_tracker"
_CONTEXT = "multiprocessing.context"


class _Ties:
    """What `multiprocessing` in this worker is to know of the worker and of its caller."""

    def __init__(self) -> None:
        self.identity: Identity | None = None
        # A descriptor that becomes readable when the caller has ended; -1: there is none.
        self.lifeline = -1
        # The caller's authentication key, which the managers of `multiprocessing` ask for.
        self.key: bytes | None = None
        # The descriptor of the caller's resource tracker.
        self.tracker: Descriptor | None = None
        # The copy of that descriptor that `multiprocessing` in this worker has; -1: there is none.
        self.tracker_copy = -1

    def begin(self, identity: Identity, inherits: bool) -> None:
        """Record the identity of this worker.

        `inherits`: whether this process was forked from a process that may have imported
        `multiprocessing` before: the caller, or the process that imported the script.
        """
        self.identity = identity
        for name, tell in _TELL.items():
            module = sys.modules.get(name)
            if module is not None:
                tell(module)
            else:
                _waiting[name] = tell
        if inherits:
            _forget_the_caller()
        if _waiting:
            sys.meta_path.insert(0, _watch)

    def take(self, key: bytes | None, tracker: Descriptor | None) -> None:
        """Take over the caller's present authentication key and resource tracker."""
        self.key = key or self.key
        self.tracker = tracker or self.tracker
        for name, tell in ((_PROCESS, _tell_key), (_TRACKER, _tell_tracker)):
            module = sys.modules.get(name)
            if module is not None and name not in _waiting:
                tell(module)

    def release(self) -> None:
        """Close the descriptors of the resource tracker that this worker has."""
        tracker, self.tracker = self.tracker, None
        if tracker is not None:
            tracker.close()
        module: Any = sys.modules.get(_TRACKER)
        copy, self.tracker_copy = self.tracker_copy, -1
        # If an item has stopped the resource tracker, `multiprocessing` has another descriptor now,
        # and the copy is closed already.
        if copy >= 0 and module is not None and module._resource_tracker._fd == copy:
            module._resource_tracker._fd = None
            os.close(copy)


ties = _Ties()


# --- telling modules of `multiprocessing` what they have to know ---------------------------------


def _tell_process(module: Any) -> None:
    assert ties.identity is not None
    identity, name, pid, parent = ties.identity
    before = module._current_process

    class PoolWorker(module.BaseProcess):  # type: ignore[misc]  # mypy does not know the type of `module`
        """Describes this process as `multiprocessing` describes a worker of its own pools."""

        # Code that reads `daemon` finds a daemon process. `multiprocessing` itself reads another
        # attribute, so an item may start processes of its own all the same.
        daemon = True

        def __init__(self) -> None:
            self._identity = identity
            self._name = name
            self._parent_pid = pid
            self._parent_name = parent
            self._popen = None
            self._closed = False
            self._config: dict[str, object] = dict(before._config)
            self._config.pop("daemon", None)

        def close(self) -> None:
            pass

    module._current_process = PoolWorker()
    if not process_role.shares_process:
        module._parent_process = module._ParentProcess(parent, pid, _sentinel())
    _tell_key(module)


def _sentinel() -> int:
    if ties.lifeline < 0:
        # `multiprocessing` wants a pipe that is at its end when the parent has ended. The system
        # gave this process none. So it gets a new pipe, which never ends: this process keeps the
        # writing end open.
        ties.lifeline, _ = os.pipe()
    return ties.lifeline


def _tell_key(module: Any) -> None:
    if ties.key is not None:
        module._current_process.authkey = ties.key


def _tell_tracker(module: Any) -> None:
    tracker: Any = module._resource_tracker
    if ties.tracker is not None and tracker._fd is None:
        tracker._fd = ties.tracker_copy = ties.tracker.detach()


def _tell_context(_: Any) -> None:
    apply_late(_CONTEXT)


_TELL: dict[str, Callable[[Any], None]] = {
    _PROCESS: _tell_process,
    _TRACKER: _tell_tracker,
    _CONTEXT: _tell_context,
}


def _forget_the_caller() -> None:
    """Forget exit callbacks, children and finalisers of the process this one was forked from.

    `multiprocessing` itself forgets these in the processes that it forks.
    """
    import atexit
    import itertools

    atexit._clear()
    process: Any = sys.modules.get(_PROCESS)
    if process is not None:
        process._process_counter = itertools.count(1)
        process._children = set()
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._finalizer_registry.clear()
        util._run_after_forkers()
        atexit.register(util._exit_function)


# --- noticing that a module of `multiprocessing` is imported -------------------------------------

_waiting: dict[str, Callable[[Any], None]] = {}


class _Watch:
    """An import finder that notices when an item imports a module of `multiprocessing`.

    If the module has to know of this worker process, it is told then.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return a spec for a module that has to know of this worker process; for others None."""
        if name not in _waiting:
            return None
        for finder in sys.meta_path:
            spec: Any = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = _Loader(spec.loader, name)
                return spec
        return None


class _Loader:
    """Loads a module of `multiprocessing` with the module's own loader.

    Then this loader tells the module what the module has to know of this worker process.
    """

    def __init__(self, loader: Any, name: str) -> None:
        self._loader = loader
        self._name = name

    def create_module(self, spec: Any) -> Any:
        """Let the module's own loader create the module."""
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """Run the module; then tell the module what it is to know of this worker process."""
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        tell = _waiting.pop(self._name, None)
        if tell is not None:
            tell(module)
        if not _waiting and _watch in sys.meta_path:
            sys.meta_path.remove(_watch)


_watch: Any = _Watch()
