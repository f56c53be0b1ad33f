"""What several files of the contract are given."""

from collections.abc import Iterator

import pytest
from tests.backends import BACKENDS, Settings
from tests.contract.event_loops import EVENT_LOOPS, EventLoop, nothing_logged
from tests.items import square

from pmap import Apply, Map, StarMap, papply, pmap, pstarmap


@pytest.fixture(params=EVENT_LOOPS, ids=lambda loop: loop.name)
def loop(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[EventLoop]:
    """Each event loop, with a warm pool; fail if a callback takes long, or one raises."""
    assert isinstance(request.param, EventLoop)
    pmap.using(processes=2, chunksize=1)(square, range(4))  # the pool's start takes its time
    with nothing_logged(caplog):
        yield request.param


@pytest.fixture
def each(backend: Settings) -> Map:
    """`pmap` on two warm workers."""
    return pmap.using(**backend.options())


@pytest.fixture
def star(backend: Settings) -> StarMap:
    """`pstarmap` on two warm workers."""
    return pstarmap.using(**backend.options())


@pytest.fixture
def one(backend: Settings) -> Apply:
    """`papply` on two warm workers."""
    return papply.using(**backend.options())


@pytest.fixture(params=[b for b in BACKENDS if b.processes], ids=lambda b: b.name)
def process(request: pytest.FixtureRequest) -> Settings:
    """Each backend whose workers are processes."""
    assert isinstance(request.param, Settings)
    return request.param


@pytest.fixture(params=[b for b in BACKENDS if b.name != "serial"], ids=lambda b: b.name)
def concurrent(request: pytest.FixtureRequest) -> Settings:
    """Each backend on which items run beside each other, and beside the caller."""
    assert isinstance(request.param, Settings)
    return request.param
