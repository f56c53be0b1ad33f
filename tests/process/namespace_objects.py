# ruff: noqa: E501 - the lines of programs in strings
"""A program with objects of classes that change what is put into them, or how they are made.

It says what differs. What is before it, and behind it, is in `test_namespace.py`.
"""

from typing import Final

OBJECTS: Final = """
import datetime, decimal, itertools
# --- classes that change, count or refuse what is put into their objects ---
class More(dict):
    def __setitem__(self, key, value): super().__setitem__(key, value + 1)
class Doubling(list):
    def append(self, value): super().append(value * 2)
    def extend(self, values): super().extend(value * 2 for value in values)
class Tens(set):
    def add(self, value): super().add(value * 10)
class Limited(dict):
    def __init__(self, limit): self.limit = limit
    def __setitem__(self, key, value):
        if len(self) >= self.limit: raise ValueError("full")
        super().__setitem__(key, value)
class Locked(dict):
    def __setitem__(self, key, value): raise TypeError("locked")
class LockedList(list):
    def append(self, value): raise TypeError("locked")
    extend = append
class Loud(collections.OrderedDict):
    def __setitem__(self, key, value): super().__setitem__(key.upper(), value)
class Hidden(dict):
    def items(self): return iter([])
    def __iter__(self): return iter([])
class Attributes(dict):
    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__
more, doubling, tens, limited, locked = More(), Doubling(), Tens(), Limited(1), Locked(a=1)
more["a"], limited["a"] = 1, 1
doubling.append(1), tens.add(1)
locked_list, loud, hidden, attributes = LockedList([1]), Loud(), Hidden(a=1), Attributes(a=1)
loud["b"], loud["a"], attributes.b = 1, 2, 3
loud.move_to_end("B")
# --- containers with attributes of their own, and their own ways to begin ---
class Factory(collections.defaultdict):
    def __init__(self, name): super().__init__(lambda: 5); self.name = name
class Counting(collections.Counter):
    def __init__(self, name, *rest): super().__init__(*rest); self.name = name
class Named(set):
    def __init__(self, name): super().__init__(); self.name = name
class Frozen(frozenset):
    def __new__(cls, name, values): return super().__new__(cls, values)
    def __init__(self, name, values): self.name = name
class Last(collections.deque):
    def __init__(self, name): super().__init__(maxlen=2); self.name = name
    def append(self, value): super().append(value * 2)
class Octets(bytearray):
    def __init__(self, name): super().__init__(b"ab"); self.name = name
factory, counting, named = Factory("n"), Counting("n", "aab"), Named("n")
frozen, last, octets, within = Frozen("n", [1]), Last("n"), Octets("n"), LockedList([1])
factory["a"], within.me = 1, within
named.add(1), last.append(1), last.append(2), last.append(3)
# --- texts and numbers of which the `__new__` takes other arguments, or changes them ---
class Unit(str):
    def __new__(cls, name, factor):
        made = super().__new__(cls, name)
        made.factor = factor
        return made
class Celsius(float):
    def __new__(cls, fahrenheit): return super().__new__(cls, (fahrenheit - 32) / 2)
class Both(collections.namedtuple("Both", "a b")):
    def __new__(cls, a): return super().__new__(cls, a, 2 * a)
class Pieces(tuple):
    def __new__(cls, *pieces): return super().__new__(cls, pieces)
class Kept(int):
    known = {}
    def __new__(cls, n): return cls.known.setdefault(n, super().__new__(cls, n))
class Day(datetime.date):
    def __new__(cls, text): return super().__new__(cls, *map(int, text.split("-")))
class Money(decimal.Decimal):
    def __new__(cls, amount, currency):
        made = super().__new__(cls, amount)
        made.currency = currency
        return made
unit, celsius, pair, pieces, kept = Unit("km", 3), Celsius(40), Both(2), Pieces(1, 2), Kept(5)
day, money = Day("2020-01-02"), Money("1.5", "EUR")
# --- classes of which there is one object, or one for each value, or one dict for all ---
class Single:
    _one = None
    def __new__(cls):
        if cls._one is None: cls._one = super().__new__(cls)
        return cls._one
class Instance:
    def __new__(cls):
        if not hasattr(cls, "instance"): cls.instance = super().__new__(cls)
        return cls.instance
class Unnamed:
    __made = None
    def __new__(cls, *arguments):
        if Unnamed.__made is None:
            Unnamed.__made = object.__new__(cls)
            Unnamed.__made.arguments = arguments
        return Unnamed.__made
class SingleDict(dict):
    _one = None
    def __new__(cls):
        if cls._one is None: cls._one = super().__new__(cls)
        return cls._one
class ByMeta(type):
    made = {}
    def __call__(cls, *arguments):
        if cls not in cls.made: cls.made[cls] = super().__call__(*arguments)
        return cls.made[cls]
class Config(metaclass=ByMeta):
    def __init__(self, n=0): self.n = n
class Weakly:
    known = weakref.WeakValueDictionary()
    def __new__(cls, value):
        made = cls.known.get(value)
        if made is None: made = cls.known[value] = object.__new__(cls)
        return made
    def __init__(self, value): self.value = value
class Borg:
    shared = {}
    def __init__(self): self.__dict__ = self.shared
single, instance, single_dict, config, weakly = Single(), Instance(), SingleDict(), Config(5), Weakly(3)
Unnamed(1)
single.n, single_dict["a"], borg, other_borg = 2, 1, Borg(), Borg()
borg.x = 1
def as_one(_):
    borg.x = 2
    return other_borg.x == Borg().x == 2
# --- a hash that needs attributes, of an object within a set that the object has ---
class Node:
    def __init__(self, key):
        self.near, self.key = set(), key
        self.table = {self: 1}
    def __hash__(self): return hash(self.key)
    def __eq__(self, other): return self.key == other.key
class SlotNode:
    __slots__ = ("near", "key")
    def __init__(self, key): self.near, self.key = set(), key
    __hash__, __eq__ = Node.__hash__, Node.__eq__
node, near_node, slot_node = Node("a"), Node("b"), SlotNode("c")
node.near, near_node.near = {near_node}, {node}
slot_node.near.add(slot_node)
OBJECTS = {
    "dict": lambda _: dict(more) == {"a": 2},
    "list": lambda _: list(doubling) == [2],
    "set": lambda _: set(tens) == {10},
    "limited": lambda _: (dict(limited), limited.limit) == ({"a": 1}, 1) and raised(lambda: limited.__setitem__("b", 1)) == "ValueError: full",
    "locked": lambda _: (dict(locked), [*locked_list]) == ({"a": 1}, [1]),
    "order": lambda _: [*loud.items()] == [("A", 2), ("B", 1)],
    "hidden": lambda _: (len(hidden), hidden["a"]) == (1, 1),
    "attributes": lambda _: (attributes.a, attributes.b, vars(attributes)) == (1, 3, {}),
    "defaultdict": lambda _: (factory.name, factory["b"], factory["a"]) == ("n", 5, 1),
    "Counter": lambda _: (counting.name, counting.most_common()) == ("n", [("a", 2), ("b", 1)]),
    "set with a name": lambda _: (named.name, [*named]) == ("n", [1]),
    "frozenset": lambda _: (frozen.name, [*frozen], type(frozen) is Frozen) == ("n", [1], True),
    "deque": lambda _: (last.name, [*last], last.maxlen) == ("n", [4, 6], 2),
    "bytearray": lambda _: (octets.name, bytes(octets)) == ("n", b"ab"),
    "within itself": lambda _: within.me is within and [*within] == [1],
    "str": lambda _: (unit, unit.factor, type(unit) is Unit) == ("km", 3, True),
    "float": lambda _: (float(celsius), type(celsius) is Celsius) == (4.0, True),
    "named tuple": lambda _: (pair.a, pair.b, type(pair) is Both) == (2, 4, True),
    "tuple": lambda _: tuple(pieces) == (1, 2) and type(pieces) is Pieces,
    "kept": lambda _: Kept(5) is kept and kept == 5,
    "date": lambda _: day.isoformat() == "2020-01-02" and type(day) is Day,
    "Decimal": lambda _: (str(money), money.currency) == ("1.5", "EUR"),
    "single": lambda _: Single() is single and single.n == 2,
    "instance": lambda _: Instance() is instance,
    "unnamed": lambda _: Unnamed().arguments == (1,),
    "single dict": lambda _: SingleDict() is single_dict and single_dict["a"] == 1,
    "metaclass": lambda _: Config() is config and config.n == 5,
    "weakly": lambda _: Weakly(3) is weakly,
    "one dict": as_one,
    "nodes": lambda _: near_node in node.near and node in near_node.near and node.table[node] == 1,
    "slots of a node": lambda _: slot_node in slot_node.near,
}
check("serially", [label for label, f in OBJECTS.items() if f(1) is not True], [])
other_borg.x = 1
for label, function in OBJECTS.items():
    check(label, raised(lambda: one(function, [1])), [True])
def given(x): return type(x).__name__, [*x.items()] if isinstance(x, dict) else [*x], vars(x).get("name")
given_items = [more, doubling, tens, locked, locked_list, loud, factory, counting, named, frozen, last, octets]
check("items", raised(lambda: one(given, given_items)), [given(x) for x in given_items])
check("there and back", raised(lambda: [given(x) for x in one(lambda x: x, given_items)]), [given(x) for x in given_items])
check("values there and back", raised(lambda: one(lambda x: x, [unit, celsius, pair, pieces, day, money])), [unit, celsius, pair, pieces, day, money])
check("the one object there", raised(lambda: one(lambda x: x is type(x)(), [single, instance, single_dict])), [True] * 3)
"""
