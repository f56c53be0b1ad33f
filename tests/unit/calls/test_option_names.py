"""Options under the names that other libraries give them: the message has the right one."""

import functools
import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest

from pmap import OptionError, Pool, call, papply, pcall, pimap, pmap, pmap_async, pstarmap
from pmap._calls import option_names as _option_names
from pmap._calls.options import _ALL, Settings, merge

# As their users write them. Any: nothing of it is allowed.
ELSEWHERE: list[tuple[str, Any, str]] = [
    ("n_jobs", 4, "processes=4"),
    ("n_jobs", -1, "Leave it out for one worker per CPU"),
    ("max_workers", 2, "processes=2"),
    ("max_workers", None, "processes=None"),
    ("workers", 2, "processes=2"),
    ("num_workers", 2, "processes=2"),
    ("cores", 2, "processes=2"),
    ("nprocs", 2, "processes=2"),
    ("num_cpus", 2, "processes=2"),
    ("nb_workers", 2, "processes=2"),
    ("num_proc", 2, "processes=2"),
    ("ncpus", "2", "processes is an int >= 1"),
    ("chunk_size", 3, "chunksize=3"),
    ("batch_size", "auto", "chunksize is an int >= 1"),
    ("prefetch_factor", 2, "buffersize=2"),
    ("prefer", "threads", "backend='threads'"),
    ("executor", "process", "backend='processes'"),
    ("scheduler", "synchronous", "backend='serial'"),
    *(
        ("context", multiprocessing.get_context(method), f"start_method={method!r}")
        for method in multiprocessing.get_all_start_methods()
    ),
    ("mp_context", multiprocessing.get_context("spawn"), "start_method='spawn'"),
    ("worker_init", print, "initializer=<built-in function print>"),
    ("init_args", (1,), "initargs=(1,)"),
    ("maxtasksperchild", 1, "max_tasks_per_child=1"),
    ("worker_lifespan", 1, "max_tasks_per_child=1"),
    ("max_retries", 3, "retries=3"),
    ("task_timeout", 3, "timeout=3"),
    ("random_state", 0, "seed=0"),
    ("n_threads", 4, "backend='threads'"),
    ("progress_bar", True, "Write progress=True"),
    ("show_progress", False, "Write progress=False"),
    ("verbose", 10, "Write progress=True"),
    ("desc", "rows", "Write progress='rows'"),
    ("tqdm", 1.5, "progress is True for a bar"),
    ("profile", True, "Write trace=True"),
    ("timeline", "run.svg", "Write trace='run.svg'"),
    ("total", 10, "give a function: progress=f"),
    ("ordered", False, "pimap_unordered"),
    ("return_exceptions", True, "pmap.collecting(f, xs)"),
    ("callback", print, "add_done_callback"),
    ("kwargs", {}, "functools.partial("),
    ("procesess", 2, "did you mean 'processes'"),
    ("chunksze", 2, "did you mean 'chunksize'"),
]


def identity(x: object) -> object:
    return x


def scaled(x: int, b: int = 1, *, n_jobs: int = 1) -> int:
    return x * b * n_jobs


def open_to_all(x: object, **more: object) -> object:
    return x, more


def said(ask: Callable[[], object]) -> str:
    with pytest.raises((OptionError, TypeError)) as caught:
        ask()
    return str(caught.value)


def test_no_name_from_elsewhere_is_an_option_here_or_has_two_meanings() -> None:
    names = " ".join([*_option_names._ELSEWHERE.values(), *_option_names._INSTEAD.values()]).split()
    assert len(set(names)) == len(names)
    assert not {name.replace("_", "") for name in _ALL} & {*names}
    assert {*_option_names._ELSEWHERE} <= {*_ALL}


@pytest.mark.parametrize(("name", "value", "right"), ELSEWHERE, ids=lambda value: str(value)[:20])
def test_an_option_from_elsewhere_is_told_by_its_name_here(
    name: str, value: object, right: str
) -> None:
    given: dict[str, Any] = {name: value}
    asks: list[Callable[[], object]] = [
        lambda: pmap(identity, [1], **given),
        lambda: pimap(identity, [1], **given),
        lambda: pmap_async(identity, [1], **given),
        lambda: pstarmap(identity, [(1,)], **given),
        lambda: pmap.collecting.using(**given),
        lambda: papply.using(**given),
        lambda: pcall.using(**given),
    ]
    for ask in asks:
        text = said(ask)
        assert f"there is no option {name!r}" in text
        assert right in text


@pytest.mark.parametrize(
    ("given", "meant"), [("loky", "processes"), ("threading", "threads"), ("sequential", "serial")]
)
def test_a_backend_from_elsewhere(given: str, meant: str) -> None:
    with pytest.raises(OptionError, match=f"did you mean '{meant}'"):
        merge(Settings(), {"backend": given})


# -- what is not for the verb ------------------------------------------------------------------


def test_an_argument_of_the_function_itself_is_one_for_partial() -> None:
    given: dict[str, Any] = {"b": 3}
    assert "pmap(functools.partial(scaled, b=3), xs)" in said(lambda: pmap(scaled, [1], **given))
    assert "pstarmap(functools.partial(scaled, b=3), rows)" in said(
        lambda: pstarmap(scaled, [(1,)], **given)
    )
    assert "functools.partial(f, b=3)" in said(lambda: pmap(lambda x: x + 1, [1], **given))
    assert "functools.partial(identity, b=3)" in said(lambda: pmap(identity, [1], **given))
    assert "functools.partial(f, b=3)" in said(
        lambda: pmap(functools.partial(open_to_all, c=1), [1], **given)
    )
    assert "functools.partial(max, b=3)" in said(lambda: pmap(max, [[1]], **given))


def test_a_name_that_the_function_and_others_have_is_the_functions() -> None:
    given: dict[str, Any] = {"n_jobs": 3}
    text = said(lambda: pmap(scaled, [1], **given))
    assert "functools.partial(scaled, n_jobs=3)" in text
    assert "processes" not in text


def test_a_name_that_the_function_may_have_is_told_both_ways() -> None:
    given: dict[str, Any] = {"n_jobs": 3}
    text = said(lambda: pmap(open_to_all, [1], **given))
    assert "Write processes=3" in text
    assert "functools.partial(open_to_all, n_jobs=3)" in text


@pytest.mark.parametrize("size", [1, 200, None])
def test_a_chunksize_by_its_place(size: Any) -> None:
    one: Any = identity
    rows: tuple[Any, ...] = ([(1,)], size)
    asks: list[tuple[Callable[[], object], str]] = [
        (lambda: pmap(one, [1], size), f"pmap(f, xs, chunksize={size})"),
        (lambda: pimap(one, [1], size), f"pmap(f, xs, chunksize={size})"),
        (lambda: pmap_async(one, [1], size), f"pmap(f, xs, chunksize={size})"),
        (lambda: pmap(pow, [1], [2], size), f"pmap(f, xs, chunksize={size})"),
        (lambda: pstarmap(one, *rows), f"pstarmap(f, rows, chunksize={size})"),
        (lambda: pstarmap.iter(one, *rows), f"pstarmap(f, rows, chunksize={size})"),
        (lambda: pstarmap.async_(one, *rows), f"pstarmap(f, rows, chunksize={size})"),
    ]
    for ask, right in asks:
        assert f"chunksize, that is a keyword: {right}" in said(ask)


def test_other_arguments_by_their_place() -> None:
    yes: Any = True
    rows: tuple[Any, ...] = ([(1,)], [2])
    assert "chunksize" not in said(lambda: pmap(pow, [1], yes))
    assert "got [2] as well" in said(lambda: pstarmap(identity, *rows))


def test_options_of_calls_that_pass_their_keywords_on() -> None:
    given: dict[str, Any] = {"processes": 3}
    assert "pcall.using(processes=...)" in said(lambda: pcall(call(identity, 1), **given))
    assert "pcall.using(processes=...)" in said(lambda: pcall.async_(call(identity, 1), **given))
    assert "papply.using(processes=...)" in said(lambda: papply(identity, 1, **given))
    assert "papply.using(processes=...)" in said(lambda: papply.async_(identity, 1, **given))
    assert "papply.using(processes=...)" in said(lambda: call(identity, 1, **given))
    there: dict[str, Any] = {"max_workers": 3}
    assert "papply.using(processes=...)" in said(lambda: papply(identity, 1, **there))
    here = papply.using(backend="serial")
    assert here(scaled, 2, b=3) == 6
    assert here(open_to_all, 2, timeout=3) == (2, {"timeout": 3})
    wrong: dict[str, Any] = {"c": 3}
    with pytest.raises(TypeError, match="unexpected keyword argument 'c'"):
        here(scaled, 2, **wrong)


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("max_workers", 2, "processes=2"),
        ("n_jobs", -1, "Leave it out"),
        ("max_tasks_per_child", 3, "maxtasksperchild=3"),
        ("mp_context", None, "multiprocessing.get_context('spawn')"),
        ("start_method", "fork", "multiprocessing.get_context('fork')"),
        ("chunk_size", 3, "pmap(f, xs, pool=pool, chunksize=...)"),
        ("isolate", True, "pools that they share: isolate=..."),
        ("progress", True, "pmap(f, xs, pool=pool, progress=...)"),
        ("anything", 1, "a Pool takes processes, initializer"),
    ],
)
def test_keywords_that_a_pool_does_not_take(name: str, value: object, right: str) -> None:
    given: dict[str, Any] = {name: value}
    assert right in said(lambda: Pool(**given))
