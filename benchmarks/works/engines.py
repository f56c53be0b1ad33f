"""pmap on executors and clusters, beside the maps that these have themselves."""

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from typing import Any, Final, NamedTuple, TypeAlias

from ..work import Figure, Setting, Target, Work, timed

Function: TypeAlias = Callable[[int], int]
Map: TypeAlias = Callable[[Function, Sequence[int]], list[int]]

_CHUNK: Final = 100


class Maps(NamedTuple):
    """An engine for pmap, and maps of its own: as it is by default, in chunks, and another one."""

    engine: Any
    own: Map
    chunks: Map
    bag: Map | None = None


def tiny(x: int) -> int:
    """Do next to nothing."""
    return x + 1


def _own(mapped: Callable[..., Iterable[int]], **options: int) -> Map:
    """Return a map of an engine as one that returns a list."""

    def run(f: Function, xs: Sequence[int]) -> list[int]:
        return list(mapped(f, xs, **options))

    return run


@contextmanager
def _processes(count: int) -> Generator[Maps]:
    with ProcessPoolExecutor(count, mp_context=get_context("forkserver")) as executor:
        yield Maps(executor, _own(executor.map), _own(executor.map, chunksize=_CHUNK))


@contextmanager
def _loky(count: int) -> Generator[Maps]:
    loky: Any = import_module("loky")
    executor = loky.get_reusable_executor(max_workers=count)
    yield Maps(executor, _own(executor.map), _own(executor.map, chunksize=_CHUNK))
    executor.shutdown()


@contextmanager
def _dask(count: int) -> Generator[Maps]:
    distributed: Any = import_module("distributed")
    cluster = distributed.LocalCluster(
        n_workers=count, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    )
    with cluster, distributed.Client(cluster) as client:

        def mapped(f: Function, xs: Sequence[int], **options: int) -> list[int]:
            results: list[int] = client.gather(client.map(f, xs, pure=False, **options))
            return results

        def in_a_bag(f: Function, xs: Sequence[int]) -> list[int]:
            results: list[int] = bag.from_sequence(xs).map(f).compute()
            return results

        bag: Any = import_module("dask.bag")
        engine = client.get_executor(pure=False)
        yield Maps(engine, _own(mapped), _own(mapped, batch_size=_CHUNK), in_a_bag)


def _call(f: Callable[..., bytes], *args: object) -> bytes:
    return f(*args)


class _RayEngine:
    """The recipe of docs/backends.md, without `kill`."""

    def __init__(self, ray: Any) -> None:
        self._task = ray.remote(max_retries=0)(_call)

    def submit(self, f: Callable[..., bytes], /, *args: Any) -> "Future[bytes]":
        future: Future[bytes] = self._task.remote(f, *args).future()
        return future


@contextmanager
def _ray(count: int) -> Generator[Maps]:
    ray: Any = import_module("ray")
    ray.init(
        num_cpus=count,
        object_store_memory=200_000_000,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join([*sys.path, os.getcwd()])}},
    )
    task = ray.remote(tiny)

    def one_by_one(_: Function, xs: Sequence[int]) -> list[int]:
        results: list[int] = ray.get([task.remote(x) for x in xs])
        return results

    def in_chunks(f: Function, xs: Sequence[int]) -> list[int]:
        results: list[int] = pool.map(f, xs)
        return results

    pool: Any = import_module("ray.util.multiprocessing").Pool(count)
    try:
        yield Maps(_RayEngine(ray), one_by_one, in_chunks)
    finally:
        pool.terminate()
        ray.shutdown()


_ENGINES: Final[dict[str, Callable[[int], AbstractContextManager[Maps]]]] = {
    "ProcessPoolExecutor": _processes,
    "loky": _loky,
    "Dask": _dask,
    "Ray": _ray,
}


def _measure(setting: Setting) -> Iterator[tuple[str, float]]:
    from pmap import pmap

    items = range(1_000 if setting.quick else 5_000)
    for name, start in _ENGINES.items():
        try:
            with start(setting.processes) as maps:
                ours = pmap.using(backend=maps.engine, processes=setting.processes)
                maps_of: dict[str, Map | None] = {
                    "pmap": ours,
                    "bare": ours.using(inner_worker=False),
                    "own": maps.own,
                    "own, chunks": maps.chunks,
                    "dask.bag": maps.bag,
                }
                chosen = maps_of[setting.peer]
                if chosen is None:
                    continue
                for _ in range(2):
                    chosen(tiny, items)  # workers and imports
                yield f"{name}, a tiny item", timed(partial(chosen, tiny, items)) / len(items) * 1e6
        except ImportError:
            continue


_TARGETS: Final = {
    "ProcessPoolExecutor": (Target(0.2, "own"),),
    "loky": (Target(0.2, "own"),),
    "Dask": (Target(0.1, "own"), Target(0.2, "own, chunks"), Target(2, "dask.bag")),
    "Ray": (Target(0.05, "own"), Target(1, "own, chunks")),
}
_OF_ALL: Final = Target(1.5, "bare")

WORKS: Final = (
    Work(
        "engines",
        "Tiny items on executors and clusters. Bare: `inner_worker=False`. Own: the engine's map "
        "of single items. In chunks: 100 items, on Ray its `Pool.map`",
        tuple(
            Figure(f"{name}, a tiny item", "us", (*_TARGETS[name], _OF_ALL)) for name in _ENGINES
        ),
        _measure,
        ("pmap", "bare", "own", "own, chunks", "dask.bag"),
        300,
    ),
)
