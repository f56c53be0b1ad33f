"""What an item does to its process, to the library in it and to the machine, row by row.

Each row is run over every start method, by two workers that all rows share: what one row leaves in
a worker, the next ones meet. An item that does harm loses itself at worst; the others have their
results, and so has the next call. Ways for an item to *end* are in test_crash_table.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from traceback import format_exception
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest
from tests.helpers import START_METHODS, MaybeEncodingError, square
from tests.process.fault_items import OddText, act_at

from pmap import Failure, Pool, TaskTimeout, WorkerLost, pmap

if TYPE_CHECKING:
    from pmap._types import StartMethod

pytestmark = pytest.mark.timeout(60)

ITEMS: Final = 8
BAD: Final = 2  # with others before it and behind it in its chunk
LIMIT: Final = 0.3  # seconds that an item may run which would run for ever


@dataclass(frozen=True)
class Row:
    """Something that an item does (see `fault_items.ACTS`), and what must come of it.

    `error` is None if the item has its result all the same; `after` is what became of its worker.
    """

    name: str
    error: type[Exception] | None
    says: str
    after: Literal["stays", "is replaced"]
    timeout: float | None = None
    chunksize: int = 4


def harmless(name: str) -> Row:
    """Return the row of what hurts nobody."""
    return Row(name, None, "", "stays")


def wrote(what: str) -> Row:
    """Return the row of what gets between our messages."""
    # With others in its chunk it could as well be the next one that is lost.
    return Row(f"writes {what} to us", WorkerLost, "its connection", "is replaced", chunksize=1)


ROWS: Final = [
    Row("closes all descriptors", WorkerLost, "", "is replaced", chunksize=1),
    Row("closes our descriptors", WorkerLost, "", "is replaced", chunksize=1),
    harmless("forks and returns twice"),
    harmless("forks and raises there"),
    Row("daemonises itself", WorkerLost, "exited with code 0", "is replaced"),
    harmless("ignores SIGCHLD"),
    harmless("blocks signals"),
    Row("blocks signals and stays", TaskTimeout, "0.3 s", "is replaced", LIMIT),
    Row("stops itself", TaskTimeout, "0.3 s", "is replaced", LIMIT),
    Row("prints without end", TaskTimeout, "0.3 s", "is replaced", LIMIT),
    harmless("reads stdin"),
    Row("lowers the recursion limit", None, "", "stays", chunksize=1),  # a chunk is its own risk
    harmless("leaves threads"),
    harmless("closes stdout"),
    harmless("replaces stdout"),
    harmless("changes pickle"),
    harmless("changes the rest"),
    harmless("deletes the temporary directory"),
    Row("leaves its session", PermissionError, "not permitted", "stays"),
    Row("leaves its group", PermissionError, "not permitted", "stays"),
    Row("sets a timer", WorkerLost, "SIGALRM", "is replaced"),
    harmless("leaves no descriptors"),
    Row("result exits when pickled", WorkerLost, "exited with code 8", "is replaced"),
    Row("result leaves when pickled", MaybeEncodingError, "SystemExit", "stays"),
    Row("error without a text", OddText, "", "stays"),
    Row("takes our descriptors", WorkerLost, "its connection", "is replaced", chunksize=1),
    wrote("text"),
    wrote("one byte"),
    wrote("zeros"),
    wrote("a length"),
]


@pytest.fixture(params=START_METHODS, scope="module")
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """Two workers, for all rows."""
    with new_pool(request.param) as pool:
        yield pool


def new_pool(method: "StartMethod | None", workers: int = 2) -> Pool:
    """Return a pool of workers."""
    context: Any = get_context(method)
    return Pool(workers, context=context)


def pids_of(pool: Pool) -> set[int]:
    """Return the ids of a pool's workers."""
    return set(vars(pool)["_driver"].backend.pids())


def check_works(pool: Pool) -> None:
    """Check that a pool gives right results."""
    assert pool.map(square, range(40), chunksize=1) == [x * x for x in range(40)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_costs_itself_at_most(pool: Pool, row: Row) -> None:
    check_works(pool)
    before = pids_of(pool)
    answers = pmap.using(pool=pool).collecting(
        partial(act_at, row.name, BAD),
        range(ITEMS),
        chunksize=row.chunksize,
        timeout=row.timeout,
    )
    assert len(answers) == ITEMS
    answer = answers.pop(BAD)
    assert answers == [x * x for x in range(ITEMS) if x != BAD]
    if row.error is None:
        assert answer == BAD * BAD
    else:
        assert isinstance(answer, Failure)
        assert isinstance(answer.error, row.error)
        text = "".join(format_exception(answer.error))
        assert row.says in text
        assert f"item {BAD}" in text
    check_works(pool)
    assert ("stays" if before <= pids_of(pool) else "is replaced") == row.after


def recursion_limit(_: int) -> int:
    """Return how deep an item may recurse."""
    return sys.getrecursionlimit()


def test_the_recursion_limit_is_put_back() -> None:
    with new_pool(None, workers=1) as pool:
        before = pool.map(recursion_limit, range(2))
        assert pool.map(partial(act_at, "lowers the recursion limit", 0), range(1)) == [0]
        assert pool.map(recursion_limit, range(2)) == before
