# ruff: noqa: E501 - the lines of programs in strings
"""A program with classes and functions of every kind, for test_namespace.

It says what differs. What is before it, and behind it, is in that module.
"""

from typing import Final

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
Key = typing.TypeVar("Key")
Args = typing.ParamSpec("Args")
Number = typing.NewType("Number", int)
class Keyed(typing.Generic[Key, Args]):
    number = Number
library.restart()  # with fork, new workers have these objects from the script itself
check("what classes refer to", pmap(lambda _: (Keyed.__parameters__[0] is Key,
      Keyed.__parameters__[1] is Args, Keyed.number is Number), [1]), [(True,) * 3])
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

# --- descriptors whose classes derive from Python's own; no code of these classes runs ---
class Documented(property):
    def __init__(self, *accessors, unit):
        super().__init__(*accessors)
        self.unit = unit
class OnClass(classmethod):
    pass
class OnNothing(staticmethod):
    kind = "static"
class Lazy(functools.cached_property):
    def __set_name__(self, owner, name):
        super().__set_name__(owner, name)
        owner.lazy = [name]
class Described:
    length = Documented(lambda self: 3, unit="m")
    name = OnClass(lambda cls: cls.__name__)
    twice = OnNothing(lambda x: 2 * x)
    @Lazy
    def later(self): return 4
def described(x):
    found = [type(vars(Described)[name]).__name__ for name in ("length", "name", "twice", "later")]
    one = Described()
    return found, one.length, Described.length.unit, one.name(), one.twice(x), one.later, vars(one)
check("descriptors", pmap(described, [5]), [described(5)])

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

# --- classes that have objects of their own class, and no name at the top of the script ---
def with_own_objects():
    class Level:
        def __init__(self, n): self.n = n
    Level.low, Level.high = Level(1), Level(9)
    Level.by_number = {level.n: level for level in (Level.low, Level.high)}
    return Level
Level = with_own_objects()
def level(n): return Level.by_number[n] is Level.high, type(Level.low) is Level
check("objects of its own", pmap(level, [1, 9]), [(False, True), (True, True)])
Level.low.n = 2
check("a change in one", pmap(lambda _: Level.low.n, [1]), [2])
from unittest.mock import MagicMock, Mock
double = Mock(return_value=4)
magic = MagicMock()
magic.part.return_value = 5
check("mocks", pmap(lambda x: (double(x), magic.part(x)), [1]), [(4, 5)])

# --- pickled as the program has registered with copyreg, also by code of the item ---
import copy, copyreg
class Reduced:
    def __init__(self, n): self.n = n
copyreg.pickle(Reduced, lambda one: (Reduced, (one.n * 2,)))
def copied(n): return copy.copy(Reduced(n)).n, pickle.loads(pickle.dumps(Reduced(n))).n
check("copyreg", pmap(copied, [1]), [(2, 2)])
copyreg.pickle(Reduced, lambda one: (Reduced, (one.n * 3,)))
check("copyreg, changed", pmap(copied, [1]), [(3, 3)])
class Proxy:
    __class__ = property(lambda self: int)
    def __init__(self, n): self.n = n
proxy = Proxy(3)
check("another __class__", pmap(lambda x: (isinstance(proxy, int), type(proxy).__name__, proxy.n), [1]), [(True, "Proxy", 3)])

# --- a logger of a class of the script ---
import logging
class Loud(logging.Logger):
    def shout(self, text): return text.upper() + self.mark
logging.setLoggerClass(Loud)
loud = logging.getLogger("loud")
logging.setLoggerClass(logging.Logger)
loud.mark = "!"
check("a logger", pmap(lambda x: (loud.shout(x), logging.getLogger("loud") is loud), ["a"]), [("A!", True)])

# --- generic classes that refer to themselves with arguments ---
class Rack(typing.Generic[T]):
    kinds = {}
    def __init_subclass__(cls, key=None): Rack.kinds[key] = cls
class IntRack(Rack[int], key="int"): pass
class Chain(typing.Protocol[T]):
    def after(self): ...
Rack.mine, Chain.mine, Ints_ = Rack[str], Chain[int], typing.Optional[Rack[int]]
def racks(_):
    base = IntRack.__orig_bases__[0]
    return Rack.kinds["int"] is IntRack, base.__origin__ is Rack, typing.get_args(base), Rack.mine.__origin__ is Rack, Ints_.__args__[0] == Rack[int], Chain.mine.__origin__ is Chain, Rack.mine().__orig_class__ == Rack[str]
check("generic classes within themselves", pmap(racks, [1]), [(True, True, (int,), True, True, True, True)])

# --- functions decorated with what a function under contextmanager returns ---
import contextlib
@contextlib.contextmanager
def noting(name, *, times=1):
    noted.append(name * times)
    yield
@contextlib.asynccontextmanager
async def noting_later(name):
    noted.append(name)
    yield
noted = []
@noting("a", times=2)
def decorated(x): return x, noted.pop()
@noting_later("b")
async def decorated_later(x): return x, noted.pop()
check("contextmanager", pmap(decorated, [1, 2]), [(1, "aa"), (2, "aa")])
check("asynccontextmanager", pmap(library.sync(decorated_later), [1]), [(1, "b")])

# --- functions that the script binds to objects itself ---
import argparse, types
def bit_length(self, x): return "ours", self.numerator, x
check("bound to an int", pmap(types.MethodType(bit_length, 5), [1]), [("ours", 5, 1)])
check("bound to a text", pmap(types.MethodType(lambda s, x: s * x, "ab"), [2]), ["abab"])
given = argparse.Namespace(n=3)
def show(self, x): return "show", self.n, x
def __repr__(self): return "ours"
given.show, given.again = types.MethodType(show, given), types.MethodType(__repr__, given)
check("bound to an object", pmap(given.show, [1]), [("show", 3, 1)])
check("under another name", pmap(lambda f: f(), [given.again]), ["ours"])

# --- a module of a class of the script ---
class Config(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return name.upper()
    twice = property(lambda self: self.n * 2)
config = Config("config")
config.n, config.me = 3, config
check("a module of an own class", pmap(lambda _: (config.n, config.twice, config.more, config.me is config, type(config) is Config), [1]), [(3, 6, "MORE", True, True)])

# --- classes with objects of their own, whose making needs methods of the class ---
@dataclasses.dataclass(frozen=True)
class Place:
    x: int
Place.names, Place.all, Place.few = {Place(0): "origin"}, {Place(1)}, frozenset([Place(2)])
class Weight:
    def __init__(self, n): self.n = n
    def __hash__(self): return hash(self.n)
    def __eq__(self, other): return self.n == other.n
Weight.names = collections.OrderedDict({Weight(1): "light"})
class Half(int):
    def __new__(cls, n): return super().__new__(cls, n // 2)
    def __getnewargs__(self): return (int(self) * 2,)
Half.five = Half(10)
class Corner(typing.NamedTuple):
    x: int
Corner.origin = Corner(0)
class Restored:
    def __init__(self, n): self.n = n
    def __getstate__(self): return (self.n,)
    def __setstate__(self, state): (self.n,) = state
Restored.one = Restored(1)
class Once:
    known = {}
    def __new__(cls, name):
        if name not in cls.known:
            cls.known[name] = super().__new__(cls)
            cls.known[name].name = name
        return cls.known[name]
    def __getnewargs__(self): return (self.name,)
class Weakly:
    known = weakref.WeakValueDictionary()
    def __new__(cls, name):
        made = cls.known.get(name)
        if made is None:
            made = cls.known[name] = super().__new__(cls)
            made.name = name
        return made
    def __reduce__(self): return Weakly, (self.name,)
Once("a"), Once("b")
weakly = Weakly("c")
class ByName(type):
    def __hash__(cls): return hash(cls.__name__)
    def __eq__(cls, other): return cls.__name__ == other.__name__
class Left(metaclass=ByName): pass
ByName.table = {Left: "left"}
class Side(enum.Enum):
    L, R = 1, 2
    def __hash__(self): return 7
    def other(self): return Side.others[self]
Side.others = {Side.L: Side.R, Side.R: Side.L}
OWN = {
    "dataclass": lambda _: (Place.names[Place(0)], Place(1) in Place.all, Place(2) in Place.few) == ("origin", True, True),
    "hash": lambda _: Weight.names[Weight(1)] == "light",
    "int": lambda _: (Half.five, type(Half.five) is Half) == (5, True),
    "named tuple": lambda _: (Corner.origin.x, type(Corner.origin) is Corner) == (0, True),
    "state": lambda _: Restored.one.n == 1,
    "registry": lambda _: Once("a") is Once.known["a"] and [*Once.known] == ["a", "b"],
    "weak registry": lambda _: Weakly("c") is weakly and [*Weakly.known] == ["c"],
    "metaclass": lambda _: ByName.table[Left] == "left",
    "enum": lambda _: Side.L.other() is Side.R,
}
for label, function in OWN.items():
    check("objects of its own: " + label, raised(lambda: pmap(function, [1])), [True])
check("a registered item", pmap(lambda one: one is Once("b"), [Once("b")]), [True])

# --- a descriptor that refuses to be asked by the class ---
class OfObjects:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function
    def __get__(self, owner, kind=None): return types.MethodType(self.function, owner)
class Has:
    @OfObjects
    def method(self, x): return x
check("a descriptor of objects", pmap(lambda x: Has().method(x), [1]), [1])

# --- classes that guard the attributes of their objects ---
class Fixed:
    __slots__ = ("n",)
    def __init__(self, n): object.__setattr__(self, "n", n)
    def __setattr__(self, name, value): raise AttributeError("it is fixed")
class Forwards:
    def __init__(self, **data): self.data = data
    def __getattr__(self, name):
        if name.startswith("__"): raise AttributeError(name)
        return self.data[name]
class ForwardsAll(list):
    def __init__(self, data): self.data = data
    def __getattr__(self, name): return getattr(self.data, name)
fixed, forwards, forwards_all = Fixed(3), Forwards(n=4), ForwardsAll("text")
forwards_all.extend([1, 2])
Fixed.own = Fixed(5)
check("guarded slots", raised(lambda: pmap(lambda _: (fixed.n, Fixed.own.n, raised(lambda: setattr(fixed, "n", 1))), [1])), [(3, 5, "AttributeError: it is fixed")])
check("guarded attributes", raised(lambda: pmap(lambda _: (forwards.n, forwards_all.upper(), [*forwards_all]), [1])), [(4, "TEXT", [1, 2])])
check("guarded items", raised(lambda: pmap(lambda one: one.n, [Fixed(1), Forwards(n=2)])), [1, 2])
"""
