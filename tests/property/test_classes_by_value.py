"""Classes of every kind are by value what their class statement made.

Each statement runs as a script would run it. What it made goes through a pickle by value into a
namespace that knows nothing of it, as in a worker, and is compared with the original.
"""

import re
import sys
import types
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap._transport.by_value import classes
from pmap._transport.by_value.picklers import Whole, dumps_full, dumps_light
from pmap._transport.values import loads

HEAD: Final = """
import abc, collections, dataclasses, enum, functools, typing
T = typing.TypeVar("T")
P = typing.ParamSpec("P")
class Plain:
    base = 1
    shared = 2
    def method(self, y=3):
        return self.base, y
class Slotted:
    __slots__ = ("s", "__private")
class Keyed:
    seen = []
    def __init_subclass__(cls, /, tag="none", **rest):
        super().__init_subclass__(**rest)
        cls.seen.append((cls.__name__, tag))
class Meta(type):
    made = []
    def __new__(meta, name, bases, space, **rest):
        return super().__new__(meta, name, bases, space)
    def __init__(cls, name, bases, space, **rest):
        super().__init__(name, bases, space)
        cls.from_meta = sorted(rest)
    def __iter__(cls):
        return iter((1, 2))
class WithMeta(metaclass=Meta):
    pass
class Abstract(abc.ABC):
    @abc.abstractmethod
    def must(self): ...
class Box(typing.Generic[T]):
    pass
class Named:
    def __set_name__(self, owner, name):
        self.names = getattr(self, "names", ()) + (name,)
    def __get__(self, instance, owner=None):
        return self.names
def decorated(f):
    @functools.wraps(f)
    def wrapper(*args):
        return ("wrapped", f(*args))
    return wrapper
"""
# Bases that go together, and the keywords that they take.
BASES: Final = (
    ("", ""),
    ("Plain", ""),
    ("Slotted", ""),
    ("Keyed", ", tag='t'"),
    ("Keyed, Plain", ", tag=[1]"),
    ("WithMeta", ", option=1"),
    ("Abstract", ""),
    ("Box[T]", ""),
    ("Box[int], Plain", ""),
    ("Exception", ""),
    ("dict", ""),
    ("int", ""),
    ("str", ""),
    ("collections.OrderedDict", ""),
    ("typing.Protocol", ""),
    ("typing.NamedTuple", ""),
    ("typing.TypedDict", ""),
    ("enum.Enum", ""),
    ("enum.IntFlag", ""),
    ("str, enum.Enum", ""),
)
DECORATORS: Final = (
    "",
    "@dataclasses.dataclass",
    "@dataclasses.dataclass(order=True, frozen=True)",
)
MEMBERS: Final = (
    "'A doc.'",
    "base = True",  # equal to the parent's, and another one
    "shared = 2",
    "__hash__ = None",
    "items = [1, {'a': (2,)}]",
    "named = Named()",
    "def method(self, y=4, *, z=5): return super().method(y), z",
    "def own(self): return __class__.__name__, type(self).__name__",
    "def must(self): return 1",
    "@property\n    def value(self): return 6",
    "value = property(lambda self: 6, lambda self, x: setattr(self, 'x', x))",
    "@classmethod\n    def of(cls, x=7): return cls.__name__, x",
    "@staticmethod\n    def static(x=8): return x",
    "@decorated\n    def wrapped(self): return 9",
    "@functools.lru_cache\n    def cached(self, x=1): return x",
    "@functools.cached_property\n    def kept(self): return 10",
    "class Inner:\n        value = 11\n        def up(self): return Inner",
    "annotated: int",
    "with_default: 'list[int] | None' = None",
    "itself = lambda self: Made",
    "def __eq__(self, other): return type(self) is type(other)",
    "def __repr__(self): return 'made'",
    "def __class_getitem__(cls, item): return (cls.__name__, item)",
)
FIELDS: Final = ("a: int", "b: 'str' = 'x'")
ENUM: Final = ("A = 1", "B = 2", "ALIAS = 1", "def shout(self): return self.name + '!'")


@st.composite
def statements(draw: st.DrawFn) -> str:
    bases, keywords = draw(st.sampled_from(BASES))
    decorator = ""
    if "enum" in bases:
        members = [*ENUM]
    elif bases in ("typing.NamedTuple", "typing.TypedDict"):
        members = [FIELDS[0]] if bases.endswith("Dict") else [*FIELDS]
    else:
        members = draw(st.lists(st.sampled_from(MEMBERS), max_size=6, unique=True))
        if bases == "Slotted" and draw(st.booleans()):
            members = [m for m in members if not m.startswith(("base", "annotated"))]
            members.append("__slots__ = ('t', '__own')")
        if bases in ("", "Plain", "Keyed", "Box[T]"):
            decorator = draw(st.sampled_from(DECORATORS))
            # A field without a default may stand behind none that has one.
            members.sort(key=lambda member: not member.startswith("annotated"))
    body = "\n    ".join(members or ["pass"])
    parameters = ""
    if sys.version_info >= (3, 12) and bases in ("", "Plain") and draw(st.booleans()):
        parameters = "[U: (int, str), *Us, **Q]"
    heads = f"{bases}{keywords}".lstrip(", ")
    return f"{decorator}\nclass Made{parameters}({heads}):\n    {body}\n"


def script(text: str) -> dict[str, Any] | None:
    """Return the globals of a script that ran; None: it is none that runs."""
    module = types.ModuleType("__main__")
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        exec(compile(HEAD + text, "script.py", "exec"), vars(module))
    except (TypeError, ValueError):
        return None
    finally:
        sys.modules["__main__"] = before
    return vars(module)


def through(value: object) -> Any:
    """Return what arrives of `value` in a process that knows none of its classes."""
    data = dumps_full(Whole(), value)
    saved = [getattr(classes, name) for name in ("_keys", "_by_key", "_sent", "_arrived")]
    classes._keys, classes._sent, classes._arrived = (classes._OfClasses() for _ in range(3))
    classes._by_key = type(saved[1])()
    try:
        return loads(data)
    finally:
        classes._keys, classes._by_key, classes._sent, classes._arrived = saved


SKIPPED: Final = {"__dict__", "__weakref__", "_abc_impl", "__module__"}


def facts(cls: Any, inner: int = 2) -> Iterator[tuple[object, ...]]:
    """Yield what can be said of a class in words."""
    own: dict[str, Any] = {**cls.__dict__}
    yield "names", cls.__name__, cls.__qualname__, cls.__module__, cls.__doc__
    yield "mro", [(base.__module__, base.__qualname__) for base in cls.__mro__]
    yield "meta", type(cls).__name__, getattr(cls, "from_meta", None), getattr(cls, "seen", None)
    yield "abstract", sorted(getattr(cls, "__abstractmethods__", ()))
    yield "orig", [str(base) for base in getattr(cls, "__orig_bases__", ())]
    yield "parameters", str(getattr(cls, "__parameters__", None))
    yield "slots", str(own.get("__slots__"))
    yield "hash", cls.__hash__ is None
    yield "size", cls.__basicsize__, cls.__dictoffset__ != 0
    yield "attributes", [name for name in sorted(own) if name not in SKIPPED]
    for name in sorted(own):
        value = own[name]
        if name in SKIPPED or name in ("__slots__", "__doc__"):
            continue
        yield name, type(value).__name__, *described(value, inner)


def described(given: object, inner: int) -> Iterator[object]:
    value: Any = given
    if isinstance(given, types.FunctionType):
        yield value.__qualname__, value.__defaults__, value.__kwdefaults__, value.__doc__
        yield value.__code__.co_code, str(value.__annotations__), [*vars(value)]
    elif isinstance(given, int | str | bytes | list | tuple | type(None)):
        yield repr(value)
    elif isinstance(given, type) and inner and given.__qualname__.startswith("Made."):
        yield [*facts(value, inner - 1)]


def tried(cls: Any) -> Iterator[object]:
    """Yield what comes of using a class."""

    def outcome(call: Any) -> object:
        try:
            return re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(call()))
        except Exception as error:
            return type(error).__name__, str(error)

    yield outcome(lambda: isinstance(cls(), cls))
    yield outcome(lambda: cls(1) == cls(1))
    yield outcome(lambda: cls(1, 2) < cls(2, 1))
    yield outcome(lambda: [*cls])
    yield outcome(lambda: cls[int])
    for name in ("method", "own", "must", "wrapped", "cached", "itself", "shout"):
        yield name, outcome(lambda name=name: getattr(cls(), name)())
        yield name, outcome(lambda name=name: getattr(cls(1), name)())
    for name in ("value", "kept", "named", "items", "base"):
        yield name, outcome(lambda name=name: getattr(cls(), name))
    for name in ("of", "static", "A", "ALIAS", "_fields", "__required_keys__", "__match_args__"):
        yield name, outcome(lambda name=name: getattr(cls, name))
    yield outcome(lambda: cls(1).shout() + str([m.name for m in cls]))


@given(statements())
def test_a_class_is_what_its_statement_made(text: str) -> None:
    space = script(text)
    if space is None:
        return
    made = space["Made"]
    seen = [*space["Keyed"].seen]
    again = through(made)
    assert again is not made
    assert [*facts(again)] == [*facts(made)]
    assert [*tried(again)] == [*tried(made)]
    assert space["Keyed"].seen == seen  # nothing of the original heard of it


@given(statements())
def test_the_light_pickler_makes_the_same(text: str) -> None:
    space = script(text)
    if space is None:
        return
    hidden = sys.modules.pop("cloudpickle")
    try:
        light = dumps_light(Whole(), space["Made"])
    finally:
        sys.modules["cloudpickle"] = hidden
    assert light is not None
    assert loads(light) is space["Made"]  # here it is known by its key


@pytest.mark.parametrize("bases", [bases for bases, _ in BASES])
def test_all_bases_make_scripts_that_run(bases: str) -> None:
    keywords = dict(BASES)[bases]
    body = "A = 1" if "enum" in bases and "str" not in bases else "pass"
    body = "A = 'a'" if bases == "str, enum.Enum" else body
    assert script(f"class Made({f'{bases}{keywords}'.lstrip(', ')}):\n    {body}\n") is not None
