"""What the light pickler makes means what cloudpickle makes, for all that it does not refuse.

Both pickles are loaded, and what comes out is compared as two graphs that are walked side by side:
equal in every part, and shared where the other is shared.
"""

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Final

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmap._transport.by_value import globals_of
from pmap._transport.by_value.picklers import Whole, dumps_light
from pmap._transport.values import dumps, loads

HEAD: Final = """
import math, os.path as path, sys
import xml.dom
import xml.dom.minidom
from math import sqrt
from typing import Any, Optional
LIMIT = 7
TEXT = "text"
SHARED = []
TABLE = {"a": [1, 2], "b": (SHARED, SHARED), 3: {4.5, None}}
count = 0
"""
# Each is the end of a function of `x`, and `{other}` is another one.
BODIES: Final = (
    "return x + LIMIT",
    "SHARED.append(x); return list(SHARED)",
    "TABLE['b'][0].append(x); return SHARED",
    "return math.floor(sqrt(abs(x))) + len(TEXT)",
    "global count; count += x; return count",
    "return {other}(x - 1) if x > 0 else 0",
    "return [{other}(y) if y < 0 else LIMIT for y in range(x % 3)]",
    "return (lambda y: y * LIMIT)(x)",
    "return ({other}.__name__, {other}.__doc__, {other}.__qualname__)",
    "def inner(y=LIMIT):\n        return y + len(TABLE)\n    return inner()",
    "class Local:\n        value = 3\n    return Local.value + LIMIT",
    "return TABLE['c'][x]",
    "return xml.dom.minidom.parseString('<a/>').documentElement.tagName",
    "return path.join('a', TEXT)",
    "return sys.nothing.LIMIT",
    "return (__name__, [k for k in ('__file__', '__package__') if k in globals()])",
    "return undefined(x)",
    "raise ValueError(x, TEXT)",
    "yield from (x, LIMIT)",
    "from math import nothing",
)
HEADS: Final = (
    "(x)",
    "(x, y=LIMIT, *, z=TEXT)",
    "(x, seen=SHARED)",
    "(x: int, y: 'str' = TEXT) -> list[int]",
    "(x: Any, *rest: Optional[int]) -> int | None",
    "(x: float, *, hook=abs)",
)
ENDS: Final = ("", "{name}.note = SHARED", "{name}.friend = {other}", "{name}.__doc__ = TEXT")
REFUSED: Final = {
    "an instance of a class elsewhere": "import io\nc = io.BytesIO()\ndef f(x): return c",
    "what calls such a one": "import io\nc = io.BytesIO()\ndef g(x): return c\n"
    "def f(x): return g(x)",
    "in a default": "import io\nc = io.BytesIO()\ndef f(x, y=c): return x",
    "in an attribute": "import io\ndef f(x): return x\nf.c = io.BytesIO()",
    "deep inside": "import io\nd = {'a': [(io.BytesIO(),)]}\ndef f(x): return d",
    "a module of its own": "import types\nm = types.ModuleType('m')\ndef f(x): return m",
    "main": "import sys\nm = sys.modules['__main__']\ndef f(x): return m",
    "a constant that is none": "def f(x): return 1\n"
    "f.__code__ = f.__code__.replace(co_consts=(None, bytearray(b'1')))",
}


def made(source: str) -> dict[str, Any]:
    """Return the globals of a script that ran, as if it were ``__main__``."""
    space: dict[str, Any] = {"__name__": "__main__", "__file__": "script.py", "__package__": None}
    exec(compile(source, "script.py", "exec"), space)
    return space


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, int]:
    count = draw(st.integers(1, 4))
    names = [f"f{n}" for n in range(count)]
    lines = [HEAD]
    for name in names:
        other = draw(st.sampled_from(names))
        doc = draw(st.sampled_from(("", "    'A doc.'\n")))
        body = draw(st.sampled_from(BODIES)).replace("{other}", other)
        if draw(st.booleans()) and body.startswith("return"):
            lines.append(f"{name} = lambda x: {body[7:]}")
        else:
            lines.append(f"def {name}{draw(st.sampled_from(HEADS))}:\n{doc}    {body}")
    for name in names:
        end = draw(st.sampled_from(ENDS)).replace("{name}", name)
        lines.append(end.replace("{other}", draw(st.sampled_from(names))))
    return "\n".join(lines) + "\n", count


def plainly(value: object) -> bytes | None:
    """Return what the light pickler makes where cloudpickle is not imported."""
    hidden = sys.modules.pop("cloudpickle")
    try:
        return dumps_light(Whole(), value)
    finally:
        sys.modules["cloudpickle"] = hidden


def kind_of(value: object) -> type[object]:
    return type(value)


def parts(given: object) -> Iterator[tuple[object, Any]]:
    """Yield what a value is made of, each with what it is of it."""
    kind = type(given)
    value: Any = given
    if kind is dict:
        yield from value.items()
    elif kind is list or kind is tuple:
        yield from enumerate(value)
    elif kind is FunctionType and value.__module__ == "__main__":
        for name in ("code", "closure", "defaults", "kwdefaults", "annotations", "dict"):
            yield name, getattr(value, f"__{name}__")
        yield "globals", value.__globals__


class SideBySide:
    """A walk through two graphs."""

    def __init__(self) -> None:
        self.there: dict[int, Any] = {}
        self.back: dict[int, Any] = {}

    def walk(self, ours: Any, theirs: Any, original: Any) -> None:
        assert type(ours) is type(theirs)
        if id(ours) in self.there or id(theirs) in self.back:
            assert self.there[id(ours)] is theirs
            assert self.back[id(theirs)] is ours
            return
        kind = kind_of(ours)
        if kind in (dict, list, FunctionType):
            self.there[id(ours)] = theirs
            self.back[id(theirs)] = ours
        if isinstance(ours, FunctionType):
            for name in ["name", "qualname", "module", "doc"]:
                assert getattr(ours, f"__{name}__") == getattr(theirs, f"__{name}__")
        elif isinstance(ours, CodeType):
            assert (ours, ours.co_filename) == (theirs, original.co_filename)
            assert [*ours.co_positions()] == [*theirs.co_positions()]
        elif isinstance(ours, ModuleType | BuiltinFunctionType | type):
            assert ours is theirs is original
        elif kind not in (dict, list, tuple):
            assert ours == theirs == original
        of_ours, of_theirs, of_all = dict(parts(ours)), dict(parts(theirs)), dict(parts(original))
        if "__builtins__" in of_ours:  # these are globals, of which ours may be more
            assert of_ours.keys() >= of_theirs.keys()
            of_ours = {name: of_ours[name] for name in of_theirs}
            del of_ours["__builtins__"], of_theirs["__builtins__"]
        assert of_ours.keys() == of_theirs.keys()
        for which, part in of_ours.items():
            self.walk(part, of_theirs[which], of_all[which])


def outcome(function: Callable[[int], Any], x: int) -> object:
    """Return what a call comes to, in a form that can be compared."""
    try:
        result = function(x)
        return repr([*result] if hasattr(result, "__next__") else result)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]
        return type(error), str(error), [(f.filename, f.lineno, f.name) for f in frames]


@given(programs(), st.lists(st.integers(-3, 9), max_size=4))
def test_what_comes_out_is_what_cloudpickle_makes(program: tuple[str, int], xs: list[int]) -> None:
    source, count = program
    space = made(source)
    value = tuple(space[f"f{n}"] for n in range(count))
    data = plainly(value)
    assert data is not None
    ours, theirs = loads(data), loads(cloudpickle.dumps(value, 5))
    SideBySide().walk(ours, theirs, value)
    for n in range(count):
        for x in xs:
            assert outcome(ours[n], x) == outcome(value[n], x)


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_plain_is_refused(source: str) -> None:
    assert plainly(made(source)["f"]) is None


def test_what_can_be_imported_goes_by_name() -> None:
    value: Mapping[str, object] = {"a": sys.intern, "b": ValueError, "c": traceback.format_exc}
    assert loads(plainly(value) or b"") == value


def test_where_cloudpickle_is_imported_it_is_left_to_it() -> None:
    assert dumps_light(Whole(), made("def f(x): return x")["f"]) is None


def test_an_interpreter_that_is_not_known_is_disassembled(monkeypatch: pytest.MonkeyPatch) -> None:
    function = made("LIMIT = 7\ndef f(x): return (lambda: x + LIMIT)()")["f"]
    monkeypatch.setattr(globals_of, "_IS_KNOWN", False)
    assert {*globals_of.names_in(function.__code__)} == {"LIMIT"}
    assert loads(dumps(function))(1) == 8


def test_what_is_only_the_name_of_an_attribute_does_not_go_along() -> None:
    space = made("data = list(range(100_000))\ndef f(x): return x.data\n")
    pickled = plainly(space["f"])
    assert pickled is not None
    assert len(pickled) < 1000
    space = made("data = [7]\ndef f(x): return x.data, data\n")
    pickled = plainly(space["f"])
    assert pickled is not None
    assert loads(pickled).__globals__["data"] == [7]


def test_names_in_long_code_and_in_a_class() -> None:
    many = "\n".join(f"    y = x.a{n}" for n in range(600))
    source = (
        f"LIMIT = 7\ndef f(x):\n    if x:\n{many.replace('    y', '        y')}\n    return LIMIT\n"
    )
    pickled = plainly(made(source)["f"])
    assert pickled is not None
    assert loads(pickled)(None) == 7
    source = (
        "LIMIT = 7\ndef f(x):\n    class Local:\n        value = LIMIT\n    return Local.value\n"
    )
    pickled = plainly(made(source)["f"])
    assert pickled is not None
    assert loads(pickled)(None) == 7
