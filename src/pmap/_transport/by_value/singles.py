"""Objects of which each process has one, such as markers that are compared by identity.

Pickle writes such an object as the name of a global: its class has a method like ``def
__reduce__(self): return "MISSING"``. A bare ``object()`` differs from others only by its identity,
too.

Each of these objects has a key by which all processes know it. So it arrives once, and is the same
object when it comes back. If it has attributes, the receiver sets them only if the sender has
changed them.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from ..importable import travels_by_name
from . import arriving
from .fingerprints import untyped
from .numbers import OLDEST, FallingNumbers
from .role import Role

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    # The state of an object: its ``__dict__``, and the values of its slots.
    State: TypeAlias = tuple[dict[str, object] | None, dict[str, object] | None]

# Each unique object (such as a marker) that was sent or received, with its key, by the id of the
# object. The dict keeps the objects alive.
_keys: dict[int, tuple[object, str]] = {}
_by_key: dict[str, object] = {}
# For each unique object, by its key: digest and serial number of the state that was last sent.
_sent: dict[str, tuple[bytes, int]] = {}
# For each unique object that another process has sent, by its key: the serial number of its state.
_arrived: dict[str, float] = {}
_serials = FallingNumbers()
# Each bare ``object()`` that was sent or received, with its key, by the id of the object; the
# oldest comes first. A weak reference would tell when the object is gone, but an ``object()``
# allows no weak reference. So the number of entries is limited. A program that sends more bare
# objects than the limit does not rely on their identity.
_bare: dict[int, tuple[object, str]] = {}
_bare_by_key: dict[str, object] = {}
_MOST_BARE = 1000
_PROTOCOL = 5


def reduce_single(role: Role, obj: object, space: dict[str, Any] | None) -> Any:
    """Return what pickle is to write for an object that its class pickles as a name.

    `space`: the globals of the class's module.
    """
    kind = type(obj)
    reduced = obj.__reduce_ex__(_PROTOCOL)
    if not isinstance(reduced, str):
        return reduced
    given: Any = obj
    arguments: tuple[object, ...] = ()
    # If the class derives from int, str or the like, the receiver needs the value to make the
    # object again.
    if hasattr(kind, "__getnewargs__"):
        arguments = given.__getnewargs__()
    got: Any = object.__getstate__(given)  # type: ignore[attr-defined,unused-ignore]
    state: State = got if untyped(type(got)) is tuple else (got, None)
    key = key_of(obj)
    serial = _serial(role, key, state)
    where = None if space is None else role.space_of(space)
    made = key, id(obj), where, reduced, kind, arguments
    return make_single, made, (key, serial, state), None, None, fill_single


def reduce_bare(obj: object) -> Any:
    """Return what pickle is to write for a bare ``object()``; each process has only one of it."""
    known = _bare.get(id(obj))
    key = _note_bare(obj, _home_of(obj) or os.urandom(12).hex()) if known is None else known[1]
    return make_bare, (key,)


def _home_of(obj: object) -> str | None:
    """Return the key of an ``object()`` that is a global of an importable module.

    None means that `obj` is no such global.
    """
    modules: dict[str, object] = {**sys.modules}  # a program may put anything into `sys.modules`
    for home, module in modules.items():
        if isinstance(module, ModuleType) and travels_by_name(home):
            for name, value in [*vars(module).items()]:
                if value is obj:
                    return f"{home}:{name}"
    return None


def make_bare(key: str) -> object:
    """Return the bare ``object()`` that has this key; if the key is unknown here, make one."""
    if key not in _bare_by_key:
        home, of_a_module, name = key.partition(":")
        if of_a_module:
            __import__(home)
            return getattr(sys.modules[home], name)
        _note_bare(object(), key)
    return _bare_by_key[key]


def bare_of_script(number: int, module: str, name: str, key: str) -> object:
    """Return the ``object()`` that an imported script has under the name `name`.

    The caller may have made it after this process imported the script. Then it is found by its key.
    """
    try:
        found = arriving.at_home(number, module, name)
    except (KeyError, AttributeError):
        return make_bare(key)
    return found if type(found) is object else make_bare(key)


def _note_bare(obj: object, key: str) -> str:
    while len(_bare) >= _MOST_BARE:
        try:
            _, oldest = _bare.pop(next(iter(_bare)))
        except (StopIteration, KeyError, RuntimeError):
            # another thread may be removing entries from the dict at the same time
            continue
        _bare_by_key.pop(oldest, None)
    _bare_by_key[key] = obj
    _bare[id(obj)] = obj, key
    return key


def key_of(obj: object) -> str:
    """Return the key of an object that exists once in each process, such as a sentinel.

    The key is a random text, made for the object when it is first sent; all processes know the
    object by this key.
    """
    known = _keys.get(id(obj))
    if known is None:
        known = _keys[id(obj)] = obj, os.urandom(12).hex()
        _by_key[known[1]] = obj
    return known[1]


def _serial(role: Role, key: str, state: object) -> int:
    """Return the serial number of an object's state: a new one if the state has changed."""
    digest = role.digest(state)
    last = _sent.get(key)
    if last is None or last[0] != digest:
        last = _sent[key] = digest, next(_serials)
    return last[1]


def make_single(
    key: str,
    address: int,
    where: tuple[int, str] | None,
    name: str,
    kind: Any,
    arguments: tuple[object, ...],
) -> object:
    """Return the unique object with this key; if the key is new here, make it without state."""
    if key in _by_key:
        return _by_key[key]
    made: object = None
    # A worker that was forked from the caller has the object already, at the same address.
    if where is not None:
        made = arriving.as_forked(where[0], name)
        if id(made) != address:
            made = None
    if made is None:
        made = kind.__new__(kind, *arguments)
    _keys[id(made)] = made, key
    _by_key[key] = made
    _arrived.setdefault(key, OLDEST)
    return made


def make_sentinel(
    key: str, address: int, where: tuple[int, str] | None, name: str, kind: Any, module: str
) -> object:
    """Return the sentinel with this key, an object of Python 3.15's type `sentinel`.

    If the key is unknown here, the sentinel is made.
    """
    made: Any = make_single(key, address, where, name, kind, (name,))
    made.__module__ = module
    return made


def fill_single(obj: Any, given: tuple[str, int, State]) -> None:
    """Give an object the state that has arrived, if the sender has changed the state."""
    key, serial, state = given
    if _arrived.get(key, serial) >= serial:
        return  # this process has made the object itself, or has a newer state of it
    _arrived[key] = serial
    fields, slots = state
    if fields is not None:
        obj.__dict__.clear()
        obj.__dict__.update(fields)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)


def begin_forked() -> None:
    """Record the states of the unique objects that this forked worker has from its caller."""
    for key in _arrived:
        # The caller may be a worker itself, and have some of these objects from its own caller. The
        # states count as old: those that the caller sends from now on are newer.
        _arrived[key] = OLDEST
    _arrived.update({key: serial for key, (_, serial) in _sent.items()})
    _sent.clear()
