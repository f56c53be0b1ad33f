"""What `multiprocessing` says in a worker of the process it is in, and of its parent.

A worker does not import `multiprocessing`. When somebody else does, that learns what it would know
in a child of its own: name, identity, key and parent (`process`), and the resource tracker of the
caller, so that shared memory and semaphores live as long as the caller (`resource_tracker`).
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._transport.descriptors import Descriptor
    from .._transport.protocol import Identity


_PROCESS = "multiprocessing.process"
_TRACKER = "multiprocessing.resource_tracker"


class _Ties:
    """What is known of this process and its caller."""

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.lifeline = -1  # what is readable when the caller is gone, where there is such a thing
        self.key: bytes | None = None  # with which the caller's managers let in
        self.tracker: Descriptor | None = None  # of the caller

    def begin(self, identity: Identity, inherits: bool) -> None:
        """Note what identity this worker has; `inherits`: it is a fork of its caller."""
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
        """Note what `multiprocessing` has at the caller by now."""
        self.key = key or self.key
        self.tracker = tracker or self.tracker
        for name, tell in ((_PROCESS, _tell_key), (_TRACKER, _tell_tracker)):
            module = sys.modules.get(name)
            if module is not None and name not in _waiting:
                tell(module)


ties = _Ties()


# --- telling the modules -------------------------------------------------------------------------


def _tell_process(module: Any) -> None:
    assert ties.identity is not None
    identity, name, pid, parent = ties.identity
    before = module._current_process

    class PoolWorker(module.BaseProcess):  # type: ignore[misc]  # what it is, is known here only
        """This process, as one of a `multiprocessing` pool would be."""

        # Said, and not set: an item may start processes of its own all the same.
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
    module._parent_process = module._ParentProcess(parent, pid, _sentinel())
    _tell_key(module)


def _sentinel() -> int:
    if ties.lifeline < 0:
        # Never readable: the other end stays open for as long as this process lives.
        ties.lifeline, _ = os.pipe()
    return ties.lifeline


def _tell_key(module: Any) -> None:
    if ties.key is not None:
        module._current_process.authkey = ties.key


def _tell_tracker(module: Any) -> None:
    tracker: Any = module._resource_tracker
    if ties.tracker is not None and tracker._fd is None:
        tracker._fd = ties.tracker.detach()


_TELL: dict[str, Callable[[Any], None]] = {_PROCESS: _tell_process, _TRACKER: _tell_tracker}


def _forget_the_caller() -> None:
    """Let what a fork has from its caller be no more its own, as after a fork of the library's."""
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


# --- noticing their import -----------------------------------------------------------------------

_waiting: dict[str, Callable[[Any], None]] = {}


class _Watch:
    """Notices the import of modules that are to be told something."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return how to import `name`, if it is such a module."""
        if name not in _waiting:
            return None
        for finder in sys.meta_path:
            spec: Any = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = _Loader(spec.loader, name)
                return spec
        return None


class _Loader:
    """Loads a module as its own loader does, and tells it then."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader = loader
        self._name = name

    def create_module(self, spec: Any) -> Any:
        """Return what the module's own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """Run the module; then it is told."""
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        tell = _waiting.pop(self._name, None)
        if tell is not None:
            tell(module)
        if not _waiting and _watch in sys.meta_path:
            sys.meta_path.remove(_watch)


_watch: Any = _Watch()
