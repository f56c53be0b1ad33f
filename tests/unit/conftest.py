"""A unit test starts no process: it says so at once, with the stack of who would have.

What one leaves behind is looked for once after each module, as that takes as long as many of them.
"""

import sys
from collections.abc import Iterator

import pytest

_STARTS = frozenset({"os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "subprocess.Popen"})
_forbidden: list[str] = []  # the test that runs, if it is one of these


# It is called to the very end, when this module has nothing any more.
def _watch(
    event: str,
    _: tuple[object, ...],
    starts: frozenset[str] = _STARTS,
    forbidden: list[str] = _forbidden,
) -> None:
    if event in starts and forbidden:
        raise AssertionError(f"{event} in {forbidden[0]}: a unit test starts no process")


sys.addaudithook(_watch)  # there is no way to take it away: it looks at the list


@pytest.fixture(autouse=True)
def no_processes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let an attempt to start a process fail the test."""
    _forbidden.append(request.node.name)
    yield
    _forbidden.clear()


@pytest.fixture
def starts_processes() -> bool:
    """No unit test does: see above."""
    return False


@pytest.fixture(autouse=True)
def nothing_left(nothing_left_after_the_module: None) -> None:
    """Leave the check to the module's: see above."""
