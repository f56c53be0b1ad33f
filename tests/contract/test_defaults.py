"""`defaults` and PMAP_BACKEND: the application chooses for all calls that do not choose."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.backends import BACKENDS
from tests.limits import HARD_LIMIT

from pmap import OptionError, Options, Pool, defaults, papply, pcall, pmap, pstarmap
from pmap._api.verb import Verb
from pmap._calls.options import Settings, in_force, merge, worker_options
from pmap._types import Backend

# Values of some options, each unlike its default.
CHOICES: Final[Mapping[str, st.SearchStrategy[object]]] = {
    "processes": st.integers(2, 9),
    "backend": st.sampled_from(["threads", "serial"]),
    "max_tasks_per_child": st.integers(2, 9),
    "chunksize": st.integers(2, 9),
    "buffersize": st.integers(2, 9),
    "timeout": st.sampled_from([50.0, 60.0]),
    "retries": st.integers(1, 3),
    "logs": st.just(False),
}
SOME: Final = st.fixed_dictionaries({}, optional=dict(CHOICES))


def asked(verb: Verb[object]) -> Settings:
    return verb._in_force()[1]


def pid(_: object = None) -> int:
    return os.getpid()


def thread_name(_: object = None) -> str:
    return threading.current_thread().name


@given(outer=SOME, inner=SOME, ours=SOME)
def test_what_is_nearest_to_the_call_wins(outer: Options, inner: Options, ours: Options) -> None:
    with defaults(**outer), defaults(**inner):
        settings = asked(pmap.using(**ours))
    expected = merge(Settings(), {**outer, **inner, **ours})
    assert in_force(settings) == in_force(expected)
    assert asked(pmap.using(**ours)) == merge(Settings(), ours)  # nothing is left of them


def test_what_is_set_to_its_default_is_set() -> None:
    with defaults(backend="serial", chunksize=7):
        settings = asked(pmap.using(backend="processes", chunksize=None))
    assert (settings.worker.backend, settings.call.chunksize) == ("processes", None)


def test_options_of_the_call_are_nearest() -> None:
    with defaults(backend="serial"):
        assert pmap(thread_name, [0], backend="threads") == ["pmap-worker-0"]
        assert pmap(thread_name, [0]) == [threading.current_thread().name]


def test_every_verb_and_form_takes_them() -> None:
    here = os.getpid()
    with defaults(backend="serial"):
        assert pmap(pid, [0]) == [here]
        assert pmap.async_(pid, [0]).get() == [here]
        assert list(pmap.iter(pid, [0])) == [here]
        assert list(pmap.iter_unordered(pid, [0])) == [here]
        assert pmap.collecting(pid, [0]) == [here]
        assert pstarmap(pid, [(0,)]) == [here]
        assert list(pstarmap.iter(pid, [(0,)])) == [here]
        assert papply(pid) == here
        assert pcall(pid) == (here,)
    assert papply(pid) != here


def test_a_given_pool_has_decided_who_runs() -> None:
    with Pool(1) as pool, defaults(backend="serial", processes=3, chunksize=2):
        settings = asked(pmap.using(pool=pool))
        assert settings.pool is pool
        assert settings.call.chunksize == 2
        assert not worker_options() & merge(settings, {}).given


def test_a_pool_as_default_gives_way_to_options_of_workers() -> None:
    with Pool(1) as pool, defaults(pool=pool):
        assert asked(pmap).pool is pool
        assert asked(pmap.using(chunksize=2)).pool is pool
        assert asked(pmap.using(processes=2)).pool is None
        with defaults(processes=3):
            assert (asked(pmap).pool, asked(pmap).worker.processes) == (None, 3)
            with defaults(pool=pool):
                assert (asked(pmap).pool, asked(pmap).worker.processes) == (pool, None)


def test_each_task_has_its_own() -> None:
    async def one(size: int, ready: asyncio.Barrier) -> int | None:
        with defaults(chunksize=size):
            await ready.wait()
            return asked(pmap).call.chunksize

    async def both() -> tuple[int | None, int | None]:
        ready = asyncio.Barrier(2)
        return await asyncio.gather(one(2, ready), one(3, ready))

    assert [*asyncio.run(both())] == [2, 3]


def test_another_thread_has_none() -> None:
    seen: list[int | None] = []
    with defaults(chunksize=5):
        thread = threading.Thread(target=lambda: seen.append(asked(pmap).call.chunksize))
        thread.start()
        thread.join()
    assert seen == [None]


@pytest.mark.parametrize("backend", sorted({settings.backend for settings in BACKENDS}))
def test_a_call_that_an_item_makes_is_not_concerned(backend: Backend) -> None:
    # Its items cannot be ended there, so a timeout that it had set itself would be refused.
    with defaults(backend=backend, processes=2, timeout=50.0):
        assert pmap(lambda x: pmap(abs, [x, -x]), [-1, 2]) == [[1, 1], [2, 2]]


def test_they_can_be_entered_again_and_within_themselves() -> None:
    chosen = defaults(chunksize=4)
    with chosen, chosen:
        assert asked(pmap).call.chunksize == 4
    with pytest.raises(ZeroDivisionError), chosen:
        raise ZeroDivisionError
    assert asked(pmap).call.chunksize is None


def test_an_option_that_can_be_read_once_is_read_once() -> None:
    with defaults(initializer=int, initargs=iter(["7"]), retries=iter([0.5, 1.0])):
        for _ in range(2):
            settings = asked(pmap)
            assert settings.worker.initargs == ("7",)
            assert settings.call.retries == (0.5, 1.0)


def test_a_wrong_option_raises_when_they_are_made() -> None:
    with pytest.raises(OptionError, match="chunksize=0"):
        defaults(chunksize=0)
    with pytest.raises(OptionError, match="workers=2"):
        defaults(workers=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # the test's point


def test_options_that_contradict_each_other_are_told_at_the_call() -> None:
    with defaults(isolate=True), pytest.raises(OptionError, match="chunksize=8"):
        pmap(abs, [-1], chunksize=8)


def of_environment(backend: str, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PMAP_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=HARD_LIMIT,
        check=False,
    )


def test_the_environment_chooses_the_backend_where_nothing_else_does() -> None:
    program = """
import os, threading
from pmap import defaults, pmap
def where(_):
    return os.getpid(), threading.current_thread().name
print(pmap(where, [0]) == [(os.getpid(), "pmap-worker-0")])
print(pmap(where, [0], backend="serial") == [(os.getpid(), "MainThread")])
with defaults(backend="serial"):
    print(pmap(where, [0]) == [(os.getpid(), "MainThread")])
"""
    done = of_environment("threads", program)
    assert (done.stdout.split(), done.stderr) == (["True"] * 3, "")


@pytest.mark.parametrize("within", ["", "with pmap.defaults(chunksize=2): "])
def test_a_wrong_backend_in_the_environment_is_named_at_the_first_call(within: str) -> None:
    done = of_environment("thread", f"import pmap\nprint('there')\n{within}pmap.pmap(abs, [-1])")
    assert done.stdout == "there\n"
    last = done.stderr.splitlines()[-1]
    assert last.startswith("pmap.OptionError: PMAP_BACKEND='thread' is not possible")
    assert last.endswith("did you mean 'threads'?")
