"""Where no inner worker can be started, items run in the engine's own worker, with a warning."""

import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.engines.test_options import Noting
from tests.files import mark, marks
from tests.items import square
from tests.limits import seconds

from pmap import WorkerStartError, pmap
from pmap._api import node
from pmap._backends.engine import wire

if TYPE_CHECKING:
    from pmap import Options
    from pmap._engine.driver import Driver

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits of another process, and /proc")
REASON = "this machine has no process left"


def take_descriptors(pid: int = 0) -> None:
    """Let a process open no more files, or this one one more: neither can start a process."""
    import resource

    taken = {*map(int, os.listdir(f"/proc/{pid or 'self'}/fd"))}
    # The listing itself has taken the lowest free descriptor, if the process is this one.
    most = min({*range(1024)} - taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture
def poor() -> Iterator[ProcessPoolExecutor]:
    """An executor whose worker cannot start a process."""
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=take_descriptors) as executor:
        yield executor


def noted(folder: str, x: int) -> int:
    """Note that the item begins; return the process that it runs in."""
    mark(folder, x)
    return os.getpid()


@LINUX
def test_items_run_in_the_engines_worker(poor: ProcessPoolExecutor, tmp_path: Path) -> None:
    worker = poor.submit(os.getpid).result()
    verb = pmap.using(backend=poor, chunksize=2)
    with pytest.warns(RuntimeWarning) as caught:
        assert verb(partial(noted, str(tmp_path)), range(8)) == [worker] * 8
    (warning,) = caught
    assert f"can be started on {socket.gethostname()}: " in str(warning.message)
    assert "Too many open files" in str(warning.message)
    assert sorted(marks(tmp_path)) == [*map(str, range(8))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert verb(square, range(5)) == [0, 1, 4, 9, 16], "the program knows this machine"


@LINUX
def test_what_needs_an_inner_worker_is_an_error(poor: ProcessPoolExecutor, tmp_path: Path) -> None:
    item = partial(noted, str(tmp_path))
    with pytest.raises(WorkerStartError, match=rf"on {socket.gethostname()}.*open files"):
        pmap(item, range(3), backend=poor, timeout=seconds(60))
    assert not marks(tmp_path)


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[wire.InnerOptions]:
    """Let no inner worker start in this process; note for each try what was wanted."""
    noted: list[wire.InnerOptions] = []

    def refuse(inner: wire.InnerOptions) -> "Driver":
        noted.append(inner)
        raise WorkerStartError(1, REASON)

    monkeypatch.setattr(node, "_new_driver", refuse)
    monkeypatch.setattr(node, "_free", {})
    return noted


def test_each_host_is_named_once(
    tries: list[wire.InnerOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Noting()
    named: list[str] = []
    for host in ("one", "two", "one", "two"):
        monkeypatch.setattr(wire, "host_name", partial(str, host))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert pmap(square, range(4), backend=engine, chunksize=1) == [0, 1, 4, 9]
        named += [str(one.message).partition(" on ")[2].partition(":")[0] for one in caught]
    assert named == ["one", "two"]


@pytest.mark.filterwarnings("ignore:no worker process:RuntimeWarning")
def test_a_call_tries_once_and_the_next_one_again(tries: list[wire.InnerOptions]) -> None:
    verb = pmap.using(backend=Noting(), processes=1, chunksize=1)
    for count in (1, 2):
        assert verb(square, range(4)) == [0, 1, 4, 9]
        assert len(tries) == count


NEEDING: "list[Options]" = [
    {"inner_worker": True},
    {"timeout": 60},
    {"isolate": True},
    {"initializer": abs, "initargs": (1,)},
    {"max_tasks_per_child": 5},
    {"max_memory_per_child": "1 GB"},
    {"max_memory_per_child": "1 GB", "kill_over_memory": True},
    {"threads_per_worker": 1},
    {"start_method": "spawn"},
]


@pytest.mark.parametrize("options", NEEDING, ids=lambda options: ", ".join(options))
def test_these_options_need_an_inner_worker(
    options: "Options", tries: list[wire.InnerOptions]
) -> None:
    with pytest.raises(WorkerStartError, match=REASON):
        pmap.using(backend=Noting())(abs, [1], **options)


def ruin(folder: str, x: int) -> int:
    """Note that the item begins; one of them ends, and with it what could start another worker."""
    mark(folder, x)
    if x == 1:
        take_descriptors(int(Path(folder, "engine").read_text()))
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@LINUX
def test_a_chunk_that_has_begun_does_not_begin_again(tmp_path: Path) -> None:
    folder = tmp_path / "items"
    folder.mkdir()
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        engine = executor.submit(os.getpid).result()
        (folder / "engine").write_text(str(engine))
        verb = pmap.using(backend=executor, processes=1, chunksize=4).collecting
        with pytest.raises(WorkerStartError, match="open files"):
            verb(partial(ruin, str(folder)), range(4))
    assert marks(folder) == ["0", "1"]
