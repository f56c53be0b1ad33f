"""Random numbers: a function of seed and index alone; without a seed, no two streams alike."""

import os
import random
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backends import BACKENDS, Settings
from tests.scripts import run

from pmap import OptionError, Pool, WorkerLost, pmap, pstarmap, rng, sync

if TYPE_CHECKING:
    from pmap._types import StartMethod

ITEMS: Final = range(12)


def draw(_: object) -> tuple[float, float, float, float]:
    return random.random(), float(np.random.rand()), float(rng().random()), float(rng().random())


def expected(seed: int) -> list[tuple[float, float, float, float]]:
    return pmap(draw, ITEMS, seed=seed, backend="serial")


@pytest.mark.parametrize("on", BACKENDS, ids=lambda on: on.name)
def test_a_seed_is_all_that_counts(on: Settings) -> None:
    if on.backend == "interpreters":
        pytest.skip("NumPy refuses interpreters; tests/process/test_interpreters.py has seeds")
    verb = pmap.using(seed=7, backend=on.backend, start_method=on.start_method)
    assert verb(draw, ITEMS) == verb(draw, ITEMS) == expected(7)
    assert [*verb.iter(draw, ITEMS)] == expected(7)
    assert verb.async_(draw, ITEMS).get() == expected(7)
    assert pstarmap(
        draw, [(x,) for x in ITEMS], seed=7, backend=on.backend, start_method=on.start_method
    ) == expected(7)
    assert verb(draw, ITEMS, seed=8) != expected(7)


@settings(max_examples=10)
@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 2**70))
def test_no_chunking_changes_it(chunksize: int, processes: int, seed: int) -> None:
    assert pmap(draw, ITEMS, seed=seed, chunksize=chunksize, processes=processes) == expected(seed)


def test_each_item_has_its_own() -> None:
    found = expected(7)
    assert len({number for row in found for number in row}) == 4 * len(ITEMS)
    children = np.random.SeedSequence(7).spawn(len(ITEMS))
    assert [row[2] for row in found] == [np.random.default_rng(c).random() for c in children]


def draw_at_last(folder: str) -> float:
    """Die the first time, after some numbers were drawn."""
    number = random.random() + rng().random()
    if not Path(folder, "tried").exists():
        Path(folder, "tried").touch()
        os._exit(3)
    return number


def test_a_further_try_draws_the_same(tmp_path: Path) -> None:
    again = pmap(draw_at_last, [str(tmp_path)], seed=3, retries=1, retry_on=WorkerLost)
    assert again == pmap(draw_at_last, [str(tmp_path)], seed=3, backend="serial")


def test_without_a_seed_no_two_items_draw_the_same(start_method: "StartMethod") -> None:
    np.random.seed(1)
    random.seed(1)
    verb = pmap.using(processes=2, isolate=True, start_method=start_method)
    found = verb(draw, range(6))
    pmap(draw, range(4), seed=7, processes=2, chunksize=1, start_method=start_method)
    found += pmap(draw, range(6), processes=2, chunksize=1, start_method=start_method)
    for kind in zip(*found, strict=True):
        assert len({*kind}) == len(found)


@pytest.mark.parametrize("backend", ["threads", "serial"])
def test_the_callers_own_numbers_go_on(backend: Literal["threads", "serial"]) -> None:
    random.seed(5)
    np.random.seed(5)
    wanted = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    pmap(draw, ITEMS, seed=7, backend=backend)
    assert (random.random(), np.random.rand()) == wanted


async def waits(x: int) -> int:
    return x


def test_what_is_refused() -> None:
    for wrong in (-1, True, "1", 1.5):
        with pytest.raises(OptionError, match="seed is an int >= 0"):
            pmap(draw, ITEMS, seed=cast("int", wrong))
    with pytest.raises(OptionError, match="give each item its own"):
        pmap(sync(waits), ITEMS, seed=1)


SCRIPT: Final = """
import random, warnings
import numpy as np
from pmap import pmap, Pool
warnings.simplefilter("always")
own = {make}
def use(_):
    return own.random()
with warnings.catch_warnings(record=True) as caught:
    for _ in range(2):
        pmap(use, range(3), processes=1)
for warning in caught:
    text = str(warning.message)
    print(warning.filename == __file__, "'own'" in text, "seed=" in text)
"""


@pytest.mark.parametrize(
    "make", ["random.Random(1)", "np.random.default_rng(1)", "np.random.RandomState(1)"]
)
def test_a_generator_that_travels_is_warned_of_once(make: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("{make}", make), encoding="utf-8")
    assert run([str(script)], tmp_path) == "True True True\n"


def test_an_item_that_is_a_generator_is_none_of_that() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Pool(1) as pool:
            assert pool.map(random.Random.random, [random.Random(1)]) == [random.Random(1).random()]


FROM: Final = """
from random import random, randint
from numpy.random import rand
import random as module
from pmap import pmap
draw = module.random
def drawn(_):
    return random(), randint(0, 10**9), rand(), draw()
METHOD = {method!r}
found = pmap(drawn, range(20), processes=2, chunksize=1, start_method=METHOD)
print(len({{number for row in found for number in row}}))
again = [pmap(drawn, range(6), seed=1, processes=n, start_method=METHOD) for n in (1, 2)]
print(again[0] == again[1] == pmap(drawn, range(6), seed=1, backend="serial"))
"""


def test_functions_of_the_generators_that_modules_have(
    start_method: "StartMethod", tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(FROM.format(method=start_method), encoding="utf-8")
    assert run([str(script)], tmp_path) == "80\nTrue\n"
