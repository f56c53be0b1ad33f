"""Fingerprints: they show whether the value of a global name has changed since it was sent.

Values that cannot change are compared by identity, or, if they are plain (numbers, texts), by
value. Functions and classes are compared by their parts, and all other values by a digest of their
pickles.
"""

from __future__ import annotations

import marshal
import sys
from time import perf_counter
from types import (
    BuiltinFunctionType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
)
from weakref import ref

from ..importable import is_importable, is_of_a_module
from .dict_versions import version_of
from .globals_of import annotations_of
from .role import is_handle

try:
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeAlias

    Fingerprint: TypeAlias = object
    Digest: TypeAlias = Callable[[object], bytes]

# Ids of types. Equal values of these types count as the same value. A type is looked up by its id,
# because a metaclass may make types equal to others, or not hashable.
_SCALARS = frozenset(map(id, (int, bool, str, bytes, type(None))))
_PLAIN = _SCALARS | frozenset(map(id, (float, complex)))
# The last version of marshal's format in which the bytes do not depend on how many references an
# object has.
_VERSION = 2
# A newer version of marshal's format; writing texts in it takes half the time. Equal bytes in
# version 4 mean equal values, but equal values may have different bytes.
_SWIFT = 4
# Attributes of a class that are not sent as its attributes: Python makes them anew, or they travel
# separately.
_NOT_SENT = frozenset(
    ("__dict__", "__weakref__", "_abc_impl", "__module__", "__qualname__", "__slots__", "__class__")
)
# Attributes of a class that are compared by the identity of their values. In the last two
# attributes Python 3.14 keeps the function that makes annotations, and the annotations that were
# made.
_FOR_GOOD = frozenset(
    {
        *("__doc__", "__annotations__", "__orig_bases__", "__parameters__"),
        *("__annotate_func__", "__annotations_cache__"),
    }
)
# A buffer of this many bytes or more goes into a digest as its `hash`, because `hash` is faster
# than the digest.
_QUICK = 1 << 14
# How many bytes are copied at a time to hash a buffer: the processor's caches hold so many.
_PIECE = 1 << 18
# If marshal has written this many bytes or more, version 4 of its format is tried, too.
_LARGE = 1 << 18
# If a dict has this many entries or more, its version number is read, before its contents are
# examined. Reading it needs `ctypes`, whose import takes as long as examining so many entries.
_MANY = 100_000
# How many levels of nested containers are searched for values that are not plain.
_DEEPEST = 4


class _Same:
    """Shows later whether a name still has the same object as its value; does not keep it alive."""

    __slots__ = ("place", "reference")

    def __init__(self, value: object) -> None:
        self.place = id(value)
        self.reference: Callable[[], object] | None
        given: Any = value
        try:
            self.reference = ref(given)
        except TypeError:
            # The value allows no weak reference. But it is part of an object that lives as long as
            # this record, so its id stays its own.
            self.reference = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Same) or self.place != other.place:
            return False
        # If the weak reference is dead, another object may have the address now.
        return self.reference is None or self.reference() is not None

    def __hash__(self) -> int:
        raise TypeError("fingerprints are compared only")


class _Plain:
    """The fingerprint of a plain value (None, number, text, bytes), or of a container of these."""

    __slots__ = ("hash", "kind", "size", "swift", "version")

    def __init__(self, value: Any, version: int | None = None) -> None:
        # For a large dict of scalars: the dict's version number, read before its contents were
        # examined. If the dict changes meanwhile, the next comparison finds another number.
        self.version = version
        begin = perf_counter()
        data = marshal.dumps(value, _VERSION)
        took = perf_counter() - begin
        self.kind: type = type(value)
        self.size = len(data)
        # Python's hash of bytes is SipHash: the hash has 64 bits, and depends on a secret of this
        # process.
        self.hash = hash(data)
        self.swift = self._swift(value, took) if self.size >= _LARGE else None

    @staticmethod
    def _swift(value: Any, took: float) -> tuple[int, int] | None:
        """Return length and hash of what marshal writes for a value in version 4 of its format.

        None means that version 2 is faster for this value: many parts of the value are referred to
        elsewhere, too: in version 4, marshal looks up each such part among those that it has
        written.
        """
        begin = perf_counter()
        data = marshal.dumps(value, _SWIFT)
        return (len(data), hash(data)) if perf_counter() - begin < took else None

    def is_surely_of(self, value: Any) -> bool:
        """Return whether `value`, which has the type `kind`, certainly has this fingerprint.

        False means that this function cannot tell.
        """
        if self.swift is None:
            return False
        data = marshal.dumps(value, _SWIFT)
        return self.swift == (len(data), hash(data))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Plain) and (self.kind, self.size, self.hash) == (
            other.kind,
            other.size,
            other.hash,
        )

    def __hash__(self) -> int:
        raise TypeError("fingerprints are compared only")


def fingerprint_of(value: object, digest: Digest, before: Fingerprint = None) -> Fingerprint:
    """Return the fingerprint of `value`, which stays equal as long as the value is unchanged.

    Args:
        value: the value.
        digest: returns the digest of a value's pickle. It raises what the pickling raises, and so
            does this function.
        before: the fingerprint of an earlier value of the same name, which may be the same value.
    """
    if type(before) is _Plain and before.kind is type(value):
        # The earlier value was plain (numbers, texts, containers of these), so this one probably
        # is, too. marshal refuses nearly all other values, so this code does not search the value
        # first.
        version = None if before.version is None else version_of(untyped(value))
        if version is not None and version == before.version:
            return before
        try:
            if before.is_surely_of(value):
                before.version = version
                return before
            now = _Plain(value, _version_of_scalars(value))
        except ValueError:
            pass
        else:
            if now == before:
                # The value is unchanged, though the bytes in marshal's version 4 differ: they
                # depend on how many references the parts of the value have.
                before.swift = now.swift
            return now
    return _of(value, digest, ())


def attributes_of(cls: type, digest: Digest) -> list[tuple[str, Fingerprint]]:
    """Return the attributes of the class `cls` that are sent with it, with their fingerprints."""
    return _attributes(cls, digest, ())


def values_of(cls: type) -> list[tuple[str, Any]]:
    """Return the attributes of the class `cls` that are sent with it, with their values."""
    found: list[tuple[str, Any]] = []
    for name, value in list(vars(cls).items()):
        kind = type(_object(value))
        slot = kind is MemberDescriptorType or kind is GetSetDescriptorType
        if name not in _NOT_SENT and not (slot and untyped(value).__objclass__ is cls):
            found.append((name, value))
    return found


def is_plain(value: object) -> bool:
    """Return whether `value` is plain, as far as a search of a few levels of containers shows."""
    return id(type(value)) in _PLAIN or _all_plain(value, 0)


def is_flat(value: object) -> bool:
    """Return whether `value` is plain, or a container of nothing but plain values."""
    return id(type(value)) in _PLAIN or _all_plain(value, _DEEPEST)


def sendable_form(fingerprint: Fingerprint) -> tuple[int, int] | bytes | None:
    """Return a fingerprint in a form that a forked process can compare with its own, or None."""
    if isinstance(fingerprint, _Plain):
        return fingerprint.size, fingerprint.hash
    given: Any = fingerprint
    if type(fingerprint) is tuple and len(given) == 2 and type(given[1]) is bytes:
        digest: bytes = given[1]
        return digest
    return None


def is_identity(fingerprint: Fingerprint) -> bool:
    """Return whether only the identity of a value with this fingerprint is compared."""
    return type(fingerprint) is _Same


def is_scalar(value: object) -> bool:
    """Return whether equal values of the type of `value` count as the same value."""
    return id(type(value)) in _SCALARS


def shape_of(given: Any) -> tuple[object, ...] | None:
    """Return all parts of a simple function that can change; None if the function is not simple.

    If the result is equal to an earlier one, the function has not changed. A function with
    defaults, attributes, annotations or a closure is not simple.
    """
    if given.__defaults__ or given.__kwdefaults__ or given.__closure__ or given.__dict__:
        return None
    attribute, made = annotations_of(given)
    if made:
        return None
    return given.__code__, given.__name__, given.__qualname__, given.__doc__, attribute, made


def _of(given: object, digest: Digest, inside: tuple[object, ...]) -> Fingerprint:
    kind, value = type(given), untyped(given)
    if id(kind) in _SCALARS:
        return kind, value
    if kind is FunctionType:
        return _function(value, digest, inside)
    if isinstance(value, type):
        if is_importable(value) or _is_in(value, inside):
            return _Same(value)
        return _Same(value), _about(value), tuple(_attributes(value, digest, inside))
    if kind is ModuleType:
        return _Same(value)
    if kind is BuiltinFunctionType:
        owner: object = value.__self__
        if owner is None or isinstance(owner, ModuleType | type) or is_of_a_module(value):
            return _Same(value)
        return kind, value.__name__, id(owner), _of(owner, digest, inside)
    if kind is staticmethod or kind is classmethod:
        return kind, _of(value.__func__, digest, inside)
    if kind is property:
        accessors = (value.fget, value.fset, value.fdel)
        return kind, *[_of(accessor, digest, inside) for accessor in accessors]
    if is_handle(kind):
        # The value is a handle, made by `share`; as the docstring of `share` says, later changes of
        # the shared value are not sent.
        return _Same(value)
    version = _version_of_scalars(value)
    if version is not None or is_plain(value):
        return _Plain(value, version)
    return kind, digest(value)


def untyped(value: Any) -> Any:
    """Return `value` with an unknown type, for type checkers."""
    return value


def _object(value: object) -> object:
    return value


def _is_in(value: object, those: tuple[object, ...]) -> bool:
    return any(value is one for one in those)


def _function(function: FunctionType, digest: Digest, inside: tuple[object, ...]) -> Fingerprint:
    if _is_in(function, inside) or is_importable(function):
        return _Same(function)
    attribute, made = annotations_of(function)
    hints: object = _Same(made)
    if attribute == "__annotations__":
        hints = [*made], [*map(id, made.values())]
    named_so = function.__name__, function.__qualname__, function.__doc__
    code = _Same(function), _Same(function.__code__), named_so, hints
    defaults, named = function.__defaults__, function.__kwdefaults__
    attributes, closure = function.__dict__, function.__closure__
    if not (defaults or named or attributes or closure):
        return code
    inside = *inside, function
    values = [*(defaults or ()), *(named or {}).values(), *attributes, *attributes.values()]
    for cell in closure or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:
            values.append(None)
    return code, *[_of_part(value, digest, inside) for value in values]


def _of_part(value: object, digest: Digest, inside: tuple[object, ...]) -> Fingerprint:
    """Return the fingerprint of a part of a value; an unpicklable part is compared by identity."""
    try:
        return _of(value, digest, inside)
    except Exception:
        return _Same(value)


def _about(cls: type) -> Fingerprint:
    """Return what is compared of a class besides its attributes: names, bases, registrations."""
    bases = [id(base) for base in cls.__bases__]
    others = [id(other) for other in (*registered(cls), *registered_with(cls), reducer_of(cls))]
    return cls.__name__, cls.__qualname__, bases, others


def reducer_of(cls: type) -> Any:
    """Return the function that the program has registered with `copyreg` for `cls`, or None."""
    copyreg = sys.modules.get("copyreg")
    try:
        return None if copyreg is None else copyreg.dispatch_table.get(cls)
    except Exception:  # the metaclass has no hash, or an `__eq__` that fails
        return None


def registered(cls: type) -> list[type]:
    """Return the classes that were registered as virtual subclasses of the abstract class `cls`."""
    if "_abc_impl" not in vars(cls):
        return []
    import abc

    # `abc._get_dump` is private, but no public function returns these classes. cloudpickle calls
    # it, too.
    private: Any = abc
    others: list[type] = []
    for reference in private._get_dump(cls)[0]:
        found = reference()
        if found is not None:
            others.append(found)
    return others


# The modules of the standard library that define abstract classes.
_HOMES_OF_ABSTRACT = ("_collections_abc", "numbers", "os", "io", "contextlib")


class _Registrations:
    """Tells with which abstract classes of the standard library a class is registered."""

    # What `abc.get_cache_token` returned last. It returns another value after each registration of
    # a class with an abstract class.
    token: object = None
    found: tuple[tuple[Callable[[], object], type], ...] = ()


def registered_with(cls: type) -> list[type]:
    """Return the abstract classes of the standard library with which `cls` was registered."""
    import abc

    token = abc.get_cache_token()
    if _Registrations.token != token:
        _Registrations.found = tuple(_look_for_registrations())
        _Registrations.token = token
    return [abstract for registered, abstract in _Registrations.found if registered() is cls]


def _look_for_registrations() -> Iterator[tuple[Callable[[], object], type]]:
    for name in _HOMES_OF_ABSTRACT:
        for value in [*vars(sys.modules.get(name, marshal)).values()]:
            if isinstance(value, type):
                for other in registered(value):
                    if not is_importable(other):
                        yield ref(other), value


def _attributes(
    cls: type, digest: Digest, inside: tuple[object, ...]
) -> list[tuple[str, Fingerprint]]:
    inside = *inside, cls
    # An enum class never replaces its members, nor the tables of its members. So members and tables
    # are compared by identity.
    fixed = "_member_map_" in vars(cls)
    found: list[tuple[str, Fingerprint]] = []
    for name, value in values_of(cls):
        if fixed or name in _FOR_GOOD:
            inner: object = None
            if type(_object(value)) is dict:
                inner = [*value, *map(id, value.values())]
            found.append((name, (id(value), inner)))
        else:
            found.append((name, _of_part(value, digest, inside)))
    return found


def _version_of_scalars(given: object) -> int | None:
    """Return the version number of a large dict of scalars, which changes with the dict.

    None for any other value, and on a Python without such numbers.
    """
    kind, value = type(given), untyped(given)
    if kind is not dict or len(value) < _MANY:
        return None
    # The version is read before the values are examined: if another thread then puts in a value
    # that is no scalar, the dict gets another version.
    version = version_of(value)
    first = _object(next(iter(value.values()), None))
    if version is None or id(type(first)) not in _PLAIN:
        # This Python has no versions of dicts, or the first value shows that the dict does not only
        # have scalars.
        return None
    kinds = {*map(id, map(type, value)), *map(id, map(type, value.values()))}
    return version if kinds <= _PLAIN else None


def _all_plain(given: object, depth: int) -> bool:
    """Return whether all parts of `given` are plain, so that marshal can write the whole value."""
    kind, value = type(given), untyped(given)
    if kind is dict:
        parts: tuple[Iterable[Any], ...] = (value.keys(), value.values())
    elif kind is list or kind is tuple or kind is set or kind is frozenset:
        parts = (value,)
    else:
        return False
    for part in parts:
        if {*map(id, map(type, part))} <= _PLAIN:
            continue
        if depth == _DEEPEST:
            return False
        one: object
        for one in part:
            if id(type(one)) not in _PLAIN and not _all_plain(one, depth + 1):
                return False
    return True


def digest_of(parts: Iterable[Any]) -> bytes:
    """Return the digest of a sequence of bytes and buffers."""
    digest = blake2b(digest_size=16)
    for part in parts:
        view = memoryview(part)
        if view.nbytes < _QUICK:
            digest.update(view)
        else:
            # Python's hash of bytes is several times faster than the digest. A view of memory can
            # be hashed only if its owner can, and an array of NumPy cannot. So each piece is
            # copied.
            octets = view.cast("B")
            hashes = [
                hash(bytes(octets[start : start + _PIECE]))
                for start in range(0, view.nbytes, _PIECE)
            ]
            digest.update(b"%d %r" % (view.nbytes, hashes))
    return digest.digest()
