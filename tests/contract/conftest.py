"""What several files of the contract are given."""

from collections.abc import Iterator

import pytest
from tests.contract.event_loops import EVENT_LOOPS, EventLoop, nothing_logged
from tests.items import square

from pmap import pmap


@pytest.fixture(params=EVENT_LOOPS, ids=lambda loop: loop.name)
def loop(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[EventLoop]:
    """Each event loop, with a warm pool; fail if a callback takes long, or one raises."""
    assert isinstance(request.param, EventLoop)
    pmap.using(processes=2, chunksize=1)(square, range(4))  # the pool's start takes its time
    with nothing_logged(caplog):
        yield request.param
