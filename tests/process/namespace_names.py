# ruff: noqa: E501 - the lines of programs in strings
"""A program with names that change, go, and are found, for test_namespace.

It says what differs. What is before it, and behind it, is in that module.
"""

from typing import Final

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
def by_pickle(x): return pickle.loads(b"c" + __name__.encode() + b"\\nhidden" + b"_name\\n.")
def by_import(x): exec(f"from {__name__} import hidden" + "_name")
def by_a_dict(x): return {}["hidden_name"]
def undefined(x): return nothing_there
with Pool(1) as pool:
    if METHOD != "fork":
        # Only a line of source tells that a KeyError is one of globals.
        for function in ((by_globals,) if sys.argv[0].endswith(".py") else ()) + (by_eval, by_main, by_pickle, by_import):
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

def under_two_names(x):
    return 1
def under_one(x):
    return under_two_names(x)
def both(_):
    return under_two_names, name(1)
for name in (under_two_names, under_one):
    check("as it went", one(both, [1])[0][0] is under_two_names, True)
check("the other name is gone", one(lambda _: under_two_names, [1])[0] is under_two_names, True)

# --- subclasses, which no name leads to ---
class Plugin(abc.ABC):
    @classmethod
    def find(cls, name): return {one.name: one for one in cls.__subclasses__()}[name]
class One(Plugin): name = "one"
class Two(Plugin): name = "two"
class Three(One): name = "three"
def below(cls): return [one.__name__ for one in cls.__subclasses__()] + [name for one in cls.__subclasses__() for name in below(one)]
check("found", one(lambda name: Plugin.find(name).__name__, ["one", "two"]), ["One", "Two"])
check("in order", one(lambda _: below(Plugin), [1]), [["One", "Two", "Three"]])
class Four(Plugin): name = "four"
check("one more", one(lambda _: below(Plugin), [1]), [["One", "Two", "Four", "Three"]])
check("a method", one(Plugin.find, ["four"]), [Four])

class Noted:
    def __init_subclass__(cls, **_): pass
class Small:
    __slots__ = ()
    def __init_subclass__(cls, **_): pass
class Maker(type): pass
class Made(metaclass=Maker):
    def __init_subclass__(cls, **_): pass
for base in (Noted, Small, Made):
    class One(base): pass
    class Two(base): __slots__ = ("x",)
    class Three(base, Exception): pass
    class Four(One, Two): pass
    check("each once", one(lambda _: below(base), [1]), [below(base)])
check("no metaclass besides", one(lambda _: type.__subclasses__(Maker), [1]), [[]])

# --- a module that has a class of the script, and attributes that a function makes ---
def __getattr__(name):
    if name == "lazily": return "made " + name
    raise AttributeError(name)
def asks(_): return sys.modules[__name__].lazily
check("made by a function", one(asks, [1]), ["made lazily"])
import types
class Module(types.ModuleType):
    twice = property(lambda self: self.G_ * 2)
class Other(types.ModuleType):
    twice = "other"
G_ = 4
def of_module(_): return G_, sys.modules[__name__].twice, type(sys.modules[__name__]).__name__
check("no class yet", raised(lambda: one(of_module, [1]))[:14], "AttributeError")
sys.modules[__name__].__class__ = Module
check("a class of a module", one(of_module, [1]), [(4, 8, "Module")])
sys.modules[__name__].__class__ = Other
check("another class", one(of_module, [1]), [(4, "other", "Other")])
sys.modules[__name__].__class__ = types.ModuleType
check("no class any more", raised(lambda: one(of_module, [1]))[:14], "AttributeError")
check("builtins of its own", one(types.FunctionType((lambda x: sorted(x)).__code__, {"__builtins__": {"sorted": sum}}), [[1, 2]]), [3])
"""
