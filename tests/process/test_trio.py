"""The same handles and streams in trio, which is found at run time."""

import itertools
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio
from tests.helpers import mark, marks, square, wait_for_file

from pmap import CancelledError, as_completed, gather, papply, pmap

two = pmap.using(processes=2, chunksize=1)
one = papply.using(processes=2)


def wait_to_go(folder: str, x: int) -> int:
    """Note that the item begins, wait for a file, note that it ends."""
    mark(folder, f"begin{x}")
    wait_for_file(f"{folder}/go")
    mark(folder, f"end{x}")
    return x


async def count(stop: int) -> AsyncIterator[int]:
    """Count, giving way each time."""
    for number in range(stop):
        await trio.lowlevel.checkpoint()
        yield number


def test_await() -> None:
    async def main() -> None:
        assert await two.async_(square, range(5)) == [0, 1, 4, 9, 16]
        later = one.async_(square, 3)
        assert await later == await later == 9
        assert await gather(later, one.async_(str, 1)) == (9, "1")
        assert sorted([r.get() async for r in as_completed([later, one.async_(abs, -1)])]) == [1, 9]
        results: list[int] = []

        async def keep(x: int) -> None:
            results.append(await one.async_(square, x))

        async with trio.open_nursery() as nursery:
            for x in range(4):
                nursery.start_soon(keep, x)
        assert sorted(results) == [0, 1, 4, 9]

    trio.run(main)


def test_a_cancel_scope_ends_what_runs(tmp_path: Path) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 1)
        with trio.move_on_after(0.2) as scope:
            await later
        with pytest.raises(CancelledError):
            await later  # until nothing of it runs
        assert scope.cancelled_caught
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    trio.run(main)
    assert "end1" not in marks(tmp_path)


def test_async_for(tmp_path: Path) -> None:
    async def main() -> None:
        assert [y async for y in two.iter(square, range(30))] == [x * x for x in range(30)]
        assert [y async for y in two.iter(square, count(30))] == [x * x for x in range(30)]
        async with two.iter(square, itertools.count()) as stream:
            async for y in stream:
                if y > 50:
                    break
        stream = two.iter(partial(wait_to_go, str(tmp_path)), [1])
        with trio.move_on_after(0.2) as scope:
            await anext(stream)
        assert scope.cancelled_caught
        with pytest.raises(CancelledError):
            await anext(stream)
        await stream.aclose()
        with pytest.raises(RuntimeError, match="async for"):
            two.async_(square, count(3))

    trio.run(main)
    assert "end1" not in marks(tmp_path)
