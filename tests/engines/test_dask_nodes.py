"""Workers of a Dask cluster that come, go and are killed during a call: ``nox -s engines``."""

import os
import signal
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
from tests.engines.places import Place, recipe
from tests.files import mark, marks
from tests.limits import TIME_LIMIT, seconds, until

from pmap import Failure, WorkerLost, pmap

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("default")]
PLACES: Final[list[Place]] = []


@contextmanager
def cluster_of(workers: int, **config: object) -> Generator[tuple[Any, Any, Any]]:
    """Start a cluster of workers with one thread each; yield it, its client, and the engine."""
    distributed: Any = import_module("distributed")
    dask: Any = import_module("dask")
    changed = {f"distributed.scheduler.{name}": value for name, value in config.items()}
    with (
        dask.config.set(changed),
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield cluster, client, recipe("dask")["DaskEngine"](client)


def step(folder: str, x: int) -> int:
    """Note the process that this item runs in."""
    mark(folder, f"{x}:{os.getpid()}")
    time.sleep(0.05)
    return x


def pids_in(folder: Path, since: int = 0) -> set[str]:
    return {entry.partition(":")[2] for entry in marks(folder)[since:]}


def test_workers_that_come_are_used_and_those_that_go_cost_nothing(tmp_path: Path) -> None:
    phase = 0
    since = 0

    def numbers() -> Iterator[int]:
        x = 0
        until = time.monotonic() + TIME_LIMIT
        while phase < 3 and time.monotonic() < until:
            yield x
            x += 1

    with cluster_of(1) as (cluster, client, engine):
        verb = pmap.using(backend=engine, retries=1, chunksize=1, buffersize=8)
        taken: list[int] = []
        with verb.iter(partial(step, str(tmp_path)), numbers()) as stream:
            for x in stream:
                taken.append(x)
                if phase == 0 and len(taken) == 3:
                    assert len(pids_in(tmp_path)) == 1
                    cluster.scale(3)
                    phase = 1
                elif phase == 1 and len(pids_in(tmp_path)) == 3:
                    cluster.scale(1)
                    client.wait_for_workers(1)
                    since = len(marks(tmp_path))
                    phase = 2
                elif phase == 2 and len(marks(tmp_path)) > since + 30:
                    phase = 3
        assert taken == [*range(len(taken))]
        assert phase == 3
        assert len(pids_in(tmp_path, since + 20)) < 3


def hold(folder: str, x: int) -> int:
    """Run until the test says so."""
    mark(folder, f"{x}:{os.getpid()}")
    until((Path(folder) / "go").exists, "the word")
    return x


def killed_during(engine: Any, client: Any, folder: Path, **options: Any) -> list[Any]:
    """Return the results of a call during which one of two Dask workers is killed."""
    verb = pmap.using(backend=engine, processes=2, chunksize=2, **options).collecting
    later = verb.async_(partial(hold, str(folder)), range(12))
    until(lambda: len(pids_in(folder)) == 2, "both workers being busy")
    begun = pids_in(folder)
    victim = next(iter(client.run(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    # Its inner worker ends with it, though its item waits.
    until(lambda: any(not Path("/proc", pid).exists() for pid in begun), "the end of an item")
    (folder / "go").touch()
    return later.get(seconds(60))


def test_a_worker_that_is_killed_costs_a_chunk_at_most(tmp_path: Path) -> None:
    # Else Dask itself would run the chunk again.
    with cluster_of(2, **{"allowed-failures": 0}) as (_, client, engine):
        (tmp_path / "once").mkdir()
        results = killed_during(engine, client, tmp_path / "once")
        lost = [r for r in results if isinstance(r, Failure)]
        assert len(lost) == 2
        assert lost[1].index == lost[0].index + 1
        assert all(isinstance(failure.error, WorkerLost) for failure in lost)
        assert "KilledWorker" in str(lost[0].error)
        assert [r for r in results if r not in lost] == [
            x for x in range(12) if x not in (lost[0].index, lost[1].index)
        ]
        began = Counter(entry.partition(":")[0] for entry in marks(tmp_path / "once"))
        assert {*began.values()} == {1}
        client.wait_for_workers(2)
        (tmp_path / "again").mkdir()
        assert killed_during(engine, client, tmp_path / "again", retries=1) == [*range(12)]


def test_dask_gives_a_chunk_whose_worker_was_killed_to_another(tmp_path: Path) -> None:
    with cluster_of(2) as (_, client, engine):
        (tmp_path / "claimed").mkdir()
        results = killed_during(engine, client, tmp_path / "claimed")
        lost = [r for r in results if isinstance(r, Failure)]
        assert len(lost) == 2
        assert all(isinstance(failure.error, WorkerLost) for failure in lost)
        assert "was not run again" in str(lost[0].error)
        began = Counter(entry.partition(":")[0] for entry in marks(tmp_path / "claimed"))
        assert began.keys() == {str(x) for x in range(12)} - {str(lost[1].index)}
        assert {*began.values()} == {1}
        client.wait_for_workers(2)
        # Without a claim, Dask runs all items of the chunk again.
        (tmp_path / "again").mkdir()
        executor = client.get_executor(pure=False)
        assert killed_during(executor, client, tmp_path / "again") == [*range(12)]


def test_nothing_is_printed_when_the_client_is_a_context_variable(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with cluster_of(1) as (_, _client, engine):
        assert pmap(abs, [-1, 2], backend=engine) == [1, 2]
        assert pmap(abs, [-1, 2], processes=1) == [1, 2]
    assert capfd.readouterr() == ("", "")
