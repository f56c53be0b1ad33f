"""What every test gets: a check that nothing is left behind, and an end to every hang.

**Leaks.** After each test the processes that this run has started, its threads and its descriptors
are those from before it, except what the library's warm shared pools hold, which are meant to live
on. After each module these pools are ended, and then nothing at all may be left. What one test left
is that test's failure; later ones are not asked for it again.

**Hangs.** `tests.deadline` fails a test that does not end, and nothing else.

**Signals** that whoever started this run has had ignored (a background job, ``nohup``) are heard.

**Options of the interpreter** that this run has, from its environment or by pytest-xdist (``-u``),
are not those of the programs that tests start.
"""

import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import pytest
from hypothesis import HealthCheck, settings
from tests import deadline, posix_only, windows_processes
from tests.backends import BACKENDS, START_METHODS, Settings
from tests.leaks import (
    Leftovers,
    end_interpreters,
    end_shared_pools,
    excuse,
    show_pools,
    start_afresh,
)
from tests.processes import RUN

from pmap._backends.start_method import default_start_method
from pmap._engine import leadership as _leadership

if TYPE_CHECKING:
    from pmap._types import StartMethod


TESTS: Final = Path(__file__).parent
LAWS: Final = {"contract", "property"}  # folders that hold the laws
# Whole simulated worlds, and each law once more for each kind of memory.
LONG: Final = {
    "test_scheduler_machine.py",
    "test_invariants.py",
    "test_makespan.py",
    "test_memory_laws.py",
}
QUICK: Final = default_start_method()  # what `-m quick` runs on: what users run on

# How long an example takes says nothing on a busy machine, where a test may stand still for longer
# than Hypothesis allows one (0.2 s).
settings.register_profile("pmap", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pmap")
# What Python takes for its options; `test_workers_have_the_options_of_the_interpreter` failed where
# the first was set.
OPTIONS: Final = [
    *("PYTHONUNBUFFERED", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONDEBUG", "PYTHONVERBOSE"),
    *("PYTHONDEVMODE", "PYTHONINSPECT", "PYTHONUTF8", "PYTHONSAFEPATH", "PYTHONNOUSERSITE"),
    *("PYTHONBREAKPOINT", "PYTHONHASHSEED", "PYTHONTRACEMALLOC", "PYTHONNODEBUGRANGES"),
]


def pytest_configure(config: pytest.Config) -> None:
    """Let forks be forks, processes be known as ours, and signals be signals."""
    # The start method "fork" is tested here, and pytest's own helpers have threads.
    config.addinivalue_line(
        "filterwarnings", "ignore:.*multi-threaded, use of fork:DeprecationWarning"
    )
    config.addinivalue_line("markers", "quick: units, and the laws on one start method")
    config.addinivalue_line("markers", "engines: engines of other libraries: nox -s engines")
    config.pluginmanager.register(deadline)
    config.pluginmanager.register(posix_only)
    if sys.platform == "win32":
        windows_processes.enter_job()
    os.environ[RUN] = f"{os.getpid()}-{os.urandom(8).hex()}"
    _hear_signals()
    for option in OPTIONS:
        os.environ.pop(option, None)
    for stream in (sys.__stdout__, sys.__stderr__):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(write_through=False)  # by which pmap knows -u


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is quick: units, and the laws on one start method. Put type checkers first.

    They take longest of all that one process does: others can run all else meanwhile.
    """
    items.sort(key=lambda item: item.path.name != "test_types.py")
    for item in items:
        if TESTS not in item.path.parents:  # of a run that a test makes
            continue
        folder = item.path.relative_to(TESTS).parts[0]
        if folder == "unit" or (folder in LAWS and item.path.name not in LONG and _is_first(item)):
            item.add_marker("quick")


def pytest_collection_finish() -> None:
    """Spare each later collection of garbage what lasts as long as the run: all tests and modules.

    Tests collect garbage often, and each time it took 0.1 s to look at these.
    """
    gc.collect()
    gc.freeze()


def _is_first(item: pytest.Item) -> bool:
    """Return whether a test runs on no backend that it runs on others besides, or on the first."""
    parameters: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    others = {*START_METHODS, *(settings.name for settings in BACKENDS)} - {QUICK}
    names = [value.name if isinstance(value, Settings) else value for value in parameters.values()]
    return not any(isinstance(name, str) and name in others for name in names)


def _hear_signals() -> None:
    """Ignore no signal that a test sends: programs that it starts would ignore it as well.

    A handler is not inherited by another program, which then has the default.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _pay_no_heed)


def _pay_no_heed(number: int, frame: object) -> None:
    """Do nothing, as is wanted of this very process."""


def start_tracker() -> None:
    """Start the process with which multiprocessing watches shared memory, if that is in use.

    A pool would start it, for its workers, and it lives as long as the program.
    """
    if "multiprocessing.shared_memory" in sys.modules and os.name == "posix":
        resource_tracker.ensure_running()


@pytest.fixture(scope="module", autouse=True)
def nothing_left_after_the_module() -> Iterator[None]:
    """End the shared pools after each module; then nothing may be left of it."""
    start_tracker()
    before = Leftovers.now()
    yield
    try:
        end_shared_pools()
    except BaseException:  # it took too long, or it failed
        start_afresh()
        raise
    left = before.left(warm=False)
    if left:
        pools = show_pools()
        excuse(before)
        pytest.fail(f"left after the module: {left}; pools: {pools}")


@pytest.fixture
def starts_processes() -> bool:
    """Whether a test may start processes; a folder of tests that may not says so."""
    return True


@pytest.fixture(autouse=True)
def nothing_left(
    nothing_left_after_the_module: None,
    starts_processes: bool,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """Check that a test leaves nothing but warm shared pools."""
    # Seconds for which memory is kept, which each test with large values would wait for.
    monkeypatch.setattr(_leadership, "_WARM", 0.05)
    if starts_processes:
        start_tracker()
    before = Leftovers.now(starts_processes)
    yield
    end_interpreters()
    item = request.node
    assert isinstance(item, pytest.Item)
    if deadline.was_late(item):
        start_afresh()  # it has failed, and its leftovers are not its fault
        return
    left = before.left(warm=True)
    if left:
        pools = show_pools()
        excuse(before)
        pytest.fail(f"left after the test: {left}; pools: {pools}")


@pytest.fixture(params=START_METHODS)
def start_method(request: pytest.FixtureRequest) -> "StartMethod":
    """Each way a worker process can begin."""
    return cast("StartMethod", request.param)


@pytest.fixture(params=BACKENDS, ids=lambda settings: settings.name)
def backend(request: pytest.FixtureRequest) -> Settings:
    """Each backend; processes with each start method."""
    assert isinstance(request.param, Settings)
    return request.param
