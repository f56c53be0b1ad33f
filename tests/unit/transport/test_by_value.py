"""Names told to a worker, without one: fingerprints, units, and what is put in place."""

import marshal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
import pytest

from pmap._transport.by_value import arriving, fingerprints
from pmap._transport.by_value.baseline import Baseline
from pmap._transport.by_value.blame import where_it_fails
from pmap._transport.by_value.fingerprints import fingerprint_of
from pmap._transport.by_value.names import Needs
from pmap._transport.by_value.namespaces import Namespace, namespace_of
from pmap._transport.by_value.picklers import digest
from pmap._transport.by_value.sent_names import SentNames, UnsentNameError
from pmap._transport.by_value.shared import Shared
from pmap._transport.values import parts

SOURCE: Final = """
LIMIT = 1
items = []
table = {"items": items}
def helper(x):
    return x + LIMIT
def work(x):
    return helper(x), items, table
def other(x):
    return LIMIT
"""


def script(source: str = SOURCE) -> dict[str, Any]:
    """Return the globals of a script that ran."""
    space = vars(ModuleType("__main__"))
    exec(source, space)
    return space


@pytest.fixture(name="worker")
def _worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Needs], None]:
    """Return what does as a worker does that is told what a call needs."""
    for name in ("_modules", "_units", "received", "version_of", "_in_place", "_saved", "_at_fork"):
        monkeypatch.setattr(arriving, name, {})
    for name in ("find_home", "find_definition", "find_fingerprint"):
        monkeypatch.setattr(arriving, name, [])
    monkeypatch.setattr(arriving, "_ready", ((), ()))
    monkeypatch.setattr(arriving, "enter", id)  # the test's own modules stay what they are
    baseline = Baseline()

    def told(needs: Needs) -> None:
        for number, unit in needs.units.items():
            load = partial(parts, unit.payload.entry)
            arriving.take_unit(number, load, unit.versions, unit.definitions, unit.primed)
        arriving.prepare(tuple(needs.units), baseline.names_of(needs))

    return told


def needs_of(sent_names: SentNames, space: dict[str, Any], *names: str) -> Needs:
    where = namespace_of(space)
    assert isinstance(where, Namespace)
    needs = Needs(sent_names)
    needs.resolve([(where, name) for name in names])
    needs.space_of(space)
    return needs


def there(needs: Needs) -> dict[str, Any]:
    """Return the namespace that the worker has."""
    number = next(space.number for space, _ in needs.names)
    return arriving.namespace(number, "__main__")


def test_what_a_function_uses_goes_along_and_lives_in_one_namespace(
    worker: Callable[[Needs], None],
) -> None:
    space = script()
    needs = needs_of(SentNames(), space, "work")
    worker(needs)
    here = there(needs)
    assert here is not space
    assert here["work"](1) == (2, [], {"items": []})
    assert here["work"].__globals__ is here["helper"].__globals__ is here
    assert here["table"]["items"] is here["items"] is not space["items"]


def test_the_callers_change_counts_and_else_what_the_worker_has_stays(
    worker: Callable[[Needs], None],
) -> None:
    sent_names, space = SentNames(), script()
    first = needs_of(sent_names, space, "work")
    worker(first)
    here = there(first)
    here["LIMIT"] = 10
    here["items"].append("own")
    again = needs_of(sent_names, space, "work")
    assert again.units.keys() == first.units.keys()
    worker(again)
    assert (here["LIMIT"], here["items"]) == (10, ["own"])
    space["LIMIT"] = 5
    changed = needs_of(sent_names, space, "work")
    assert len(changed.units) == len(first.units) + 1
    worker(changed)
    assert (here["LIMIT"], here["items"]) == (5, ["own"])
    del space["LIMIT"]
    worker(needs_of(sent_names, space, "work"))
    assert "LIMIT" not in here


def test_calls_that_take_turns_each_find_their_own(worker: Callable[[Needs], None]) -> None:
    sent_names, space = SentNames(), script()
    one = needs_of(sent_names, space, "other")
    worker(one)
    here = there(one)
    space["LIMIT"] = 2
    two = needs_of(sent_names, space, "other")
    worker(two)
    assert here["LIMIT"] == 2
    here["LIMIT"] = 20
    worker(one)
    assert here["LIMIT"] == 1
    worker(two)
    assert here["LIMIT"] == 20, "what the worker has made of it is kept meanwhile"


def test_a_unit_that_does_not_load_says_so_each_time(worker: Callable[[Needs], None]) -> None:
    space = script("class Bad:\n    def __reduce__(self): return int, ('x',)\nbad = Bad()")
    needs = needs_of(SentNames(), space, "bad")
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            worker(needs)


def test_what_is_forgotten_is_gone(worker: Callable[[Needs], None]) -> None:
    sent_names, space = SentNames(), script()
    needs = needs_of(sent_names, space, "work")
    worker(needs)
    assert arriving.received
    assert not sent_names.dead
    numbers = [*needs.units]
    sent_names.clear()
    del needs
    assert sorted(sent_names.dead) == sorted(numbers)
    arriving.forget(sent_names.dead)
    assert not arriving.received
    assert not arriving.version_of


def test_what_cannot_be_sent_is_named() -> None:
    space = script("import threading\nlock = {'a': [threading.Lock()]}\ndef work(x): return lock")
    needs = needs_of(SentNames(), space, "work")
    with pytest.raises(UnsentNameError) as caught:
        needs.check()
    assert caught.value.name == "lock"
    assert "work -> global 'lock' -> ['a'] -> [0]: _thread.lock" in where_it_fails(
        space["work"], "work"
    )
    assert where_it_fails([1, 2], "given") == ""


class Pair(NamedTuple):
    first: int
    second: object


def test_the_path_ends_at_what_belongs_to_its_process() -> None:
    executor = ThreadPoolExecutor(1)
    shared = Shared({"a": (1, executor)})
    wanted = (
        "(given -> .value -> ['a'] -> [1]: concurrent.futures.thread.ThreadPoolExecutor; do not "
        "send an executor: make one in the item, or use it at the caller)"
    )
    assert where_it_fails(shared, "given") == " " + wanted
    assert "(given: concurrent.futures.Future; do not send a future" in where_it_fails(
        Future[int](), "given"
    )
    assert "(given -> .second: _thread.lock" in where_it_fails(Pair(1, threading.Lock()), "given")


CHANGES: Final[list[Callable[[Any], object]]] = [
    lambda given: setattr(given, "__code__", script.__code__),
    lambda given: setattr(given, "__defaults__", (1,)),
    lambda given: setattr(given, "__kwdefaults__", {"x": 1}),
    lambda given: setattr(given, "__name__", "another"),
    lambda given: setattr(given, "__qualname__", "another"),
    lambda given: setattr(given, "__doc__", "another"),
    lambda given: setattr(given, "__annotations__", {"x": int}),
    lambda given: given.__annotations__.update(x=int),
    lambda given: setattr(given, "attribute", 1),
]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_of_a_plain_function_is_seen(change: Callable[[Any], object]) -> None:
    sent_names, space = SentNames(), script()
    needs = needs_of(sent_names, space, "other")
    assert needs.are_current()
    change(space["other"])
    assert not needs.are_current()
    assert needs_of(sent_names, space, "other").are_current()


def test_an_initializers_value_stays_until_the_caller_changes_the_name() -> None:
    main = namespace_of(vars(sys.modules["__main__"]))
    assert main is not None
    main.dict["pmap_test_name"] = None
    try:
        baseline = Baseline()
        needs = Needs(SentNames())
        needs.resolve([(main, "pmap_test_name")])
        assert [stays for *_, stays in baseline.names_of(needs)] == [True]
        main.dict["pmap_test_name"] = 1
        late = Needs(SentNames())
        late.resolve([(main, "pmap_test_name")])
        assert [stays for *_, stays in Baseline().names_of(late)] == [True]
        assert [stays for *_, stays in baseline.names_of(late)] == [False]
    finally:
        del main.dict["pmap_test_name"]


def fingerprint(value: object) -> object:
    return fingerprint_of(value, digest)


class Thing:
    def __init__(self, x: object) -> None:
        self.x = x


SAME: Final[list[Callable[[], object]]] = [
    lambda: 1,
    lambda: (1, "a", (2.5, None)),
    lambda: {"a": [1, {2}]},
    lambda: Thing([1]),
    lambda: threading,
    lambda: Thing,
    lambda: float("nan"),
]


@pytest.mark.parametrize("make", SAME)
def test_equal_values_have_one_fingerprint(make: Callable[[], object]) -> None:
    assert fingerprint(make()) == fingerprint(make())


def mutated_list() -> Iterator[object]:
    value = [1, [2]]
    yield value
    value[1] = [3]
    yield value


def mutated_instance() -> Iterator[object]:
    value = Thing({"a": 1})
    yield value
    value.x = {"a": 2}
    yield value


def other_code() -> Iterator[object]:
    def function() -> int:
        return 1

    yield function
    function.__code__ = (lambda: 2).__code__
    yield function


def other_attribute() -> Iterator[object]:
    class Local:
        x: ClassVar = [1]

    yield Local
    Local.x.append(2)
    yield Local


def bound_to_what_changes() -> Iterator[object]:
    value = {"a": 1}
    yield value.get
    value["b"] = 2
    yield value.get


def another_type() -> Iterator[object]:
    yield [1, 2]
    yield [1, True + 1.0]


@pytest.mark.parametrize(
    "make",
    [
        *(mutated_list, mutated_instance, other_code, other_attribute),
        *(bound_to_what_changes, another_type),
    ],
)
def test_what_has_changed_has_another(make: Callable[[], Iterator[object]]) -> None:
    values = make()
    before = fingerprint(next(values))
    assert fingerprint(next(values)) != before


def large() -> dict[object, object]:
    return {n: str(n) for n in range(3000)}


LARGE_CHANGES: Final[list[Callable[[dict[object, object]], object]]] = [
    lambda value: value.update({2999: "x"}),
    lambda value: value.update({0: 0}),
    lambda value: value.pop(1),
    lambda value: value.update({0: value.pop(0)}),  # another order
    lambda value: value.update({True: value.pop(1)}),
    lambda value: value.update({1: object}),
]


@pytest.mark.parametrize("swift", [True, False])
@pytest.mark.parametrize("change", LARGE_CHANGES)
def test_a_change_in_a_large_value_is_seen(
    change: Callable[[dict[object, object]], object], swift: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "_LARGE", 1000)
    # The first look decides by the clock how to look later.
    clock = iter([0, 2, 2, 3] if swift else [0, 1, 1, 3])
    monkeypatch.setattr(fingerprints, "perf_counter", lambda: next(clock, 0))
    value = large()
    before = fingerprint(value)
    assert fingerprint_of(value, digest, before) == before
    change(value)
    assert fingerprint_of(value, digest, before) != before


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_change_in_a_large_array_is_seen(order: Literal["C", "F"]) -> None:
    array = np.zeros((200, 300), order=order)  # more than is hashed in one piece
    seen = [fingerprint(array), fingerprint(array)]
    assert seen[0] == seen[1]
    for place in ((0, 0), (199, 299)):
        array[place] = 1
        assert fingerprint(array) not in seen
        seen.append(fingerprint(array))


def test_a_large_value_is_looked_at_in_the_quicker_way(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 2, 2, 3])
    monkeypatch.setattr(fingerprints, "_LARGE", 1000)
    monkeypatch.setattr(fingerprints, "perf_counter", lambda: next(clock, 0))
    value = large()
    # As a script's globals have it: marshal writes in other bytes what nothing else refers to, and
    # whether the calling frames do depends on the version of Python.
    space = {"value": value}
    before = fingerprint(value)
    dumps, versions = marshal.dumps, list[int]()

    def counted(given: Any, version: int) -> bytes:
        versions.append(version)
        return dumps(given, version)

    monkeypatch.setattr(fingerprints, "marshal", SimpleNamespace(dumps=counted))
    assert fingerprint_of(value, digest, before) == before
    assert versions == [4]
    held = [*value.values()]  # which marshal writes in other bytes, though nothing has changed
    assert fingerprint_of(value, digest, before) == before
    assert versions[:3] == [4, 4, 2]
    del held, space


class Enough(BaseException):
    """Raised when an object was pickled so often that it would go on without end."""


class Counted:
    """An object that counts how often it is pickled."""

    times = 0

    def __reduce__(self) -> tuple[type["Counted"], tuple[()]]:
        Counted.times += 1
        if Counted.times > 100:
            raise Enough
        return Counted, ()


def test_a_class_with_objects_of_its_own_is_looked_at_a_few_times() -> None:
    class Level:
        counted = Counted()
        low: object
        high: object
        by_name: object

    Level.low, Level.high = Level(), Level()
    Level.by_name = {"low": Level.low, "high": Level.high}
    space = script()
    space["Level"] = Level
    Level.__module__ = "__main__"
    Counted.times = 0
    assert needs_of(SentNames(), space, "Level").names
    assert 1 <= Counted.times <= 20
