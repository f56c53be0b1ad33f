"""Values as entries of a message: what arrives is what was sent, to the exact type."""

import enum
import math
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import pytest

from pmap._transport.framing import FrameReader, frame
from pmap._transport.packing import is_plain
from pmap._transport.values import dumps, encode, loads


class Point(NamedTuple):
    x: int
    y: int


class Color(enum.IntEnum):
    RED = 1


class Count(int):
    pass


class Text(str):
    __slots__ = ()


class Row(tuple[int, ...]):
    __slots__ = ()


def through(value: object) -> object:
    """Return what arrives when `value` is sent in a message."""
    (message,) = FrameReader().feed(frame((7, encode(value))))
    entry: Any = message[1]
    if type(entry) is not list:
        return entry
    (data,) = cast("list[bytes]", entry)
    return loads(data)


# --- values ------------------------------------------------------------------------------------


ARGUMENTS: tuple[object, ...] = (
    True,
    1,
    Count(3),
    Color.RED,
    Text("a"),
    bytearray(b"a"),
    Point(1, 2),
    Row((1, 2)),
    [1],
    {"a": 1},
    {1},
    frozenset({1}),
    OrderedDict[str, int](a=1),
    range(3),
    slice(1, 2),
    Ellipsis,
    NotImplemented,
    int,
    (Count(3), bytearray(b"a")),
    ((1, 2), (3,)),
    tuple(range(100)),
    [[1], (2, [3])],
)


@pytest.mark.parametrize("value", ARGUMENTS, ids=repr)
def test_a_value_keeps_its_exact_type(value: object) -> None:
    arrived = through(value)
    assert type(arrived) is type(value)
    assert arrived == value
    if isinstance(value, tuple):
        kinds = [type(part) for part in cast("tuple[object, ...]", value)]
        assert [type(part) for part in cast("tuple[object, ...]", arrived)] == kinds


@pytest.mark.parametrize("value", [None, True, 3, 1.5, 2j, "a", b"a", (), (1, "a"), (None,) * 16])
def test_plain_values_are_their_own_entries(value: object) -> None:
    assert is_plain(value)
    assert encode(value) is value


@pytest.mark.parametrize(
    "value",
    [Count(3), Color.RED, Text("a"), bytearray(), Point(1, 2), Row(), [], (1, (2,)), (None,) * 17],
    ids=repr,
)
def test_all_others_are_pickled_one_by_one(value: object) -> None:
    assert not is_plain(value)
    entry = encode(value)
    assert isinstance(entry, list)
    assert [type(part) for part in cast("list[object]", entry)] == [bytes]


def test_a_value_that_cannot_be_pickled_says_so_itself() -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        encode([sys.stdout.__class__, (i for i in "")])


# --- by name and by value ----------------------------------------------------------------------


@pytest.fixture
def main_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A ``__main__`` with a function and a class in it."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    code = """
factor = 3
def scaled(x):
    return x * factor
class Box:
    def __init__(self, value):
        self.value = value
"""
    exec(code, module.__dict__)
    return module


def in_another_program(data: bytes, monkeypatch: pytest.MonkeyPatch) -> object:
    """Load `data` where ``__main__`` is another module."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))
        return loads(data)


def test_what_is_importable_travels_by_name() -> None:
    data = dumps(math.sqrt)
    assert data == pickle.dumps(math.sqrt, 5)
    assert len(dumps(is_plain)) < 100
    assert loads(dumps(is_plain)) is is_plain


def test_a_lambda_travels_by_value() -> None:
    function = cast("Callable[[], int]", loads(dumps(lambda: 3)))
    assert function() == 3


def test_a_function_by_value_keeps_its_file_and_all_else() -> None:
    """Or a traceback from a worker would not show its lines."""

    def outer(x: int, /, *, by: int = 2) -> Callable[[], int]:
        return lambda: x * by

    sent = cast("types.FunctionType", outer).__code__
    arrived = cast("types.FunctionType", loads(dumps(outer))).__code__
    assert arrived == sent, "code objects are equal by all but their files"
    assert arrived.co_filename == sent.co_filename == __file__
    inner = [c for c in arrived.co_consts if isinstance(c, types.CodeType)]
    assert [c.co_filename for c in inner] == [__file__]
    assert list(arrived.co_positions()) == list(sent.co_positions())


def test_a_closure_travels_with_what_it_holds() -> None:
    held = [1, 2]
    function = cast("Callable[[], int]", loads(dumps(lambda: sum(held))))
    held.append(3)
    assert function() == 3


def test_a_local_class_travels_by_value() -> None:
    class Local:
        value = 5

    assert cast("Local", loads(dumps(Local()))).value == 5


def test_a_function_of_main_travels_by_value(
    main_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dumps(main_module.scaled)
    function = cast("Callable[[int], int]", in_another_program(data, monkeypatch))
    assert function(2) == 6


def test_a_global_of_main_has_the_value_of_the_moment(
    main_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    main_module.factor = 10
    data = dumps(main_module.scaled)
    main_module.factor = 100
    function = cast("Callable[[int], int]", in_another_program(data, monkeypatch))
    assert function(2) == 20


def test_an_object_of_main_travels_with_its_class(
    main_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dumps([main_module.Box(3)])
    (box,) = cast("list[types.SimpleNamespace]", in_another_program(data, monkeypatch))
    assert box.value == 3


def test_a_string_that_names_main_is_just_a_string() -> None:
    assert loads(dumps(["__main__", b"__main__"])) == ["__main__", b"__main__"]


def test_a_function_as_a_result_is_refused_where_multiprocessing_refuses_it() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        dumps(lambda: None, functions_by_value=False)
    assert callable(loads(dumps(lambda: None)))


def test_an_object_nested_too_deeply_is_an_error_and_not_a_crash() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(RecursionError):
        dumps(nested)
