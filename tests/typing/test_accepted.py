"""What the checkers must infer. pytest runs every line, too: the types are those at run time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import pairwise, product
from multiprocessing import get_context
from pathlib import Path
from typing import Never, assert_type

from tests.typing.accepted_functions import (
    Animal,
    Dog,
    Row,
    T,
    dog,
    more,
    needs_depth,
    one,
    papply,
    pcall,
    pmap,
    pstarmap,
    same,
    six,
    total,
    two,
)

import pmap as door
from pmap import (
    Apply,
    AsyncResult,
    Executor,
    Explanation,
    Failure,
    Map,
    Options,
    Pool,
    Progress,
    ResultStream,
    StarMap,
    Trace,
    TraceSpan,
    TraceSummary,
    as_completed,
    call,
    gather,
    raise_failures,
    split,
)


def none(x: object) -> None: ...


def names(animal: Animal) -> str:
    return animal.name


def test_kinds() -> None:
    assert_type(door.pmap, Map)
    assert_type(door.pmap, Map[Never])
    assert_type(pmap, Map[Never])
    assert_type(pstarmap, StarMap[Never])
    assert_type(papply, Apply[Never])
    assert_type(pmap.using(processes=2).using(chunksize=3), Map[Never])
    assert_type(pmap.collecting, Map[Failure])
    assert_type(pmap.collecting.using(processes=2), Map[Failure])
    assert_type(pstarmap.collecting, StarMap[Failure])
    assert_type(papply.collecting, Apply[Failure])


def test_pmap_over_one_iterable() -> None:
    assert_type(pmap(one, [1, 2]), list[str])
    assert_type(pmap(len, ["a", "bb"]), list[int])
    assert_type(pmap(len, {"a": 1}), list[int])
    assert_type(pmap(str.upper, ("a", "b")), list[str])
    assert_type(pmap(str, range(3)), list[str])
    assert_type(pmap(Dog, ["Rex"]), list[Dog])
    assert_type(pmap(Animal("a").speak, [1]), list[list[str]])
    assert_type(pmap(lambda x: x / 2, [1, 2]), list[float])
    assert_type(pmap(same, ["a"]), list[str])
    assert_type(pmap(more, (n for n in [1, 2])), list[bytes])
    assert_type(pmap(total, [1, 2]), list[int])
    assert_type(pmap(none, [1]), list[None])
    assert_type(pmap(names, [Dog("a")]), list[str])
    assert_type(pmap(names, map(dog, [1])), list[str])


def test_pmap_over_several_iterables() -> None:
    assert_type(pmap(two, [1], ["a"]), list[float])
    assert_type(pmap(lambda x, y: x * len(y), [1], ["a"]), list[int])
    assert_type(pmap(lambda x, y, z: (z, y, x), [1], ["a"], [b""]), list[tuple[bytes, str, int]])
    assert_type(pmap(total, [1], [2], [3], [4]), list[int])
    assert_type(pmap(total, [1], [2], [3], [4], [5]), list[int])
    assert_type(pmap(six, [1], [2], [3], [4], [5], [6]), list[str])
    assert_type(pmap(total, [1], [2], [3], [4], [5], [6], [7]), list[int])
    assert_type(pmap(more, [1], ["a"]), list[bytes])


def test_options_in_the_call() -> None:
    given: Options = {"processes": 2, "chunksize": None, "backend": "serial"}
    assert_type(pmap(one, [1], chunksize=10), list[str])
    assert_type(pmap(one, [1], **given), list[str])
    assert_type(pmap(two, [1], ["a"], chunksize=10, processes=2), list[float])
    assert_type(pstarmap(two, [(1, "a")], chunksize=None), list[float])
    assert_type(pmap.using(**given), Map[Never])
    assert_type(pmap.using(initializer=one, initargs=(1,), start_method="spawn"), Map[Never])


def test_explain() -> None:
    assert_type(pmap.explain(one, [1]), Explanation)
    assert_type(pmap.explain(two, [1], ["a"], chunksize=10), Explanation)
    assert_type(pmap.explain(six, [1], [2], [3], [4], [5], [6], backend="serial"), Explanation)
    assert_type(pmap.collecting.explain(lambda x: x / 2, (n for n in [1])), Explanation)
    assert_type(pstarmap.explain(two, [(1, "a")]), Explanation)
    found = papply.explain(needs_depth, 1, depth=2)
    assert_type(found.processes_speedup, float | None)
    assert_type(found.names, tuple[tuple[str, int], ...])


def test_progress() -> None:
    told: list[Progress] = []

    def show(now: Progress) -> None:
        assert_type(now.done, int)
        assert_type(now.total, int | None)
        assert_type(now.elapsed, float)
        assert_type(now.label, str)
        assert_type(now.finished, bool)

    def anything(now: object, more: int = 0) -> int:
        return more

    given: Options = {"progress": show}
    assert_type(pmap(one, [1], progress=True), list[str])
    assert_type(pmap(one, [1], progress="label"), list[str])
    assert_type(pmap(one, [1], progress=told.append), list[str])
    assert_type(pmap(one, [1], progress=lambda now: now.done), list[str])
    with pmap.iter(one, [1], progress=anything) as results:
        assert_type(results, ResultStream[str])
        assert_type(next(results), str)
    assert_type(papply.using(progress=show)(one, 1), str)
    assert_type(pmap.using(**given), Map[Never])
    done, total, *_ = told[0]
    assert (done, total) == (0, 1)

    def stream(pool: Pool) -> ResultStream[str]:
        return pool.imap_unordered(one, [1], progress=show)

    assert callable(stream)


def test_traces(tmp_path: Path) -> None:
    trace = Trace()
    given: Options = {"trace": trace}
    assert_type(pmap(one, [1], trace=trace), list[str])
    assert_type(pmap(one, [1], trace=True), list[str])
    assert_type(pmap(one, [1], trace=str(tmp_path / "run.svg")), list[str])
    assert_type(papply.using(trace=tmp_path / "run.json")(one, 1), str)
    with pmap.iter(one, [1], trace=trace) as results:
        assert_type(next(results), str)
    assert_type(pmap.using(**given), Map[Never])
    assert_type(Trace.last(), Trace)
    assert_type(trace.summary(), TraceSummary)
    assert_type(trace.summary().slowest, tuple[TraceSpan, ...])
    assert_type(trace.summary().total, float)
    assert_type(trace.spans()[0].item_index, int | None)
    assert_type(trace.save(tmp_path / "run.svg"), None)


def test_the_context_of_a_pool() -> None:
    def make(method: str) -> None:
        Pool(context=get_context("spawn"))
        Pool(2, context=get_context(method))
        Pool(2, None, (), None, get_context())

    assert callable(make)


def test_an_executor() -> None:
    def use(executor: Executor) -> None:
        assert_type(executor.submit(two, 1, name="a"), Future[float])
        assert_type(executor.map(one, [1]), Iterator[str])
        Executor(2, get_context(), one, (1,), max_tasks_per_child=3)
        Executor(initializer=two, initargs=(1, "a"), backend="threads")

    assert callable(use)


def test_a_given_pool() -> None:
    def on(pool: Pool) -> Map:
        return door.pmap.using(pool=pool)

    assert callable(on)


def test_pstarmap() -> None:
    assert_type(pstarmap(two, [(1, "a"), (2, "b")]), list[float])
    assert_type(pstarmap(two, [Row(1, "a")]), list[float])
    assert_type(pstarmap(two, zip([1, 2], ["a", "b"], strict=True)), list[float])
    assert_type(pstarmap(two, enumerate(["a"])), list[float])
    assert_type(pstarmap(two, {1: "a"}.items()), list[float])
    assert_type(pstarmap(two, product([1], "ab")), list[float])
    assert_type(pstarmap(total, pairwise([1, 2, 3])), list[int])
    assert_type(pstarmap(more, [(1, "a")]), list[bytes])
    assert_type(pstarmap(more, [(1,)]), list[bytes])
    assert_type(pstarmap(divmod, [(7, 2)]), list[tuple[int, int]])
    assert_type(pstarmap(lambda x, y: (y, x), [Row(1, "a")]), list[tuple[str, int]])
    assert_type(pstarmap(Animal.speak, [(Animal("a"), 2)]), list[list[str]])
    rows: list[tuple[int, ...]] = [(1, 2), (3,)]
    assert_type(pstarmap(total, rows), list[int])


def test_papply() -> None:
    assert_type(papply(one, 1), str)
    assert_type(papply(two, 1, name="a"), float)
    assert_type(papply(more, 1, loud=True), bytes)
    assert_type(papply(Dog, name="Rex"), Dog)
    assert_type(papply(lambda: 3), int)
    assert_type(papply(same, "a"), str)
    assert_type(papply(none, 1), None)


def test_collecting() -> None:
    assert_type(pmap.collecting(one, [1]), list[str | Failure])
    assert_type(pmap.collecting(two, [1], ["a"]), list[float | Failure])
    assert_type(pstarmap.collecting(two, [(1, "a")]), list[float | Failure])
    assert_type(papply.collecting(one, 1), str | Failure)
    assert_type(pmap.collecting.async_(one, [1]), AsyncResult[list[str | Failure]])
    assert_type(papply.collecting.async_(one, 1), AsyncResult[str | Failure])
    for result in pmap.collecting(one, [1]):
        if isinstance(result, Failure):
            assert_type(result.error, Exception)
        else:
            assert_type(result, str)


def test_async_forms() -> None:
    assert_type(pmap.async_(one, [1]), AsyncResult[list[str]])
    assert_type(pmap.async_(one, [1]).get(), list[str])
    assert_type(pmap.async_(two, [1], ["a"], chunksize=2).get(timeout=60.0), list[float])
    assert_type(pmap.async_(six, [1], [2], [3], [4], [5], [6]).get(), list[str])
    assert_type(pstarmap.async_(two, [(1, "a")]).get(), list[float])
    assert_type(papply.async_(two, 1, name="a").get(), float)
    later = papply.async_(one, 1)
    assert_type(later.ready(), bool)
    assert_type(later.cancel(), bool)
    assert_type(later.done, int)
    assert_type(later.total, int)


def test_the_names_of_the_async_forms() -> None:
    def each() -> object:  # typed only: these would start workers
        assert_type(door.pmap_async(one, [1], chunksize=1), AsyncResult[list[str]])
        assert_type(door.pstarmap_async(two, [(1, "a")]), AsyncResult[list[float]])
        return assert_type(door.papply_async(two, 1, name="a"), AsyncResult[float])

    assert callable(each)


def test_await() -> None:
    async def main() -> str:
        found = await papply.async_(one, 1)
        assert_type(found, str)
        several = await pmap.async_(one, [1])
        assert_type(several, list[str])
        return found

    assert callable(main)


def test_variance() -> None:
    # In two steps, through a variable: in one, inference may widen the result type itself.
    later = papply.async_(dog, 1)
    wider: AsyncResult[Animal] = later
    assert wider.get().name == "1"
    plain = pmap.using(chunksize=1)
    collecting: Map[Failure] = plain
    assert collecting(one, [1]) == ["1"]
    star = pstarmap.using(chunksize=1)
    collecting_rows: StarMap[Failure] = star
    assert collecting_rows(two, [(1, "a")]) == [2]
    call = papply.using(chunksize=1)
    collecting_one: Apply[Failure] = call
    assert collecting_one(one, 1) == "1"


def test_a_verb_is_a_function_to_others() -> None:
    def use(mapper: Callable[[Callable[[int], str], Sequence[int]], list[str]]) -> list[str]:
        return mapper(one, [1])

    def wrapped(f: Callable[[int], T], xs: Iterable[int]) -> list[T]:
        return pmap(f, xs)

    assert_type(use(pmap), list[str])
    assert_type(wrapped(one, [1]), list[str])


def test_failures_in_a_case() -> None:
    seen: list[object] = []
    for result in pmap.collecting(int, ["1", "x"]):
        match result:
            case Failure(error=ValueError() as error, index=index):
                assert_type(error, ValueError)
                seen.append(assert_type(index, int))
            case Failure(error, index, function, text, traceback, attempts):
                assert_type(error, Exception)
                assert_type(index, int)
                seen.append((function, text, traceback, assert_type(attempts, int)))
            case _:
                seen.append(assert_type(result, int))
    assert seen == [1, 1]


def test_mixed_types() -> None:
    number, text = papply.async_(len, "a"), papply.async_(one, 1)
    assert {over.get() for over in as_completed((number, text))} == {1, "1"}
    for over in as_completed((number, text)):
        assert_type(over, AsyncResult[int | str])
    both = pcall.collecting(call(one, 1), call(two, 1, "a"))
    good, bad = split(both)
    assert_type(good, list[str | float])
    assert_type(bad, list[Failure])
    assert_type(raise_failures(both), list[str | float])
    assert_type(split(pmap.collecting(one, [1])), tuple[list[str], list[Failure]])


def test_mixed_types_in_a_list_that_says_so() -> None:
    # mypy joins what a list has to `object`; it takes the word of an annotation, on either side.
    handles: list[AsyncResult[int | str]] = [papply.async_(len, "a"), papply.async_(one, 1)]
    assert_type([over.get() for over in as_completed(handles)], list[int | str])
    assert_type(gather(*handles).get(), tuple[int | str, ...])
    results: list[str | float | Failure] = [*pmap.collecting(one, [1]), 0.5]
    good: list[str | float]
    good, bad = split(results)
    assert_type(good, list[str | float])
    assert_type(bad, list[Failure])
    wanted: list[str | float] = raise_failures(results)
    assert wanted == good == ["1", 0.5]


def test_the_verb_as_a_pool() -> None:
    assert_type(pmap.map, Map[Never])
    assert_type(pmap.collecting.map, Map[Failure])
    assert_type(pmap.map(one, [1]), list[str])


def test_rows_of_keywords_and_constants() -> None:
    rows = [{"x": 1, "depth": 2}]
    assert_type(pmap(lambda row: needs_depth(**row), rows), list[int])
    assert_type(pcall(*[call(needs_depth, **row) for row in rows]), tuple[int, ...])
    assert_type(pmap(partial(needs_depth, depth=3), [1]), list[int])
