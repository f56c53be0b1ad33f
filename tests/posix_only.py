"""What is not tried on Windows, and what stands in for it there: a plugin of pytest.

One table of files and one of tests, so that the tests themselves say nothing of Windows. Where the
first word of a reason is a path, the tests in that file are of the same thing on Windows.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

_ON_WINDOWS: Final = sys.platform == "win32"
_TESTS: Final = Path(__file__).parent

_ENDS: Final = "tests/windows/test_windows.py has the ends of programs on Windows"
_TERMINALS: Final = "pseudo-terminals are of POSIX; no stand-in"
_TRIO: Final = "trio does not run under this Wine; asyncio has the same tests"
_FORKS: Final = "forks are of POSIX; spawn is the one start method of Windows"
_SIGNALS: Final = "tests/windows/test_windows.py has what Windows has instead: Ctrl-Break"
_SEGMENTS: Final = "large buffers travel through the socket on Windows: tests/contract has these"

# Files whose tests are of POSIX, with the reason.
FILES: Final = {
    "process/test_repl.py": _TERMINALS,
    "process/test_progress.py": _TERMINALS,
    "process/test_interrupts.py": _SIGNALS,
    "process/test_ends.py": _ENDS,
    "process/test_segments_and_forks.py": _FORKS,
    "process/test_large.py": _SEGMENTS,
    "process/test_large_memory.py": _SEGMENTS,
    "process/test_large_results.py": _SEGMENTS,
    "process/test_containers.py": "containers are of Linux; no stand-in",
    "process/test_poor_machines.py": "these limits are of POSIX; no stand-in",
}
_DESCRIPTORS: Final = "a socket is no descriptor on Windows, so no item meets it by its number"
# Parts of the names of tests, with the reason.
NAMES: Final = {
    "test_costs_itself_at_most[spawn-closes all descriptors]": _DESCRIPTORS,
    "test_costs_itself_at_most[spawn-closes our descriptors]": _DESCRIPTORS,
    "test_costs_itself_at_most[spawn-takes our descriptors]": _DESCRIPTORS,
    "test_costs_itself_at_most[spawn-writes ": _DESCRIPTORS,
    "test_costs_itself_at_most[spawn-forks ": _FORKS,
    "test_costs_itself_at_most[spawn-daemonises itself]": _FORKS,
    "test_costs_itself_at_most[spawn-ignores SIGCHLD]": _SIGNALS,
    "test_costs_itself_at_most[spawn-blocks signals": _SIGNALS,
    "test_costs_itself_at_most[spawn-stops itself]": _SIGNALS,
    "test_costs_itself_at_most[spawn-sets a timer]": _SIGNALS,
    "test_costs_itself_at_most[spawn-leaves its ": "sessions are of POSIX: jobs stand in",
    "test_no_descriptors_left_to_open": _DESCRIPTORS,
    "test_the_template_is_killed_by_an_item": _FORKS,
}


class _Skipped(pytest.Module):
    """A file of tests that is not even imported here."""

    reason = ""

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        pytest.skip(self.reason, allow_module_level=True)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Skip a file of the table."""
    if not _ON_WINDOWS or _TESTS not in module_path.parents:
        return None
    reason = FILES.get(module_path.relative_to(_TESTS).as_posix())
    if reason is None:
        return None
    make: Callable[..., _Skipped] = getattr(_Skipped, "from_parent")  # noqa: B009  # partly typed
    module = make(parent, path=module_path)
    module.reason = reason
    return module


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip a test of the table."""
    for item in items if _ON_WINDOWS else []:
        for name, reason in NAMES.items():
            if item.name.startswith(name):
                item.add_marker(pytest.mark.skip(reason=reason))
    on_trio = [item for item in items if "trio" in item.name] if _ON_WINDOWS else []
    if on_trio and not _trio_runs():
        for item in on_trio:
            item.add_marker(pytest.mark.skip(reason=_TRIO))


def _trio_runs() -> bool:
    """Return whether trio's loop can begin: it needs what Wine 8 does not have."""
    import trio

    try:
        trio.run(trio.sleep, 0)
    except OSError:
        return False
    return True
