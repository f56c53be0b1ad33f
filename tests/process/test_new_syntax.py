"""What Python 3.14 and 3.15 are the first to have: deferred annotations, lazy imports, and others.

The programs are texts: older versions cannot read them. Each runs on each start method.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.scripts import run_script

if TYPE_CHECKING:
    from pmap._types import StartMethod

ANNOTATIONS: Final = """
import functools
from annotationlib import Format, get_annotations
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple, TypedDict, get_type_hints
from pmap import pmap
pmap = pmap.using(processes=1, start_method={method!r})
if TYPE_CHECKING:
    from nowhere import Missing

def function(x: Missing) -> list[Later]:
    return x + 1

class Plain:
    class Inner: pass
    lock = __import__("threading").Lock()  # in the namespace that the annotations refer to
    a: Missing
    b: Inner
    def method(self, y: Missing, z: Inner) -> Plain: return y

@dataclass
class Data:
    x: int
    y: Missing = 3
    z: Later | None = None

@dataclass
class Node:
    x: int
    y: list[Node] | None = None

class Row(NamedTuple):
    x: int
    y: Node

class Table(TypedDict):
    x: Node

def typed(x: int, y: Node) -> Row: return x

@functools.wraps(function)
def wrapper(*args): return function(*args)

def changed(x: int): return x
changed.__annotations__["y"] = str

class Changed:
    x: int
Changed.__annotations__["y"] = str

class Given:
    x: int
Given.__annotations__ = dict(z=float)

type Alias[U] = list[U] | Node

def generic[U: Node](x: U) -> Alias[U]: return x

def outer():
    class Local: pass
    def inner(x: Local) -> Local: return x
    return inner
inner = outer()

def texts(thing):
    return get_annotations(thing, format=Format.STRING)
def references(thing):
    found = get_annotations(thing, format=Format.FORWARDREF)
    return [(name, getattr(hint, "__forward_arg__", str(hint))) for name, hint in found.items()]
def hints(thing):
    return str(get_type_hints(thing))

def check(label, call):
    got, wanted = pmap(call, [1]), [call(1)]
    if got != wanted:
        print(label, got, wanted)

check("a function", function)
check("a wrapper", wrapper)
check("a method", lambda x: Plain().method(x, 1))
for thing in (function, Plain, Plain.method, Data, Data.__init__):
    check(thing, lambda _: texts(thing))
    check(thing, lambda _: references(thing)[0])
check("the class has what its annotations name", lambda _: references(Plain)[1])
for thing in (Node, Node.__init__, Row, Table, typed, inner, changed, Changed, Given):
    check(thing, lambda _: hints(thing))
check("another name", lambda _: references(wrapper)[0])
check("a changed one", lambda _: (changed.__annotations__, Changed.__annotations__))
check("a generic one", lambda _: (hints(generic), str(Alias.__value__), str(Alias[int])))
check("a missing field", lambda x: repr(Data(x)))
def types(cls): return [getattr(field.type, "__forward_arg__", field.type) for field in fields(cls)]
check("the types of fields", lambda _: types(Data))
if pmap(Data, [1]) != [Data(1)] or pmap(lambda data: data.y, [Data(1)]) != [3]:
    print("a missing field does not come back")
Later = int
check("a name that is there by now", lambda _: references(function)[1])
if pmap(lambda _: function, [1])[0] is not function:
    print("it does not come back")

value = 1
for template in (t"a {{value!r:>5}} b", pmap(lambda value: t"a {{value!r:>5}} b", [1])[0]):
    got = pmap(lambda t: (t.strings, t.values, t.interpolations[0].format_spec), [template])
    if got != [(("a ", " b"), (1,), ">5")]:
        print("a template", got)
print("done")
"""

LAZY: Final = """
lazy import json
lazy import os.path
lazy import xml.dom.minidom as minidom
lazy from string import Template
lazy import nowhere
import sys
from pmap import pmap
pmap = pmap.using(processes=1, start_method={method!r})

def uses(x): return json.dumps(x), Template("$x").substitute(x=x), os.path.join("a", "b")
def deep(_): return minidom.Document.__name__
def loaded(_): return "xml.dom.minidom" in sys.modules, minidom.__name__
def missing(_): return nowhere.name

print(pmap(uses, [1]), pmap(loaded, [1]), pmap(deep, [1]))
try:
    pmap(missing, [1])
except ModuleNotFoundError as error:
    print(error)
print([name in sys.modules for name in ("json", "xml.dom.minidom")])

MARK = sentinel("MARK")
FROZEN = frozendict(a=1)
def given(x): return x is MARK, MARK, FROZEN["a"]
((first, back, _), (second, _, one)) = pmap(given, [MARK, 1])
print(first, second, back is MARK, one)
def local():
    mark = sentinel("mark")
    return pmap(lambda x: (x is mark, mark), [mark])[0][1] is mark
print(local(), pmap(lambda x: frozendict(x=x), [1]) == [frozendict(x=1)])
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated before 3.14")
def test_deferred_annotations_and_templates(start_method: "StartMethod", tmp_path: Path) -> None:
    assert run_script(tmp_path, ANNOTATIONS.format(method=start_method)) == ["done"]


@pytest.mark.skipif(sys.version_info < (3, 15), reason="there are no lazy imports before 3.15")
def test_lazy_imports_and_sentinels(start_method: "StartMethod", tmp_path: Path) -> None:
    assert run_script(tmp_path, LAZY.format(method=start_method)) == [
        "[('1', '1', 'a/b')] [(False, 'xml.dom.minidom')] ['Document']",
        "No module named 'nowhere'",
        "[False, False]",
        "True False True 1",
        "True True",
    ]
