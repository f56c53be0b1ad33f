"""Objects whose class pickles them as the name of a global: there is one of each.

As ``def __reduce__(self): return "MISSING"`` says; or a bare ``object()``, which nothing but its
identity tells from others. Each has a key by which all processes know it,
so it arrives once, and is the same object on its way back. Its state is set anew where its sender
has changed it; else it stays what the receiver has made of it.
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

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    # What is in its ``__dict__``, and in its slots.
    State: TypeAlias = tuple[dict[str, object] | None, dict[str, object] | None]

_keys: dict[int, tuple[object, str]] = {}  # by the ids of the objects, which stay as long as this
_by_key: dict[str, object] = {}
_sent: dict[str, tuple[bytes, int]] = {}  # digest and serial number of the state as it was sent
_arrived: dict[str, float] = {}  # serial numbers of what is another process's
_serials = FallingNumbers()
# The same of each bare ``object()`` that was sent or came, the one known for longest first. Nothing
# tells when one is gone, so the number is limited: who sends more of them wants no identity.
_bare: dict[int, tuple[object, str]] = {}
_bare_by_key: dict[str, object] = {}
_MOST_BARE = 1000
_PROTOCOL = 5


def reduce_single(role: Role, obj: object, space: dict[str, Any] | None) -> Any:
    """Return what pickle is to write for an object whose class says it; `space`: its globals."""
    kind = type(obj)
    reduced = obj.__reduce_ex__(_PROTOCOL)
    if not isinstance(reduced, str):
        return reduced
    given: Any = obj
    arguments: tuple[object, ...] = ()
    if hasattr(kind, "__getnewargs__"):  # a number, a text
        arguments = given.__getnewargs__()
    got: Any = object.__getstate__(given)  # type: ignore[attr-defined,unused-ignore]
    state: State = got if untyped(type(got)) is tuple else (got, None)
    key = _key(obj)
    serial = _serial(role, key, state)
    where = None if space is None else role.space_of(space)
    made = key, id(obj), where, reduced, kind, arguments
    return make_single, made, (key, serial, state), None, None, fill_single


def reduce_bare(obj: object) -> Any:
    """Return what is to be written for an ``object()``, so that it is one object elsewhere, too."""
    known = _bare.get(id(obj))
    key = _note_bare(obj, _home_of(obj) or os.urandom(12).hex()) if known is None else known[1]
    return make_bare, (key,)


def _home_of(obj: object) -> str | None:
    """Return the key of an ``object()`` that is a global of a module; None: of none."""
    modules: dict[str, object] = {**sys.modules}  # a program may put anything there
    for home, module in modules.items():
        if isinstance(module, ModuleType) and travels_by_name(home):
            for name, value in [*vars(module).items()]:
                if value is obj:
                    return f"{home}:{name}"
    return None


def make_bare(key: str) -> object:
    """Return the ``object()`` with this key; make it if it is not known here."""
    if key not in _bare_by_key:
        home, of_a_module, name = key.partition(":")
        if of_a_module:
            __import__(home)
            return getattr(sys.modules[home], name)
        _note_bare(object(), key)
    return _bare_by_key[key]


def bare_of_script(number: int, module: str, name: str, key: str) -> object:
    """Return the ``object()`` that an imported script has; by its key if it has none of this name.

    The caller may have made it since.
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
        except (StopIteration, KeyError, RuntimeError):  # another thread does the same
            continue
        _bare_by_key.pop(oldest, None)
    _bare_by_key[key] = obj
    _bare[id(obj)] = obj, key
    return key


def _key(obj: object) -> str:
    known = _keys.get(id(obj))
    if known is None:
        known = _keys[id(obj)] = obj, os.urandom(12).hex()
        _by_key[known[1]] = obj
    return known[1]


def _serial(role: Role, key: str, state: object) -> int:
    """Return the number of an object's state: a new one if it has changed since it was sent."""
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
    """Return the object with this key; make it, without its state, if it is not known here."""
    if key in _by_key:
        return _by_key[key]
    made: object = None
    if where is not None:  # a worker that was forked from the caller has the very object
        made = arriving.as_forked(where[0], name)
        if id(made) != address:
            made = None
    if made is None:
        made = kind.__new__(kind, *arguments)
    _keys[id(made)] = made, key
    _by_key[key] = made
    _arrived.setdefault(key, OLDEST)
    return made


def fill_single(obj: Any, given: tuple[str, int, State]) -> None:
    """Give an object the state that its sender has changed."""
    key, serial, state = given
    if _arrived.get(key, serial) >= serial:
        return  # it is at home, or what comes late is older
    _arrived[key] = serial
    fields, slots = state
    if fields is not None:
        obj.__dict__.clear()
        obj.__dict__.update(fields)
    for name, value in (slots or {}).items():
        object.__setattr__(obj, name, value)


def begin_forked() -> None:
    """Take in that what this process has sent, its caller will: this worker was forked from it."""
    for key in _arrived:  # if that is a worker itself: from its own caller
        _arrived[key] = OLDEST
    _arrived.update({key: serial for key, (_, serial) in _sent.items()})
    _sent.clear()
