"""CPython's own tests of multiprocessing.Pool, run on ours, with each start method and on threads.

They are taken from the interpreter that runs this, so each version is judged by its own tests.
"""

import importlib
import multiprocessing
import os
import unittest
from collections.abc import Callable
from multiprocessing.resource_tracker import ResourceTracker
from multiprocessing.resource_tracker import _resource_tracker as tracker
from typing import Any, Final

import pytest
from tests.backends import START_METHODS
from tests.limits import until

from pmap import Pool, ThreadPool, shutdown

CLASSES: Final = ("_TestPool", "_TestPoolWorkerErrors", "_TestPoolWorkerLifetime")

try:
    theirs: Any = importlib.import_module("test._test_multiprocessing")
except ImportError as missing:
    pytest.skip(f"this interpreter ships no test package: {missing}", allow_module_level=True)
except unittest.SkipTest as reason:
    pytest.skip(f"its multiprocessing tests cannot run here: {reason}", allow_module_level=True)


def pool_factory(context: Any) -> Callable[..., Pool]:
    """Return what stands in for multiprocessing.Pool: its parameters, our Pool."""

    def make(
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        maxtasksperchild: int | None = None,
    ) -> Pool:
        return Pool(processes, initializer, initargs, maxtasksperchild, context)

    return make


class _Patched:
    """Puts our Pool where the tests look for theirs."""

    Pool: Callable[..., Pool]
    addClassCleanup: Callable[..., None]  # noqa: N815  # unittest's

    @classmethod
    def setUpClass(cls) -> None:
        patch = pytest.MonkeyPatch()
        patch.setattr(multiprocessing, "Pool", cls.Pool)  # some tests call that one
        # Their semaphores start a tracker process, which must not count as left behind.
        cls.addClassCleanup(vars(ResourceTracker)["_stop"], tracker)
        cls.addClassCleanup(shutdown)  # idle workers of other tests would keep it alive
        cls.addClassCleanup(patch.undo)
        above: Any = super()
        above.setUpClass()


def _with_workers_up(test: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a test whose pools have all their workers before it goes on.

    It is about an item that runs while another one fails. Theirs queues all items at once; ours
    begins none behind a failure, and on a busy machine the second worker may come after it.
    """

    def run(self: Any) -> None:
        make = self.Pool

        def full(processes: int) -> Pool:
            pool: Pool = make(processes)
            row: list[tuple[()]] = [()] * 8
            until(lambda: len(set(pool.starmap(os.getpid, row, chunksize=1))) == processes)
            return pool

        self.Pool = full
        try:
            test(self)
        finally:
            del self.Pool

    return run


def _install() -> None:
    for method in START_METHODS:
        make = pool_factory(multiprocessing.get_context(method))
        for name in CLASSES:
            base = getattr(theirs, name)
            members: dict[str, object] = {
                "__module__": __name__,
                "Pool": staticmethod(make),
            }
            if hasattr(base, "test_map_no_failfast"):
                members["test_map_no_failfast"] = _with_workers_up(base.test_map_no_failfast)
            title = f"Test{name.removeprefix('_Test')}_{method}"
            globals()[title] = type(
                title, (_Patched, base, theirs.ProcessesMixin, unittest.TestCase), members
            )
    globals()["TestPool_threads"] = type(
        "TestPool_threads",
        (_Patched, theirs._TestPool, theirs.ThreadsMixin, unittest.TestCase),
        {"__module__": __name__, "Pool": staticmethod(ThreadPool)},
    )


_install()
