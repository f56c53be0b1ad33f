# ruff: noqa: E501 - the lines of programs in strings
"""What a script defines means in a worker what it means at the caller: names, classes, functions.

Each program runs with every start method, as a file; one of them in every other way to run a
program. It says what differs, and that it came to its end.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from tests.scripts import run

if TYPE_CHECKING:
    from pmap._types import StartMethod

HEAD: Final = """\
from __future__ import annotations
import abc, collections, dataclasses, enum, functools, multiprocessing, operator, pickle, sys
import collections.abc, numbers, threading, typing, weakref
from concurrent.futures import ProcessPoolExecutor
import pmap as library
METHOD = {method!r}
pmap = library.pmap.using(processes=2, start_method=METHOD)
one = library.pmap.using(processes=1, start_method=METHOD)
def Pool(count, *arguments):
    return library.Pool(count, *arguments, context=multiprocessing.get_context(METHOD))
def check(label, got, wanted):
    if got != wanted:
        print(label, got, wanted)
def raised(call):
    try:
        return call()
    except Exception as error:
        return f"{{type(error).__name__}}: {{error}}"
"""
TAIL: Final = "\nprint('done')\n"

NAMES: Final = """
# --- an initializer sets globals ---
S = None
D = {}
L = []
class K:
    x = None
def init():
    global S, hidden
    S = 5
    hidden = 6
    D["a"] = 1
    L.append(1)
    K.x = 7
    init.y = 8
    globals()["indirect"] = 9
    setattr(sys.modules[__name__], "by_name", 10)
indirect = None
by_name = None
def read(_):
    return S, hidden, D, L, K.x, init.y, indirect, by_name
with Pool(2, init) as pool:
    want = (5, 6, {"a": 1}, [1], 7, 8, 9, 10)
    check("initializer", pool.map(read, [1, 2]), [want] * 2)
    check("initializer again", pool.map(read, [1, 2]), [want] * 2)
    S = 50
    by_name = 100
    D["b"] = 2
    K.z = 3
    want = (50, 6, {"b": 2}, [1], 7, 8, 9, 100)
    check("changed by the caller", pool.map(read, [1, 2]), [want] * 2)
check("the caller has its own", (K.x, L, "hidden" in globals()), (None, [], False))
S = None

# --- what an item changes stays in its worker ---
cache = {}
count = 0
def remember(x):
    global count
    count += 1
    cache[x] = count
    return len(cache), count
check("cache", one(remember, [1, 2]), [(1, 1), (2, 2)])
check("cache again", one(remember, [3]), [(3, 3)])
cache["mine"] = 0
check("cache changed by the caller", one(remember, [4]), [(2, 4)])
check("the caller's", (cache, count), ({"mine": 0}, 0))
check("isolate begins anew", library.pmap(remember, [1], isolate=True, start_method=METHOD), [(2, 1)])
with Pool(1) as pool, Pool(1) as other:
    check("two pools", [p.map(remember, [1]) for p in (pool, other, pool)], [[(2, 1)], [(2, 1)], [(2, 2)]])
with library.Pool(1, maxtasksperchild=1, context=multiprocessing.get_context(METHOD)) as pool:
    check("recycled", [pool.map(remember, [1]) for _ in range(2)], [[(2, 1)], [(2, 1)]])

# --- names that change, and go ---
G = 1
def read_g(_):
    try:
        return G
    except NameError:
        return "gone"
check("a value", one(read_g, [1]), [1])
G = 2
check("another", one(read_g, [1]), [2])
G = 2.0
check("an equal one of another type", [type(y) for y in one(read_g, [1])], [float])
del G
check("deleted", one(read_g, [1]), ["gone"])
G = [1]
check("a list", one(read_g, [1]), [[1]])
G.append(2)
check("changed in place", one(read_g, [1]), [[1, 2]])
def helper():
    return 1
def calls_helper(_):
    return helper()
check("a helper", one(calls_helper, [1]), [1])
def helper():
    return 2
check("defined anew", one(calls_helper, [1]), [2])
helper.__defaults__ = None
helper.__code__ = (lambda: 3).__code__
check("with other code", one(calls_helper, [1]), [3])

# --- one object, two names ---
A = []
B = A
C = {"a": A}
marker = object()
def same(_, default=marker):
    return A is B, C["a"] is A, default is marker
check("identity", one(same, [1]), [(True, True, True)])
C["b"] = 1
check("identity after a change", one(same, [1]), [(True, True, True)])
B = [1]
check("not the same any more", one(same, [1]), [(False, True, True)])

# --- behind a value ---
KK = 1
class Behind:
    scale = 1
    def get(self, x):
        return x + KK, helped(x), self.scale
def helped(x): return "old"
behind, behinds, bound = Behind(), {"a": [Behind()]}, Behind().get
partly = functools.partial(helped, 1)
table_of, words = {"a": 1}, ["a"]
lookup, counted = table_of.get, words.count
def use_behind(x):
    return behind.get(x), behinds["a"][0].get(x), bound(x), partly(), lookup("b"), counted("a")
old = (2, "old", 1)
check("behind", one(use_behind, [1]), [(old, old, old, "old", None, 1)])
KK, Behind.scale = 10, 5
table_of["b"] = 2
words.append("a")
new = (11, "old", 5)
check("behind, changed", one(use_behind, [1]), [(new, new, new, "old", 2, 2)])
def helped(x): return "new"
new = (11, "new", 5)
check("behind, defined anew", one(use_behind, [1]), [(new, new, new, "old", 2, 2)])
check("its doc", one(lambda _: __doc__, [1]), [__doc__])

# --- defined anew, where something else refers to it ---
def step(x): return "old"
class Tag:
    text = "old"
steps, table, kept, part = [step], {"a": Tag()}, {Tag: 1}, functools.partial(step, 1)
def run(x): return steps[0](x), table["a"].text, kept[Tag], part(), isinstance(table["a"], Tag)
check("in containers", one(run, [1]), [("old", "old", 1, "old", True)])
def step(x): return "new"
class Tag:
    text = "new"
steps, table, kept, part = [step], {"a": Tag()}, {Tag: 2}, functools.partial(step, 1)
check("in containers, anew", one(run, [1]), [("new", "new", 2, "new", True)])
def early(x):
    try:
        return late_helper(x)
    except NameError:
        return "not yet"
check("before it is defined", one(early, [1]), ["not yet"])
def late_helper(x): return "there"
check("after that", one(early, [1]), ["there"])
E1 = []
E2 = E1
def appends(_): E1.append(1); return len(E2)
check("one list", one(appends, [1]), [1])
E2 = []
check("another one that is equal", one(appends, [1]), [0])
P1 = [1]
P2 = {"a": P1}
def rebinds(_):
    global P1
    first, P1 = P2["a"], None
    return first
check("told", one(rebinds, [1]), [[1]])
P2["new"] = 1
check("not what the worker has bound", one(rebinds, [1]), [[1]])
X1 = [1]
X2, X3 = {"a": X1}, {"a": X1}
def shares(_): return X2["a"] is X1 and X3["a"] is X1
for number in range(450):
    (X2 if number % 2 else X3)["k"] = number
    if one(shares, [1]) != [True]:
        print("identity is lost after", number)
        break
class Service:
    def __init__(self):
        self.lock = threading.Lock()
    def __getstate__(self):
        return {"x": hashed_by("x")}
    def __setstate__(self, state):
        self.lock, self.x = threading.Lock(), state["x"]
    def __hash__(self):
        return hashed_by("y")
    def __eq__(self, other):
        return type(other) is Service
def hashed_by(x): return len(x)
service, services = Service(), {Service(): 1}
check("what loading needs is there", one(lambda x: (service.x, services[x]), [Service()]), [(1, 1)])
class Bad:
    def __init__(self): self.x = 1
    def __setstate__(self, state): raise ValueError("bad state")
bad = Bad()
def fine(x): return x
def not_fine(x): return fine(x), bad.x
check("does not load", raised(lambda: one(not_fine, [1]))[:14], "TransportError")
check("costs itself only", one(lambda x: fine(x), [1]), [1])
class EqMeta(type):
    def __eq__(cls, other): return isinstance(other, EqMeta)
    def __hash__(cls): return 1
class Equal1(metaclass=EqMeta): z = 1
class Equal2(metaclass=EqMeta): z = 2
check("classes that say they are equal", one(lambda _: (Equal1.z, Equal2.z), [1]), [(1, 2)])
class Shape(abc.ABC): pass
class Square: z = 1
def is_shape(_): return issubclass(Square, Shape), is_shape.__doc__
check("not registered", one(is_shape, [1]), [(False, None)])
Shape.register(Square)
is_shape.__doc__ = "text"
check("registered since", one(is_shape, [1]), [(True, "text")])
from gettext import gettext as _
In = "in"
check("names of other uses", one(lambda x: (_("hello"), In), [1]), [("hello", "in")])
def local_class(n):
    class Local:
        k = n
    return Local
Mine = local_class(1)
check("a class there and back", one(lambda c: c, [Mine]), [Mine])
Mine.k = 5
check("and changed then", (one(lambda c: c.k, [Mine]), one(lambda _: Mine.k, [1])), ([5], [5]))
def with_lock(x, lock=threading.Lock()): return x
if METHOD != "fork":
    check("a default", "with_lock -> defaults -> [0]: _thread.lock" in raised(lambda: one(with_lock, [1])), True)
    with_lock.__defaults__ = (None,)
    check("mended", one(with_lock, [1]), [1])

# --- found under their names ---
g = 1
class M:
    def __eq__(self, other):
        return type(other) is M
def found(_):
    import __main__
    main = sys.modules[__name__]
    return (
        pickle.loads(pickle.dumps(M())).__class__ is M,
        pickle.loads(pickle.dumps(found)) is found,
        (main.g, globals()["g"], __main__.g if __name__ == "__main__" else g, g),
    )
check("by name", pmap(found, [1]), [(True, True, (1, 1, 1, 1))])
check("a class there and back", [type(y) is M for y in pmap(lambda _: M(), [1])], [True])
check("an item", pmap(lambda x: type(x) is M, [M(), [1], M()]), [True, False, True])
check("a function there and back", pmap(lambda f: f, [found, len]), [found, len])
check("an argument and a global", pmap(lambda cls: cls is M, [M]), [True])
first = M()
class M:
    version = 2
check("of the old class", pmap(lambda x: (type(x) is M, hasattr(x, "version")), [first, M()]),
      [(False, False), (True, True)])
check("the old class comes back", [type(x) is type(first) for x in pmap(lambda x: x, [first])], [True])
def plus(x):
    return x + 1
def nested(x):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
        return [*executor.map(plus, [x])], pmap(plus, [x])
check("nested", pmap(nested, [1]), [([2], [2])])

# --- hints ---
@dataclasses.dataclass
class Node:
    leaf: Leaf
    more: list[Node]
@dataclasses.dataclass
class Leaf:
    x: int
def hints(node: Node) -> Leaf:
    found = typing.get_type_hints(Node), typing.get_type_hints(hints)
    return found == ({"leaf": Leaf, "more": list[Node]}, {"node": Node, "return": Leaf})
check("hints", pmap(hints, [1]), [True])

# --- what cannot be sent ---
lock = threading.Lock()
class HasLock:
    lock = threading.Lock()
    def uses(self):
        with lock, self.lock:
            return 1
    def does_not(self, x):
        return x
check("not used by what is mapped", pmap(HasLock().does_not, [1]), [1])
registry = {"db": [lock]}
def use_lock(x):
    with registry["db"][0]:
        return x
message = raised(lambda: pmap(use_lock, [1]))
path = "use_lock -> global 'registry' -> ['db'] -> [0]: _thread.lock"
if METHOD != "fork":
    check("names the path", path in message, True)
else:
    with Pool(1) as pool:
        check("a fork has it", pool.map(use_lock, [1]), [1])

# --- names that are asked for at run time ---
hidden_name = 1
def notes(call):
    try:
        call()
    except Exception as error:
        return [note for note in getattr(error, "__notes__", ()) if "the caller has" in note]
def by_globals(x): return globals()["hidden" + "_name"]
def by_eval(x): return eval("hidden" + "_name")
def by_main(x): return getattr(sys.modules[__name__], "hidden" + "_name")
def by_a_dict(x): return {}["hidden_name"]
def undefined(x): return nothing_there
with Pool(1) as pool:
    if METHOD != "fork":
        # Only a line of source tells that a KeyError is one of globals.
        for function in ((by_globals,) if sys.argv[0].endswith(".py") else ()) + (by_eval, by_main):
            check("a note", ["'hidden_name'" in note for note in notes(lambda: pool.map(function, [1]))], [True])
    for function in (by_a_dict, undefined):
        check("no note", notes(lambda: pool.map(function, [1])), [])
if METHOD == "fork":
    check("begun before the lock", pmap(plus, [1]), [2])
    late = threading.Lock()
    def use_late(x):
        with late:
            return x
    check("a new fork has it", pmap(use_late, [1]), [1])

# --- both at once: each call sees its own ---
V = "old"
def read_v(barrier):
    return V
if METHOD != "fork":
    values = ["old", "new"] * 20
    later = []
    with Pool(2) as pool:
        for V in values:
            later.append(pool.map_async(read_v, range(20)))
        check("each call its own", [{*x.get()} for x in later], [{v} for v in values])
for backend in ("threads", "serial"):
    check(backend, library.pmap(remember, [9], backend=backend), [(2, 1)])
    del cache[9]
    count = 0
"""

KINDS: Final = """
@functools.lru_cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
@functools.cache
def cached(n):
    return object()
check("cached", pmap(fib, [10, 20]), [55, 6765])
check("calls a cached one", pmap(lambda n: fib(n), [10]), [55])
check("the cache lives", one(lambda n: cached(1) is cached(1), [1]), [True])
check("comes back", pmap(lambda f: f, [fib])[0] is fib, True)
class Methods:
    @functools.lru_cache
    def cached(self, x):
        return x * 2
    @functools.cached_property
    def prop(self):
        return 7
    @functools.singledispatchmethod
    def by_type(self, x):
        return "other"
    @by_type.register
    def _(self, x: int):
        return "int"
    @property
    def plain(self):
        return self._plain
    @plain.setter
    def plain(self, value):
        self._plain = value
    @classmethod
    def of(cls):
        return cls()
    @staticmethod
    def static():
        return 4
    partial = functools.partialmethod(cached, 3)
def use(x):
    made = Methods.of()
    made.plain = 5
    return (made.cached(x), made.prop, made.by_type(x), made.by_type("x"), made.plain,
            Methods.static(), made.partial())
check("methods", pmap(use, [1]), [(2, 7, "int", "other", 5, 4, 6)])
check("a bound method", pmap(Methods().cached, [1]), [2])
@functools.singledispatch
def by_type(x):
    return "other"
@by_type.register
def _(x: int):
    return "int"
check("singledispatch", pmap(by_type, [1, "a"]), ["int", "other"])

# --- dataclasses ---
@dataclasses.dataclass
class Base:
    n: int = 3
    xs: list = dataclasses.field(default_factory=list)
    _: dataclasses.KW_ONLY = None
    k: int = 4
@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Slotted:
    a: int = 1
    b: str = dataclasses.field(default="x", compare=False)
def derive(_):
    @dataclasses.dataclass
    class Derived(Base):
        z: int = 9
    made = Derived()
    missing = [f.default is dataclasses.MISSING for f in dataclasses.fields(Derived)]
    return made.n, made.xs, made.k, made.z, missing, dataclasses.replace(Base(), n=5).n
check("derived", pmap(derive, [1]), [(3, [], 4, 9, [False, True, False, False], 5)])
check("slots", pmap(lambda x: x, [Slotted(2)]), [Slotted(2)])

# --- enums ---
class Color(enum.Enum):
    RED = 1
    CRIMSON = 1
    BLUE = 2
    def shout(self):
        return self.name
class Pair(enum.Enum):
    A = (1, "x")
    B = (2, "y")
    def __init__(self, number, text):
        self.number = number
        self.text = text
class Label(str, enum.Enum):
    X = ("x", "Ex")
    def __new__(cls, value, label):
        made = str.__new__(cls, value)
        made._value_ = value
        made.label = label
        return made
class Flags(enum.Flag):
    R = 1
    W = 2
    RW = 3
class Ints(enum.IntEnum):
    ONE = 1
class IntFlags(enum.IntFlag):
    A = 1
    B = 4
everything = [*Color, *Pair, *Label, *Flags, *Ints, *IntFlags, Flags.R | Flags.W, Flags(0)]
check("members there and back",
      [x is y for x, y in zip(everything, pmap(lambda x: x, everything))], [True] * len(everything))
check("in the worker", pmap(lambda _: (Color.CRIMSON is Color.RED, Color(2), Color["CRIMSON"].shout(),
      Pair.B.text, Pair((1, "x")).number, Label.X.label, Label("x") == "x", Flags.R | Flags.W is Flags.RW,
      Ints.ONE + 1, IntFlags.A | IntFlags.B, len(Color)), [1]),
      [(True, Color.BLUE, "RED", "y", 1, "Ex", True, Flags.R | Flags.W is Flags.RW, 2,
        IntFlags.A | IntFlags.B, 2)])

# --- types ---
UserId = typing.NewType("UserId", int)
T = typing.TypeVar("T", bound=int)
P = typing.ParamSpec("P")
Ts = typing.TypeVarTuple("Ts")
def typed(f: typing.Callable[P, T]) -> typing.Callable[P, T]:
    @functools.wraps(f)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return f(*args, **kwargs)
    return wrapper
@typed
def next_user(user: UserId) -> UserId:
    return UserId(user + 1)
check("a typed decorator", pmap(next_user, [1]), [2])
class Box(typing.Generic[T]):
    def __init__(self, value: T):
        self.value = value
class IntBox(Box[int]):
    pass
class Many(typing.Generic[typing.Unpack[Ts]]):
    pass
check("generics", pmap(lambda x: (Box[int](x).value, IntBox(x).value, Box.__parameters__ == (T,),
      typing.get_args(Many[int, str])), [1]), [(1, 1, True, (int, str))])
@typing.runtime_checkable
class Goes(typing.Protocol):
    def go(self) -> int: ...
class Go:
    def go(self):
        return 1
class Typed(typing.TypedDict):
    a: int
class Named(typing.NamedTuple):
    a: int
    b: str = "x"
Plain = collections.namedtuple("Plain", "a b")
check("protocols", pmap(lambda x: (isinstance(Go(), Goes), Typed(a=1)), [1]), [(True, {"a": 1})])
check("named tuples", [[type(y) for y in x] for x in pmap(lambda x: (Named(1), Plain(1, 2)), [1])],
      [[Named, Plain]])

# --- class statements with keywords, metaclasses, descriptors ---
class Registered:
    known = []
    def __init_subclass__(cls, *, tag, **rest):
        super().__init_subclass__(**rest)
        cls.known.append((cls.__name__, tag))
class One(Registered, tag=1):
    x = 1
class Two(One, tag=2):
    x = True
class Meta(type):
    def __new__(meta, name, bases, space, *, size):
        return super().__new__(meta, name, bases, space)
    def __init__(cls, name, bases, space, *, size):
        super().__init__(name, bases, space)
        cls.size = size
    def __call__(cls, *arguments):
        made = super().__call__(*arguments)
        made.called = True
        return made
class WithMeta(metaclass=Meta, size=3):
    pass
class Field:
    names = []
    def __set_name__(self, owner, name):
        self.name = name
        self.names.append(name)
    def __get__(self, instance, owner):
        return self.name
class Described:
    field = Field()
check("keywords", pmap(lambda _: (Registered.known, type(Two.x)), [1]), [([("One", 1), ("Two", 2)], bool)])
check("a metaclass", pmap(lambda _: (WithMeta.size, WithMeta().called, type(WithMeta) is Meta), [1]),
      [(3, True, True)])
check("descriptors", pmap(lambda _: (Described().field, Field.names), [1]), [("field", ["field"])])
class Abstract(abc.ABC):
    @abc.abstractmethod
    def go(self): ...
class Virtual:
    pass
Abstract.register(Virtual)
def abstract(_):
    try:
        Abstract()
    except TypeError:
        return issubclass(Virtual, Abstract), isinstance(1, Abstract)
check("abstract", pmap(abstract, [1]), [(True, False)])
class Private:
    __slots__ = ("a", "__b")
    def __init__(self):
        self.a = 1
        self.__b = 2
    def get(self):
        return self.a, self.__b
class Child(Go):
    def go(self):
        return super().go() + 1
class Outer:
    class Inner:
        class Kind(enum.Enum):
            A = 1
        def __eq__(self, other):
            return type(self) is type(other)
check("slots and super", pmap(lambda _: (Private().get(), Child().go()), [1]), [((1, 2), 2)])
check("nested", pmap(lambda _: (pickle.loads(pickle.dumps(Outer.Inner())), Outer.Inner.Kind.A), [1]),
      [(Outer.Inner(), Outer.Inner.Kind.A)])
class Failed(Exception):
    def __init__(self, a, b):
        super().__init__(a)
        self.b = b
def fail(x):
    raise Failed(1, 2)
try:
    pmap(fail, [1])
except Failed as error:
    check("an exception", error.b, 2)
def local(n):
    class Local:
        x = n
        def get(self):
            return self.x, n, type(self) is Local
    return Local
Here = local(5)
check("local", pmap(lambda x: x.get(), [Here(), local(6)()]), [(5, 5, True), (6, 6, True)])
check("local and back", type(pmap(lambda _: Here(), [1])[0]) is Here, True)
made = pmap(lambda n: local(n), [7, 8])
check("made in a worker", [cls().get() for cls in made], [(7, 7, True), (8, 8, True)])
counter = pmap(lambda n: (lambda: n + len(everything)), [1])[0]
check("a function made in a worker", counter(), 1 + len(everything))

# --- what is pickled as the name of a global ---
class Missing:
    def __init__(self):
        self.state = []
    def __reduce__(self):
        return "MISSING"
MISSING = Missing()
class Places:
    pass
class Inner(str):
    def __reduce_ex__(self, protocol):
        return "Places.inner"
Places.inner = Inner("in")
def is_missing(x, default=MISSING):
    return x["a"] is MISSING is default, x["a"].state, x["b"] is Places.inner, x["b"] == "in"
both = {"a": MISSING, "b": Places.inner}
check("one of each", pmap(is_missing, [both], processes=1), [(True, [], True, True)])
back = pmap(lambda x: x, [both], processes=1)[0]
check("and back", (back["a"] is MISSING, back["b"] is Places.inner), (True, True))
MISSING.state.append(1)
check("changed", pmap(is_missing, [both], processes=1), [(True, [1], True, True)])
def change(x):
    MISSING.state.append(x)
    return MISSING
check("its own", pmap(change, [2], processes=1)[0].state, [1])
check("stays", pmap(is_missing, [both], processes=1), [(True, [1, 2], True, True)])
MISSING.state = [3]
check("yours wins", pmap(is_missing, [both], processes=1), [(True, [3], True, True)])

# --- exceptions in what travels ---
class Pair(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a}{b}")
        self.a, self.b = a, b
def many(x):
    error = ExceptionGroup("many", [Pair(1, x), ExceptionGroup("inner", [Pair(2, x)])])
    error.more = Pair(3, x)
    raise error
try:
    pmap(many, [4])
except ExceptionGroup as error:
    inner = error.exceptions[1].exceptions[0]
    check("a group", (error.exceptions[0].b, inner.a, error.more.a), (4, 2, 3))
else:
    check("a group", "raised", "no")
check("as a value", pmap(lambda error: error.b, pmap(lambda x: Pair(0, x), [5])), [5])

# --- what is referred to weakly, by what is sent, and held by what is not ---
class Parent:
    everyone = weakref.WeakSet()
    by_name = weakref.WeakValueDictionary()
    def __init__(self, name):
        self.name, self.children = name, []
        Parent.everyone.add(self)
        Parent.by_name[name] = self
    def child(self):
        self.children.append(Child(self))
        return self.children[-1]
class Child:
    def __init__(self, parent):
        self.parent = weakref.ref(parent)
        self.method = weakref.WeakMethod(parent.child)
parents = [Parent("a"), Parent("b")]
def relatives(child):
    everyone = sorted(parent.name for parent in Parent.everyone)
    return everyone, sorted(Parent.by_name), child.parent().name, child.method()().parent().name
wanted = [(["a", "b"], ["a", "b"], "b", "b")]
child = parents[1].child()
check("weakly", sorted(pmap(relatives, [child])[0][0])[:2], ["a", "b"])
check("weakly, too", [one[1:] for one in pmap(relatives, [child])], [one[1:] for one in wanted])
check("on the way back", pmap(lambda x: x, [child])[0].parent().name, "b")

# --- registered with what only the standard library has; hints within hints; keys ---
class Table:
    def __len__(self): return 0
collections.abc.Sized.register(Table)
class Number:
    pass
def kinds_of(x): return isinstance(Number(), numbers.Real), isinstance(Table(), collections.abc.Sized)
check("not registered", pmap(kinds_of, [1]), [(False, True)])
numbers.Real.register(Number)
check("registered", pmap(kinds_of, [1]), [(True, True)])
class Row(typing.TypedDict):
    name: "typing.NotRequired[str]"
    rows: list["Row"]
check("hints", pmap(lambda x: sorted(typing.get_type_hints(Row)), [1]), [["name", "rows"]])
backwards = functools.cmp_to_key(lambda a, b: b - a)
check("a key", pmap(lambda x: sorted(x, key=backwards), [[1, 3, 2]]), [[3, 2, 1]])
import struct
packing = struct.Struct("<h")
check("a struct", pmap(lambda x: packing.pack(x), [1]), [b"\\x01\\x00"])
check("no module has found it", pmap(lambda x: __spec__, [1]), [__spec__])
"""

PROGRAMS: Final = {"names": NAMES, "kinds": KINDS}


def program(method: str, body: str) -> str:
    return HEAD.format(method=method) + body + TAIL


@pytest.mark.parametrize("body", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_as_a_file(start_method: "StartMethod", body: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program(start_method, body), encoding="utf-8")
    assert run([str(script)], tmp_path) == "done\n"


def test_from_stdin(tmp_path: Path) -> None:
    text = program("forkserver", NAMES)
    assert run(["-"], tmp_path, stdin=text) == "done\n"


def test_from_the_command_line(tmp_path: Path) -> None:
    assert run(["-c", program("spawn", NAMES)], tmp_path) == "done\n"


def test_as_a_module(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(program("fork", NAMES), encoding="utf-8")
    assert run(["-m", "module"], tmp_path) == "done\n"


CHILD: Final = """
import multiprocessing
from pmap import pmap, Pool
LIMIT = 3
state = None
class Point:
    def __init__(self, x):
        self.x = x
def begin():
    global state
    state = LIMIT
def work(point):
    return Point(point.x + LIMIT + (state or 0))
def child(queue):
    plain = pmap(work, [Point(1)], processes=1)
    with Pool(1, begin) as pool:
        started = pool.map(work, [Point(1)])
    queue.put([type(p) is Point and p.x for p in plain + started])
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get())
    process.join()
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_in_a_child_of_multiprocessing(method: str, tmp_path: Path) -> None:
    # With the first two the script is a module of another name there: it is run again.
    script = tmp_path / "script.py"
    script.write_text(CHILD.format(method=method), encoding="utf-8")
    assert run([str(script)], tmp_path) == "[4, 7]\n"


GROWTH: Final = """
import gc, weakref
def size(_): return len(G["data"])
def memory(_):
    return int(open("/proc/self/statm").read().split()[1]) * 4096
G = {}
sizes = []
seen = []
for number in range(400):
    G["data"] = bytes([number % 256]) * 100_000
    one(size, [1])
    if number in (100, 399):
        sizes.append(one(memory, [1])[0])
check("workers do not keep what is old", sizes[1] - sizes[0] < 10_000_000, True)
for number in range(30):
    class A:
        data = b"x" * 1000
        def __init__(self):
            super().__init__()
    class Kind(enum.Enum):
        ONE = number
    seen += [weakref.ref(A), weakref.ref(Kind)]
    one(lambda _: A() and Kind.ONE and 1, [1])
gc.collect()
check("the caller does not keep what is old", sum(each() is not None for each in seen) <= 4, True)
"""


FORKED: Final = """
import contextvars
def tags(item): return type(item).tag, Tagged.tag
class Tagged: tag = 0
one(tags, [Tagged()])
made = []
for number in range(1, 40):
    class Tagged: tag = number
    made.append(Tagged)
check("classes of one name", [one(tags, [cls()])[0] for cls in made], [(n, 39) for n in range(1, 40)])
variable = contextvars.ContextVar("variable", default="unset")
token = variable.set("set")
def read_variable(_): return variable.get()
with Pool(1) as pool:
    check("set at the fork", pool.map(read_variable, [1]), ["set"])
    variable.reset(token)
    check("and unset since", pool.map(read_variable, [1]), ["unset"])
class Connected:
    def __init__(self, name):
        self.name, self.lock = name, threading.Lock()
connection = Connected("a")
def which(_): return connection.name
with Pool(1) as pool:
    check("inherited", pool.map(which, [1]), ["a"])
    connection = Connected("b")
    check("another one that cannot be sent", pool.map(which, [1]), ["b"])
class Kept:
    items = []
    by_hand = None
items = Kept.items
made = Kept()
data = [1]
def init():
    Kept.by_hand = 7
def look(_):
    return Kept.items is items, type(made) is Kept, Kept.by_hand, data
with Pool(1, init) as pool:
    data.append(2)
    check("a fork has the caller's own", pool.map(look, [1]), [(True, True, 7, [1, 2])])
    Kept.more = 1
    check("and what changed", pool.map(lambda _: (Kept.more, Kept.by_hand), [1]), [(1, 7)])
    check("its class comes home", type(pool.map(lambda _: made, [1])[0]) is Kept, True)
"""


def test_a_fork_has_what_its_caller_has(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program("fork", FORKED), encoding="utf-8")
    assert run([str(script)], tmp_path) == "done\n"


def test_nothing_grows(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program("forkserver", GROWTH), encoding="utf-8")
    assert run([str(script)], tmp_path) == "done\n"


COUNTS: Final = """
import os
from pmap._transport.light_stdlib import socket
from pmap._backends import boot, processes
from pmap._transport.by_value import names
sent, pickled = [], []
class Counting(socket):
    def send(self, *data):
        sent.append(super().send(*data))
        return sent[-1]
    def sendmsg(self, *data):
        sent.append(super().sendmsg(*data))
        return sent[-1]
boot.socketpair_of_old, boot.socketpair = boot.socketpair, None
def pair():
    ours, theirs = boot.socketpair_of_old()
    return Counting(fileno=ours.detach()), theirs
boot.socketpair = pair
made = names.payload_of_pickles
def counted(data, buffers):
    payload = made(data, buffers)
    pickled.append(payload.size)
    return payload
names.payload_of_pickles = counted
big = {n: str(n) for n in range(100_000)}
small = 1
def look(key):
    return big[key], small
with Pool(2) as pool:
    for number in range(10):
        pool.map(look, range(8), chunksize=1)
    check("pickled once", sum(size > 500_000 for size in pickled), 1)
    check("nothing else", len(pickled), 1)
    total = sum(sent)
    for number in range(10):
        small = number
        pool.map(look, range(8), chunksize=1)
    check("and not again", sum(size > 500_000 for size in pickled), 1)
    check("what changes is small", max(pickled[1:]) < 200, True)
    check("what is sent, too", sum(sent) - total < 30_000, True)
    big[0] = "changed"
    check("changed", pool.map(look, [0]), [("changed", 9)])
    check("pickled again", sum(size > 500_000 for size in pickled), 2)
"""


def test_a_large_global_is_pickled_once_and_sent_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(program("forkserver", COUNTS), encoding="utf-8")
    assert run([str(script)], tmp_path) == "done\n"
