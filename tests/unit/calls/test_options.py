"""Options: defined once, checked all at once, with a message that says what is allowed."""

import inspect
import math
import sys
from typing import ClassVar, get_args, get_type_hints

import pytest

from pmap import OptionError
from pmap._calls import options as _options
from pmap._calls.options import (
    CallOptions,
    Options,
    Settings,
    WorkerOptions,
    changed,
    in_force,
    merge,
)
from pmap._types import Backend

COUNTS = ["processes", "chunksize", "max_tasks_per_child"]


class OurPool:
    """What a pool of ours looks like from here."""

    __pmap_pool__: ClassVar[bool] = True


class Index:
    """An integer that is no int, as numpy's are."""

    def __index__(self) -> int:
        return 3


def nothing() -> None: ...


# -- defined once ------------------------------------------------------------------------------


def test_the_typed_dict_and_the_tuples_name_the_same_options() -> None:
    own = [name for name in Settings._fields if name not in ("worker", "call", "given")]
    named = [*own, *WorkerOptions._fields, *CallOptions._fields]
    assert list(Options.__annotations__) == named == list(in_force(Settings()))


def test_the_typed_dict_and_the_tuples_give_them_the_same_types() -> None:
    kept = {
        **get_type_hints(Settings),
        **get_type_hints(WorkerOptions),
        **get_type_hints(CallOptions),
    }
    taken = get_type_hints(Options)
    del taken["initargs"]  # any iterable is taken, a tuple is kept
    del taken["max_memory_per_child"]  # a text with a unit is taken, a number is kept
    del taken["ship"]  # modules are taken, too, and names are kept
    assert taken == {name: kept[name] for name in taken}


def test_every_option_is_described() -> None:
    text = inspect.cleandoc(Options.__doc__ or "")
    for name in Options.__annotations__:
        assert f"\n    {name}: " in text


def test_every_option_is_checked() -> None:
    for name in Options.__annotations__:
        with pytest.raises(OptionError, match=f"^{name}="):
            merge(Settings(), {name: object()})


def test_the_defaults_pass_their_own_checks() -> None:
    settings = merge(Settings(), in_force(Settings()))
    assert settings._replace(given=frozenset()) == Settings()
    assert settings.given == in_force(Settings()).keys()


# -- merging -----------------------------------------------------------------------------------


def test_an_option_is_laid_over_the_settings_and_leaves_the_others() -> None:
    first = merge(Settings(), {"processes": 3, "chunksize": 10})
    second = merge(first, {"chunksize": None, "backend": "threads"})
    assert second.worker == WorkerOptions(processes=3, backend="threads")
    assert second.call == CallOptions(chunksize=None)
    assert first.call == CallOptions(chunksize=10)


def test_equal_worker_options_are_one_key() -> None:
    one = merge(Settings(), {"initargs": [1, 2], "initializer": nothing, "chunksize": 1})
    two = merge(Settings(), {"initargs": (1, 2), "initializer": nothing})
    assert {one.worker: "pool"}[two.worker] == "pool"
    assert one.worker.initargs == (1, 2)


def test_settings_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Settings().worker = WorkerOptions()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_changed_names_what_differs() -> None:
    settings = merge(Settings(), {"chunksize": 2, "backend": "processes", "processes": 3})
    assert changed(settings) == {"processes": 3, "chunksize": 2}


# -- wrong values ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, "2", 1.5, 2.0, math.nan, math.inf, True, False, [], b"1"])
def test_a_count_that_is_none(name: str, value: object) -> None:
    with pytest.raises(OptionError) as caught:
        merge(Settings(), {name: value})
    assert caught.value.option == name
    assert caught.value.value is value
    assert "an int >= 1, or None" in caught.value.allowed
    assert str(caught.value).startswith(f"{name}={value!r}")


@pytest.mark.parametrize("name", COUNTS)
def test_a_count_may_be_another_kind_of_integer_and_is_kept_as_an_int(name: str) -> None:
    kept = in_force(merge(Settings(), {name: Index()}))[name]
    assert kept == 3
    assert type(kept) is int
    assert in_force(merge(Settings(), {name: None}))[name] is None


@pytest.mark.parametrize("value", ["process", "", None, 3, ["threads"]])
def test_a_backend_that_is_none(value: object) -> None:
    with pytest.raises(OptionError, match="'processes', 'threads', 'interpreters'") as caught:
        merge(Settings(), {"backend": value})
    assert "None" not in caught.value.allowed


@pytest.mark.parametrize("value", ["forks", "", 3, ["fork"]])
def test_a_start_method_that_is_none(value: object) -> None:
    with pytest.raises(OptionError, match=r"'spawn'.*or None"):
        merge(Settings(), {"start_method": value})


def test_the_words_are_those_of_the_types_and_of_the_platform() -> None:
    import multiprocessing

    assert set(_options.START_METHODS) == set(multiprocessing.get_all_start_methods())
    for method in (*_options.START_METHODS, None):
        assert merge(Settings(), {"start_method": method}).worker.start_method == method
    assert {*_options.BACKENDS_HERE, "interpreters"} == {*get_args(Backend)}
    assert ("interpreters" in _options.BACKENDS_HERE) == (sys.version_info >= (3, 14))
    for backend in _options.BACKENDS_HERE:
        assert merge(Settings(), {"backend": backend}).worker.backend == backend


@pytest.mark.parametrize("value", ["text", b"x", 5, None])
def test_initargs_that_are_none(value: object) -> None:
    with pytest.raises(OptionError, match="tuple of arguments"):
        merge(Settings(), {"initargs": value})


def test_an_initializer_is_a_function() -> None:
    assert merge(Settings(), {"initializer": nothing}).worker.initializer is nothing
    with pytest.raises(OptionError, match="initializer is a function, or None"):
        merge(Settings(), {"initializer": "nothing"})


def test_an_option_error_is_what_python_would_raise() -> None:
    with pytest.raises(ValueError, match="processes"):
        merge(Settings(), {"processes": 0})
    with pytest.raises(TypeError, match="processes"):
        merge(Settings(), {"processes": "2"})


def test_nothing_is_taken_where_one_option_is_wrong() -> None:
    before = Settings()
    with pytest.raises(OptionError):
        merge(before, {"processes": 2, "chunksize": 0})
    assert before == Settings()


@pytest.mark.parametrize("size", [2, 4])
def test_a_process_for_each_item_is_no_place_for_larger_chunks(size: int) -> None:
    with pytest.raises(OptionError, match=f"chunksize={size} is not possible: with isolate=True"):
        merge(Settings(), {"isolate": True, "chunksize": size})
    with pytest.raises(OptionError, match="a chunk has one item"):
        merge(merge(Settings(), {"chunksize": size}), {"isolate": True})
    assert merge(Settings(), {"isolate": True, "chunksize": 1}).call.chunksize == 1


# -- unknown options ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_name", "nearest"),
    [
        ("process", "processes"),
        ("procs", "processes"),
        ("chunk_size", "chunksize"),
        ("maxtasksperchild", "max_tasks_per_child"),
        ("startmethod", "start_method"),
    ],
)
def test_an_unknown_option_names_the_nearest(given_name: str, nearest: str) -> None:
    with pytest.raises(OptionError) as caught:
        merge(Settings(), {given_name: 1})
    assert caught.value.option == given_name
    assert f"did you mean {nearest!r}?" in str(caught.value)


def test_an_unknown_option_names_those_that_exist() -> None:
    with pytest.raises(OptionError) as caught:
        merge(Settings(), {"xyzzy": 1})
    assert "did you mean" not in str(caught.value)
    for name in Options.__annotations__:
        assert name in str(caught.value)


@pytest.mark.parametrize("name", ["priority"])
def test_an_option_of_a_later_version_is_unknown(name: str) -> None:
    with pytest.raises(OptionError, match="no option"):
        merge(Settings(), {name: 1})


# -- a given pool ------------------------------------------------------------------------------


def test_a_given_pool_is_kept() -> None:
    pool = OurPool()
    assert merge(Settings(), {"pool": pool, "chunksize": 3}).pool is pool
    assert merge(merge(Settings(), {"pool": pool}), {"pool": None}).pool is None


@pytest.mark.parametrize("value", [5, "pool", OurPool, object()])
def test_a_pool_that_is_none(value: object) -> None:
    with pytest.raises(OptionError, match=r"pmap\.Pool"):
        merge(Settings(), {"pool": value})


@pytest.mark.parametrize(
    "steps",
    [
        [{"pool": OurPool(), "processes": 2}],
        [{"pool": OurPool()}, {"processes": 2}],
        [{"processes": 2}, {"pool": OurPool()}],
    ],
)
def test_a_given_pool_has_decided_who_runs(steps: list[dict[str, object]]) -> None:
    settings = Settings()
    for options in steps[:-1]:
        settings = merge(settings, options)
    with pytest.raises(OptionError, match=r"processes=2 .*given pool has already decided"):
        merge(settings, steps[-1])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("700MB", 700_000_000),
        ("700 mb", 700_000_000),
        ("1.5GiB", 3 << 29),
        ("2k", 2000),
        (" 12 ", 12),
        ("3B", 3),
        ("1T", 10**12),
        (5, 5),
        (None, None),
    ],
)
def test_a_size_may_have_a_unit(given: object, kept: int | None) -> None:
    settings = merge(Settings(), {"max_memory_per_child": given})
    assert settings.worker.max_memory_per_child == kept


@pytest.mark.parametrize("given", ["", "MB", "-3MB", "3 i", "0", "0.1", "1e9", b"3", 0, 1.5])
def test_what_is_no_size_is_refused(given: object) -> None:
    with pytest.raises(OptionError, match="700MB"):
        merge(Settings(), {"max_memory_per_child": given})
