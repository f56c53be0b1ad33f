"""`explain` with real workers: what it runs, where, how often, and what it tells."""

import os
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from tests.files import mark, marks
from tests.scripts import environment, finished, run, run_script

import pmap as door
from pmap import Explanation, Map, Pool, papply, pmap, pstarmap, rng, sync
from pmap._explain import explain, machine

two = pmap.using(processes=2)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure for a short time: no figure is looked at here."""
    monkeypatch.setattr(machine, "_BURN", 0.0001)
    monkeypatch.setattr(machine, "_LONG_ENOUGH", 0.002)
    monkeypatch.setattr(machine, "_LONGEST", 0.0)
    monkeypatch.setattr(explain, "_BUDGET", 0.1)


def noted(folder: str, x: int) -> list[int]:
    mark(folder, x)
    return [x] * 10


def gone(_: int) -> None:
    os._exit(3)


# --- what it runs --------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["processes", "threads", "serial"])
def test_each_item_runs_at_most_once(backend: str, tmp_path: Path) -> None:
    verb = two.using(backend=backend)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    found = verb.explain(partial(noted, str(tmp_path)), range(3000), retries=3)
    runs = Counter(marks(tmp_path))
    assert set(runs.values()) == {1}
    assert len(runs) == found.tried >= 3
    assert (found.items, found.backend, found.failed, found.unsent) == (3000, backend, "", "")


def test_nothing_changes_here_and_the_workers_stay_warm() -> None:
    rows = [[n] for n in range(20)]
    seen: list[int] = []

    def change(row: list[int]) -> int:
        row.append(1)
        seen.append(1)
        return os.getpid()

    found = two.explain(change, rows)
    assert found.tried >= 2
    assert rows == [[n] for n in range(20)]
    assert seen == []
    assert two.explain(change, rows).start is None


def test_a_long_first_item_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain, "_LONG", 0.05)
    found = two.explain(time.sleep, [0.1] * 50)
    assert found.tried == 1
    assert found.seconds is not None
    assert found.seconds >= 0.1
    assert found.processes_speedup is not None
    assert found.processes_speedup > 1.5  # a worker that sleeps needs no processor


def test_an_iterator_loses_what_it_says() -> None:
    numbers = iter(range(10**9))
    found = two.explain(abs, (n for n in numbers))
    assert found.consumed == found.tried == next(numbers)
    assert found.items is found.serial is found.processes is found.chunks is None
    assert found.processes_speedup is not None
    assert found.processes_speedup > 0


def test_no_items() -> None:
    found = two.explain(abs, [])
    assert (found.tried, found.seconds, found.verdict) == (0, None, "there are no items")
    assert "none of 0 items" in str(found)


def test_rows_and_several_iterables_and_a_plain_call(tmp_path: Path) -> None:
    for found in (
        pstarmap.using(processes=2).explain(noted, [(str(tmp_path), n) for n in range(3)]),
        two.explain(noted, [str(tmp_path)] * 3, range(3, 6)),
        papply.using(processes=2).explain(noted, str(tmp_path), x=6),
    ):
        assert found.failed == ""
        assert found.tried == found.items
        assert found.bytes_out is not None
        assert found.bytes_out > 20
    assert sorted(marks(tmp_path)) == [*"0123456"]


# --- what it tells -------------------------------------------------------------------------------


def test_what_makes_the_function_large_is_named() -> None:
    table, other = bytes(1 << 20), bytes(1000)
    found = two.explain(lambda n: table[n] + other[n], [1, 2])
    assert found.largest == "<lambda> -> variable 'table'"
    assert found.carried is not None
    assert 1 << 20 < found.carried < 1.01 * (1 << 20)
    bound = two.explain(partial(bytes.startswith, table), [b"a", b"b"])
    assert bound.largest == "partial(bytes.startswith) -> .args -> [0]"
    small = two.explain(abs, [1, 2])
    assert small.largest == ""
    assert small.names == ()


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_bytes_in_and_out(size: int) -> None:
    found = two.explain(lambda data: data[: len(data) // 2], [bytes(size)] * 4)
    assert found.bytes_in is not None
    assert found.bytes_out is not None
    assert size <= found.bytes_in < size + 100
    assert size // 2 <= found.bytes_out < size // 2 + 100


def test_a_function_that_cannot_be_sent_does_not_run(tmp_path: Path) -> None:
    lock = threading.Lock()

    def work(x: int) -> int:
        with lock:
            mark(str(tmp_path), x)
            return x

    found = two.explain(work, range(9))
    assert "(work -> variable 'lock': _thread.lock; make it in the function" in found.unsent
    assert (found.tried, found.carried, marks(tmp_path)) == (0, None, [])
    assert "cannot run it" in found.verdict
    threads = two.explain(work, range(9), backend="threads")
    assert threads.tried == len(marks(tmp_path)) == 9
    assert threads.unsent == found.unsent
    assert threads.threads is not None
    assert threads.processes is None


def test_an_argument_or_a_result_that_cannot_be_sent() -> None:
    argument = two.explain(type, [1, {"a": threading.Lock()}, 3])
    assert "item 1: " in argument.unsent
    assert "(the argument -> ['a']: _thread.lock; " in argument.unsent
    assert argument.tried == 2
    result = two.explain(lambda n: [n, threading.Lock()], [1])
    assert "the result of item 0: " in result.unsent
    assert "(the result -> [1]: _thread.lock; " in result.unsent
    assert "cannot be sent" in str(result)


def test_an_item_that_raises_is_told() -> None:
    found = two.explain(lambda n: 1 / n, [1, 0, 2, 0])
    assert found.failed.startswith("item ")
    assert found.failed.endswith("ZeroDivisionError('division by zero')")
    assert found.failed.split(":")[0] in {"item 1", "item 3"}
    assert found.tried == 4
    assert found.seconds is not None
    nothing = two.explain(lambda n: n / 0, range(3))
    assert "no item returned a result" in nothing.verdict
    assert nothing.failed.startswith("item ")


def test_an_item_that_ends_otherwise_is_told() -> None:
    assert two.explain(gone, [1]).failed == "item 0: the worker process exited with code 3"
    assert two.explain(exit, [4]).failed == "item 0: raised SystemExit(4)"
    late = two.explain(time.sleep, [30], timeout=0.05)
    assert late.failed == "item 0: ran for longer than 0.05 s and was ended"
    assert late.tried == 1


# --- settings ------------------------------------------------------------------------------------


def test_the_settings_hold() -> None:
    found = two.explain(abs, range(100), chunksize=30)
    assert (found.workers, found.chunks, found.chunksize) == (2, 4, 30)
    assert two.explain(abs, range(100), deadline=1e-6, retries=3).failed == ""
    with door.defaults(processes=1):
        assert pmap.explain(abs, [1]).workers == 1
    with Pool(1) as pool:
        assert pmap.explain(abs, [1, 2], pool=pool).workers == 1
    alone = two.explain(lambda _: os.getpid(), range(3), isolate=True)
    assert (alone.failed, alone.chunksize) == ("", 1)
    assert two.explain(lambda _: rng().random(), range(5), seed=3).failed == ""


_state: list[int] = []


def make_state() -> None:
    _state.append(1)


def state_of(_: int) -> int:
    return _state[0]


def test_the_initializer_has_run_in_the_worker() -> None:
    ready = two.using(initializer=make_state)
    assert ready.explain(state_of, range(5)).failed == ""
    assert _state == []


def test_coroutines_wait_at_once() -> None:
    async def nap(seconds: float) -> float:
        import asyncio

        await asyncio.sleep(seconds)
        return seconds

    found = two.explain(sync(nap), [0.02] * 640)
    assert found.failed == ""
    assert found.processes_speedup is not None
    assert found.processes_speedup > 10


def explained(verb: Map, n: int) -> tuple[str, str]:
    found = verb.explain(abs, range(n))
    return found.backend, found.failed


def test_inside_an_item_it_tells_of_the_serial_loop() -> None:
    assert two(explained, [two] * 2, [3, 4]) == [("serial", "")] * 2


# --- as a new user would -------------------------------------------------------------------------

SCRIPT = """
from pmap import pmap

table = list(range(100_000))


def look(n):
    return table[n]


print(pmap.explain(look, range(1000), processes=2))
print(pmap.explain(lambda n: look(n), range(1000), processes=2).failed or "fine")
"""


def test_a_script_without_a_guard(tmp_path: Path) -> None:
    first, *rest = run_script(tmp_path, SCRIPT)
    assert first.startswith("look: worker processes ")
    assert rest[-1] == "fine"
    labels = [line.split("  ")[1] for line in rest[:-1]]
    assert labels[:5] == ["tried", "an item", "an item sends", "function sends", "chunks"]
    assert any("most of it the global 'table'" in line for line in rest)


def test_a_lambda_of_the_interpreter(tmp_path: Path) -> None:
    typed = "from pmap import pmap\nf = lambda n: n + k\nk = 2\npmap.explain(f, [1, 2])\n"
    done = finished(["-i", "-q"], tmp_path, typed)
    assert "<lambda>: worker processes " in done.stdout
    assert "Traceback" not in done.stderr


def test_its_modules_are_imported_when_it_is_asked_for(tmp_path: Path) -> None:
    asks = "import sys, pmap; pmap.pmap(abs, [1]); pmap.pmap.explain; print(*sys.modules)"
    assert "pmap._explain" not in run(["-c", asks], tmp_path)
    assert "PYTHONPATH" in environment()
    assert door.Explanation is Explanation
