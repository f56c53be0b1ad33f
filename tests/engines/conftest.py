"""What the tests of engines are given: the fixtures of the contract, on an engine."""

import os
import time
from collections.abc import Generator, Iterator
from multiprocessing import resource_tracker

import pytest
from hypothesis import settings
from tests.engines import table
from tests.engines.laws import law_of
from tests.engines.places import OnEngine, Place, running
from tests.leaks import Leftovers, end_shared_pools, excuse
from tests.limits import seconds

from pmap import Apply, Map, StarMap, papply, pmap, pstarmap

EXAMPLES = 2  # of each property


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for ``nox -s engines``, unless it was asked for."""
    if "engines" in str(config.getoption("markexpr")):
        return
    left = [item for item in items if item.get_closest_marker("engines") is not None]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note for the table which law the engine keeps."""
    report = yield
    parameters: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    place = parameters.get("place")
    if isinstance(place, Place) and report.when == "call":
        law = law_of(getattr(item, "originalname", ""))
        table.note(place.name, law, report.passed)
    return report


def pytest_sessionfinish() -> None:
    """Write the table, if that was asked for."""
    if os.environ.get("PMAP_WRITE_TABLE"):
        table.write()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on the engines that its module names."""
    if "place" in metafunc.fixturenames:
        module = metafunc.definition.getparent(pytest.Module)
        assert module is not None
        obj: object = module.obj
        places: list[Place] = getattr(obj, "PLACES")  # noqa: B009 - its type is not known
        metafunc.parametrize(
            "place", places, ids=[one.name for one in places], indirect=True, scope="module"
        )


@pytest.fixture(scope="session", autouse=True)
def tracker() -> None:
    """Start the process of multiprocessing that lives as long as the program."""
    resource_tracker.ensure_running()


@pytest.fixture(scope="module", autouse=True)
def nothing_left_after_the_module(request: pytest.FixtureRequest, tracker: None) -> Iterator[None]:
    """Look for what is left of a module; engines of other libraries leave things of their own."""
    theirs = request.node.get_closest_marker("engines") is not None
    before = Leftovers.now()
    yield
    end_shared_pools()
    until = time.monotonic() + seconds(20)
    while left := before.left(warm=False, limit=0):
        if theirs:
            left = [what for what in left if "pmap._worker" in what]
        if not left or time.monotonic() > until:
            break
        time.sleep(0.05)
    if left:
        excuse(before)
        pytest.fail(f"left after the module: {left}")


@pytest.fixture(scope="module")
def place(
    request: pytest.FixtureRequest, nothing_left_after_the_module: None
) -> Iterator[OnEngine]:
    """An engine, which its tests share."""
    assert isinstance(request.param, Place)
    with running(request.param) as given:
        yield given
        end_shared_pools()


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """Look for what was left after the module only: an engine starts workers when it wants to."""


@pytest.fixture(autouse=True)
def fewer_examples(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Try fewer examples of each property than on the backends: each crosses an engine."""
    usual: settings | None = getattr(request.function, "_hypothesis_internal_use_settings", None)
    if usual is not None:
        few = settings(usual, max_examples=EXAMPLES)
        monkeypatch.setattr(request.function, "_hypothesis_internal_use_settings", few)


@pytest.fixture
def backend(place: OnEngine) -> OnEngine:
    """The engine, for the tests of the contract."""
    return place


@pytest.fixture
def concurrent(place: OnEngine) -> OnEngine:
    """The engine, for the tests of the contract."""
    return place


@pytest.fixture
def process(place: OnEngine) -> OnEngine:
    """The engine, for the tests of the contract."""
    return place


@pytest.fixture
def each(place: OnEngine) -> Map:
    """`pmap` on two slots of the engine."""
    return pmap.using(**place.options())


@pytest.fixture
def star(place: OnEngine) -> StarMap:
    """`pstarmap` on two slots of the engine."""
    return pstarmap.using(**place.options())


@pytest.fixture
def one(place: OnEngine) -> Apply:
    """`papply` on two slots of the engine."""
    return papply.using(**place.options())
