"""CPython's own tests of ProcessPoolExecutor, run on our Executor.

They are taken from the interpreter that runs this, so each version is judged by its own tests. They
sleep much. So a usual run leaves out the slowest, and has one start method; ``PMAP_ALL_FUTURES=1``
(`nox -s futures`) runs all of them on each.
"""

import gc
import importlib
import os
import unittest
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import forkserver
from multiprocessing.resource_tracker import ResourceTracker
from multiprocessing.resource_tracker import _resource_tracker as tracker
from types import ModuleType
from typing import Any, Final

import pytest
from tests.backends import START_METHODS

from pmap import Executor

PACKAGE: Final = "test.test_concurrent_futures"
# Tests that read what is private to the standard library's executor, or patch it.
LEFT_OUT: Final = {
    "test_killed_child": "reads _processes; and that the executor breaks, which ours does not",
    "test_saturation": "reads _processes",
    "test_idle_process_reuse_one": "reads _processes",
    "test_idle_process_reuse_multiple": "reads _processes",
    "test_max_tasks_per_child": "reads _processes; and ours has it with fork, too",
    "test_max_tasks_per_child_defaults_to_spawn_context": "reads _mp_context",
    "test_processes_terminate": "reads _processes",
    "test_context_manager_shutdown": "reads _processes",
    "test_del_shutdown": "reads _processes and _executor_manager_thread",
    "test_shutdown_no_wait": "reads _processes and _executor_manager_thread",
    "test_shutdown_deadlock_pickle": "reads _executor_manager_thread",
    "test_gh105829_should_not_deadlock_if_wakeup_pipe_full": "patches _ExecutorManagerThread",
    "test_python_finalization_error": "patches the start of the second thread: ours has one",
    "test_force_shutdown_workers": "reads _processes",
    "test_force_shutdown_workers_stops_pool": "reads _processes",
    "test_force_shutdown_workers_invalid_op": "calls _force_shutdown",
    # From Python 3.14 on.
    "test_broken_process_pool_traceback": "reads _processes",
    "test_failed_worker_replacement_breaks_pool": "reads _executor_manager_thread",
    "test_force_shutdown_during_max_tasks_worker_exit": "reads _executor_manager_thread",
    "test_gc_during_max_tasks_worker_exit_gh152967": "reads _executor_manager_thread",
    "test_shutdown_no_wait_max_tasks_gh119592": "reads _executor_manager_thread",
    "test_kill_workers": "patches _force_shutdown",
    "test_terminate_workers": "patches _force_shutdown",
    # From Python 3.15 on.
    "test_traceback_when_child_process_terminates_abruptly": "wants a _RemoteTraceback as cause",
}
# Of two seconds or more each.
SLOW: Final = {
    "test_map_timeout",
    "test_first_exception",
    "test_first_exception_one_already_failed",
    "test_duplicate_futures",
    "test_20369",
}
ALL: Final = bool(os.environ.get("PMAP_ALL_FUTURES"))
METHODS: Final = START_METHODS if ALL else ("forkserver",)
MODULES: Final = ("", "as_completed", "deadlock", "init", "process_pool", "shutdown", "wait")


def found(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
    except unittest.SkipTest:
        return None


theirs: Final[list[Any]] = [
    module
    for name in MODULES
    if (module := found(f"{PACKAGE}.test_{name}" if name else PACKAGE)) is not None
]
if not any(hasattr(module, "ExecutorMixin") for module in theirs):
    pytest.skip("this interpreter ships no such tests, or cannot run them", allow_module_level=True)


class _Patched:
    """What stands in for their mixins: our Executor, and its name in their scripts."""

    executor_type = Executor
    module: ModuleType
    addClassCleanup: Callable[..., None]  # noqa: N815  # unittest's
    addCleanup: Callable[..., None]  # noqa: N815

    @classmethod
    def setUpClass(cls) -> None:
        patch = pytest.MonkeyPatch()
        for module in theirs:
            if hasattr(module, "assert_python_ok"):
                patch.setattr(module, "assert_python_ok", _with_ours(module.assert_python_ok))
        # Their semaphores start a tracker process, which must not count as left behind.
        tracker.ensure_running()
        cls.addClassCleanup(vars(ResourceTracker)["_stop"], tracker)
        cls.addClassCleanup(patch.undo)
        above: Any = super()
        above.setUpClass()

    def setUp(self) -> None:
        # Their managers start the server process of multiprocessing, which is not one of ours.
        self.addCleanup(getattr(forkserver.ForkServer, "_stop"), forkserver._forkserver)  # noqa: B009
        above: Any = super()
        above.setUp()

    def tearDown(self) -> None:
        above: Any = super()
        above.tearDown()
        if vars(self).pop("log_queue", None) is not None:
            vars(self).pop("executor_kwargs")  # or its pipe would live as long as the report
            gc.collect()

    def _assert_logged(self, _: str) -> AbstractContextManager[None]:
        """Look at no log: ours logs no failed initializer. The error that is raised tells of it."""
        return nullcontext()


def _with_ours(run: Callable[..., Any]) -> Callable[..., Any]:
    def assert_python_ok(*args: str) -> Any:
        # One of the scripts does not import what it uses: it is not run on theirs.
        ours = "import multiprocessing; from pmap import Executor"
        return run(
            *[arg.replace("from concurrent.futures import Executor", ours) for arg in args],
            # They run scripts in isolated mode otherwise, which finds no package but installed.
            __isolated=False,
        )

    return assert_python_ok


def _left_out(reason: str) -> Callable[[unittest.TestCase], None]:
    def test(self: unittest.TestCase) -> None:
        self.skipTest(reason)

    return test


def _classes(module: object) -> list[object]:
    return [*vars(module).values()]


def _install() -> None:
    for module in theirs:
        for method in METHODS:
            mixin = f"ProcessPool{method.capitalize()}Mixin"
            for base in _classes(module):
                if not isinstance(base, type) or not issubclass(base, unittest.TestCase):
                    continue
                if mixin not in [one.__name__ for one in base.__mro__]:
                    continue
                members: dict[str, object] = {"__module__": __name__}
                left_out = LEFT_OUT if ALL else LEFT_OUT | dict.fromkeys(SLOW, "takes seconds")
                for test, reason in left_out.items():
                    if hasattr(base, test):
                        members[test] = _left_out(reason)
                title = f"Test{base.__name__}"
                globals()[title] = type(title, (_Patched, base), members)


_install()


def test_a_failing_initializer_leaves_no_semaphore_to_the_tracker() -> None:
    """As their FailingInitializerResourcesTest, which runs such a class of theirs by its name."""
    for method in METHODS:
        title = f"TestProcessPool{method.capitalize()}FailingInitializerTest"
        case: unittest.TestCase = globals()[title]("test_initializer")
        over = unittest.TestResult()
        case.run(over)
        assert over.wasSuccessful(), (over.errors, over.failures)
        assert over.testsRun == 1
        del case
        vars(ResourceTracker)["_stop"](tracker)
        # It says by this whether anything was left to it.
        assert getattr(tracker, "_exitcode", 0) == 0
