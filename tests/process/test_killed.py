"""Workers and templates that are killed from outside, at rest and at work."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.acts import perform_and_wait
from tests.backends import START_METHODS
from tests.files import marks
from tests.items import square, wait_and_square
from tests.limits import TIME_LIMIT, until
from tests.process.crash_items import ITEMS, backend_of, new_pool, warm
from tests.processes import lives, pids_of
from tests.signals import KILL, ended_by

from pmap import Failure, Pool, WorkerLost, pmap
from pmap._backends import template_client


@pytest.fixture(params=START_METHODS)
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    """A pool of two that nobody else uses."""
    with new_pool(request.param) as pool:
        yield pool


# --- workers killed from outside ---------------------------------------------------------------


def kill(pids: set[int], number: int = KILL) -> None:
    """Kill processes."""
    for pid in pids:
        os.kill(pid, number)


@pytest.mark.parametrize("number", sorted({KILL, signal.SIGTERM}), ids=lambda n: n.name)
@pytest.mark.parametrize("wait", [True, False], ids=["dead", "dying"])
def test_idle_workers_killed(pool: Pool, tmp_path: Path, number: int, wait: bool) -> None:
    pids = warm(pool, tmp_path)
    kill(pids, number)
    if wait:
        until(lambda: not any(map(lives, pids)), "their deaths")
        assert pool.map(square, range(20)) == [x * x for x in range(20)]
        assert pids.isdisjoint(pids_of(backend_of(pool)))
    else:
        # They may die with the new work in hand, which is then lost as in any death: but only so
        # many items as there were workers, and nothing hangs.
        answers = pmap.using(pool=pool).collecting(square, range(20), chunksize=1)
        failed = [answer for answer in answers if isinstance(answer, Failure)]
        assert all(isinstance(failure.error, WorkerLost) for failure in failed)
        assert len(failed) <= 2
        good = [answer for answer in answers if not isinstance(answer, Failure)]
        assert set(good) <= {x * x for x in range(20)}
        assert pool.map(square, range(20)) == [x * x for x in range(20)]


def test_all_workers_killed_at_work(pool: Pool, tmp_path: Path) -> None:
    pids = warm(pool, tmp_path)
    folder = tmp_path / "map"
    folder.mkdir()
    waiting = (0, 1)
    later = pmap.using(pool=pool).collecting.async_(
        partial(perform_and_wait, str(folder)),
        [(index, "wait" if index in waiting else None) for index in range(ITEMS)],
        chunksize=1,
    )
    until(lambda: len(marks(folder)) == 2, "both workers' beginning")
    kill(pids)
    answers = later.get(TIME_LIMIT)
    for index in waiting:
        failure = answers[index]
        assert isinstance(failure, Failure)
        assert isinstance(failure.error, WorkerLost)
        assert failure.error.exitcode == ended_by(KILL)
        assert failure.error.pid in pids
    assert answers[2:] == [index * index for index in range(2, ITEMS)]
    assert sorted(map(int, marks(folder))) == list(range(ITEMS))
    assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]


def test_a_stopped_worker_can_be_terminated(pool: Pool, tmp_path: Path) -> None:
    pids = warm(pool, tmp_path)
    kill(pids, signal.SIGSTOP)
    pool.terminate()
    assert not any(map(lives, pids))


# --- the template ------------------------------------------------------------------------------


@pytest.fixture
def templated() -> Iterator[Pool]:
    """A pool of two workers that a template forks."""
    with new_pool("forkserver") as pool:
        yield pool


def template_of(pool: Pool) -> int:
    """Return the template's process id."""
    pid = backend_of(pool)._starter.template._process.pid
    assert isinstance(pid, int)
    return pid


def test_template_killed_at_rest(templated: Pool, tmp_path: Path) -> None:
    warm(templated, tmp_path)
    template = template_of(templated)
    kill({template})
    until(lambda: not lives(template), "the template's death")
    assert templated.map(square, range(20)) == [x * x for x in range(20)]
    with pytest.raises(WorkerLost):
        templated.apply(os._exit, (3,))
    assert templated.map(square, range(20)) == [x * x for x in range(20)]


def not_heard(template: template_client.Template, message: object) -> None:
    """Take no notice of what a template reports."""


def test_template_killed_before_it_could_report_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is as if it had been killed right behind the fork: what it says of it is not heard.
    monkeypatch.setattr(template_client.Template, "_report", not_heard)
    go = tmp_path / "go"
    with new_pool("forkserver") as pool:
        later = pool.map_async(
            partial(wait_and_square, str(tmp_path), str(go)), range(8), chunksize=1
        )
        until(lambda: len(marks(tmp_path)) == 2, "two items beginning")
        template = template_of(pool)
        kill({template})
        until(lambda: backend_of(pool)._starter.template is None, "the loss of the template")
        go.touch()
        # Its workers are as good as others, and what they run is not begun a second time.
        assert later.get(TIME_LIMIT) == [x * x for x in range(8)]
        assert len(marks(tmp_path)) == 8
        pids = pids_of(backend_of(pool))
        assert len(pids) == 2
    until(lambda: not any(map(lives, pids)), "the end of its workers")


def test_template_killed_at_work(templated: Pool, tmp_path: Path) -> None:
    warm(templated, tmp_path)
    go = tmp_path / "go"
    later = templated.map_async(
        partial(wait_and_square, str(tmp_path), str(go)), range(ITEMS), chunksize=1
    )
    until(lambda: len(marks(tmp_path)) == 4, "both workers' beginning")
    template = template_of(templated)
    kill({template})
    until(lambda: not lives(template), "the template's death")
    go.touch()
    assert later.get(TIME_LIMIT) == [x * x for x in range(ITEMS)]


def test_template_and_workers_killed_at_work(templated: Pool, tmp_path: Path) -> None:
    pids = warm(templated, tmp_path)
    folder = tmp_path / "map"
    folder.mkdir()
    later = pmap.using(pool=templated).collecting.async_(
        partial(perform_and_wait, str(folder)),
        [(index, "wait" if index < 2 else None) for index in range(ITEMS)],
        chunksize=1,
    )
    until(lambda: len(marks(folder)) == 2, "both workers' beginning")
    kill({template_of(templated)} | pids)
    answers = later.get(TIME_LIMIT)
    assert [type(answer) for answer in answers[:2]] == [Failure, Failure]
    assert answers[2:] == [index * index for index in range(2, ITEMS)]
    assert sorted(map(int, marks(folder))) == list(range(ITEMS))


def test_template_killed_before_its_first_worker(templated: Pool) -> None:
    kill({template_of(templated)})
    assert templated.map(square, range(5)) == [0, 1, 4, 9, 16]
