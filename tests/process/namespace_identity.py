"""A program that checks which objects of a script are one object in a worker, too.

See `test_namespace.py`, which says what a program has in front of it.
"""

from typing import Final

IDENTITY: Final = """
import pmap as library
# --- a function of the script, wherever the script keeps it ---
def double(x): return 2 * x
short = lambda x: x
class Held:
    plain, static, bound = double, staticmethod(double), classmethod(double)
    table, row, pair, lazy = {"f": double}, [double], (double, short), short
    @staticmethod
    def own(x): return x
class Kind(enum.Enum):
    DOUBLE = enum.member(double)
@dataclasses.dataclass
class Fields:
    f: object = double
    g: object = dataclasses.field(default_factory=lambda: double)
class Registry:
    known = []
    subclasses = {}
    @classmethod
    def add(cls, function):
        cls.known.append(function)
        return function
    def __init_subclass__(cls): Registry.subclasses[cls.__name__] = cls
@Registry.add
def registered(x): return x
class Sub(Registry): pass
@functools.lru_cache
def cached(x): return x
@functools.singledispatch
def dispatched(x): return x
dispatched.register(int)(double)
@functools.wraps(double)
def wrapper(x): return double(x)
part, table = functools.partial(double), {"f": double, "cached": cached}
class WithCached: f = cached
def with_default(x, f=double, *, g=short): return f is double and g is short
def with_attribute(x): return with_attribute.f is double
with_attribute.f = double
def enclosing(f):
    def inner(x): return f is double
    return inner
in_closure = enclosing(double)
PLACES = {
    "an attribute": lambda _: Held.plain is double,
    "a static method": lambda _: Held.static is double,
    "a class method": lambda _: Held.bound.__func__ is double,
    "a table of a class": lambda _: Held.table["f"] is double is Held.row[0] is Held.pair[0],
    "a lambda": lambda _: Held.lazy is short is Held.pair[1],
    "an enum": lambda _: Kind.DOUBLE.value is double,
    "a dataclass": lambda _: Fields().f is double is Fields().g,
    "a registry": lambda _: Registry.known == [registered] and Registry.subclasses == {"Sub": Sub},
    "single dispatch": lambda _: dispatched.registry[int] is double,
    "wrapped": lambda _: wrapper.__wrapped__ is double,
    "partial": lambda _: part.func is double is table["f"],
    "cached": lambda _: WithCached.f is cached is table["cached"],
    "the module": lambda _: sys.modules[__name__].double is double,
    "defaults": with_default,
    "an attribute of a function": with_attribute,
    "a closure": in_closure,
}
# --- an object that the script tells from others by its identity only ---
class Missing:
    pass
MISSING = Missing()
def reads(_): return MISSING and True
def default(x, s=MISSING): return s is MISSING
def keyword(x, *, s=MISSING): return s is MISSING
def hold(s):
    def inner(x): return s is MISSING
    return inner
held = hold(MISSING)
short_default = lambda x, s=MISSING: s is MISSING
def given(s, x): return s is MISSING
def marked(x): return marked.s is MISSING
marked.s = MISSING
@functools.cache
def cached_default(x, s=MISSING): return s is MISSING
def decorate(function):
    @functools.wraps(function)
    def inner(*args, s=MISSING): return s is MISSING and function(*args)
    return inner
@decorate
def decorated(x): return True
class Uses:
    s = MISSING
    def method(self, s=MISSING): return s is MISSING is Uses.s
    @staticmethod
    def static(x, s=MISSING): return s is MISSING
    @classmethod
    def of_class(cls, x): return cls.s is MISSING
@dataclasses.dataclass
class Row:
    s: object = MISSING
MARKS = {
    "default": default, "keyword": keyword, "closure": held, "lambda": short_default,
    "no name": (lambda: lambda x, s=MISSING: s is MISSING)(),
    "partial": functools.partial(given, MISSING),
    "function attribute": marked, "cache": cached_default, "decorator": decorated,
    "method": lambda _: Uses().method(), "static": Uses.static, "class method": Uses.of_class,
    "dataclass": lambda _: Row().s is MISSING, "through another": lambda x: default(x),
}
def differ(kinds):
    return [label for label, function in kinds.items() if one(function, [1]) != [True]]
check("serially", [label for label, f in [*PLACES.items(), *MARKS.items()] if f(1) is not True], [])
check("sent together", differ(PLACES), [])
check("sent together, too", differ(MARKS), [])
library.shutdown()
one(double, [1]), one(reads, [1])
check("sent before", differ(PLACES), [])
check("sent before, too", differ(MARKS), [])

# --- what the caller changes in these objects later ---
def tag(x): return tag.value
tag.value = 0
def appended(x, items=[1]): return items
count = [5]
def counting(n):
    def inner(x): return n[0]
    return inner
counted = counting(count)
handlers = {"a": short}
class Same: f = staticmethod(tag)
def called(x): return handlers["a"](x), Same.f is tag
one(abs, [1])
handlers["a"] = double
check("another function in a table", one(called, [3]), [(6, True)])
tag.value = 7
check("an attribute", one(tag, [1]), [7])
appended.__defaults__[0].append(2)
check("a default", one(appended, [1]), [[1, 2]])
count[0] = 6
check("a variable of a closure", one(counted, [1]), [6])
tag.__code__ = (lambda x: "new").__code__
check("code", one(lambda x: (Same.f(x), Same.f is tag), [1]), [("new", True)])
def double(x): return 3 * x
handlers["a"] = double
check("defined anew", one(called, [3]), [(9, True)])
# An item is a copy, also if a name leads to it: a stream may give one object again and again.
class Model:
    step = 0
model = Model()
def look(item): return item.step, item is not model
for step in (1, 2):
    model.step = step
    check("an item", one(look, [model]), [(step, True)])

# --- what is defined after the workers have begun ---
class Nothing:
    def __bool__(self): return False
NOTHING, BARE, ROWS, TABLE = Nothing(), object(), [1], {"a": 1}
def plain_default(x, s=NOTHING): return s is NOTHING
library.shutdown()
one(abs, [1])
def late(x, s=NOTHING, b=BARE, *, both=(BARE, NOTHING)):
    return s is NOTHING is both[1] and b is BARE is both[0]
def late_rows(x, rows=ROWS, *, table=TABLE): return rows is ROWS and table is TABLE
def hold_rows(rows):
    def inner(x): return rows is ROWS
    return inner
late_held = hold_rows(ROWS)
by_name = {"row": lambda x, rows=ROWS: rows is ROWS, "table": lambda x, *, t=TABLE: t is TABLE}
LATE = {
    "late": late, "late rows": late_rows, "late closure": late_held,
    "no name": (lambda: lambda x, rows=ROWS: rows is ROWS)(), "no name, held": hold_rows(ROWS),
    "partial": functools.partial(lambda rows, x: rows is ROWS, ROWS),
    "named partial": functools.partial(lambda x, t: t is TABLE, t=TABLE),
    "in a table": lambda x: by_name["row"](x) and by_name["table"](x), "earlier": plain_default,
}
check("serially, late", [label for label, f in LATE.items() if f(1) is not True], [])
check("late", differ(LATE), [])
library.shutdown()
one(abs, [1])
check("after a new fork", differ(LATE), [])
ROWS.append(2)
check("changed since", differ(LATE), [])
"""
