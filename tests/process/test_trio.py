"""What only trio has: its cancel scopes, its runs; and what asyncio has and it has not.

What it promises as every event loop does is in tests/contract, in test_awaiting.py and
test_async_streams.py.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
from tests.contract.awaited_items import wait_to_go
from tests.contract.event_loops import Trio
from tests.files import marks
from tests.items import square

from pmap import CancelledError, papply, pmap
from pmap._jobs.event_loops import until as wait_in_loop

two = pmap.using(processes=2, chunksize=1)
one = papply.using(processes=2)


@pytest.mark.parametrize("how", ["move on", "fail", "cancel"])
def test_a_cancel_scope_ends_what_runs(how: str, tmp_path: Path) -> None:
    async def main() -> None:
        later = two.async_(partial(wait_to_go, str(tmp_path)), [1, 2, 3])
        await Trio().begun(tmp_path, "begin1", "begin2")
        if how == "fail":
            with pytest.raises(trio.TooSlowError), trio.fail_after(0.05):
                await later
        else:
            with trio.move_on_after(0.05 if how == "move on" else 60) as scope:
                if how == "cancel":
                    scope.cancel()
                await later
            assert scope.cancelled_caught
        with pytest.raises(CancelledError):
            await later  # until nothing of it runs
        (tmp_path / "go").touch()
        assert await two.async_(square, range(4)) == [0, 1, 4, 9]

    trio.run(main)
    assert {*marks(tmp_path)} == {"begin1", "begin2"}


def test_shielded(tmp_path: Path) -> None:
    async def main() -> None:
        later = one.async_(wait_to_go, str(tmp_path), 1)
        with trio.CancelScope() as outer:
            outer.cancel()
            with trio.CancelScope(shield=True):
                await Trio().begun(tmp_path, "begin1")
                (tmp_path / "go").touch()
                assert await later == 1

    trio.run(main)
    assert marks(tmp_path) == ["begin1", "end1"]


def test_a_run_that_is_over_is_not_called() -> None:
    wakers: list[Callable[[], None]] = []

    async def main() -> None:
        with trio.move_on_after(0):
            await wait_in_loop(wakers.append)

    trio.run(main)
    (wake,) = wakers
    wake()  # as a result does that comes too late


def test_one_handle_for_an_asynchronous_input_needs_asyncio() -> None:
    async def count() -> AsyncIterator[int]:
        yield 1

    async def main() -> None:
        with pytest.raises(RuntimeError, match="async for"):
            two.async_(square, count())

    trio.run(main)
