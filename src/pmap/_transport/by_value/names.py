"""Which global names a call needs, and the pickling of their values for workers.

Before a call is sent, the caller looks at the names that the call's function uses, at the names
that the values of these names use, and so on. The names that changed since they were last sent are
pickled together as a `Unit`. The pickles of a unit share one memo, so one object under two names is
one object in the worker, too. The pickles can also refer to values that were sent before.

No lock is held while values are pickled: pickling runs code of the program, which may use pmap. The
record of a name is complete before it replaces an earlier record of the name. If two threads send
one name at once, the name is sent twice.
"""

from __future__ import annotations

from types import FunctionType

from . import arriving
from .call_names import CallNames
from .names_role import NAMELESS
from .namespaces import namespace_of
from .picklers import is_light_enough
from .sent_names import (
    MOST_TRIES,
    SentNames,
    UnsentError,
    UnsentNameError,
    is_restless,
)
from .shares import SHARES

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .namespaces import Namespace
    from .sent_names import Key

# Pickled data may refer to values in data that was sent before, and so on. This is the greatest
# length of such a chain: a new worker has to load all of the chain.
_LONGEST_CHAIN = 200
_ABSENT = arriving.ABSENT
_UNNAMED = frozenset({arriving.CLASS, arriving.SUBCLASSES})


class Needs(CallNames):
    """Finds the global names that a call needs, and their values when they are first needed.

    It also tells picklers what to write for the function and the items of the call.
    """

    def __init__(self, sent_names: SentNames) -> None:
        super().__init__(sent_names)
        # Some locks in the call's pickles are known only to workers that were forked after the lock
        # was made. This is the highest number of such a lock in the registry of `multiprocessing`;
        # -1: there is none.
        self.newest: int = -1
        # Whether the function of the call is being pickled, and not an item. Objects in an item are
        # always sent as copies: the program may change them between two items.
        self.packs_function = False
        self._strict: set[Key] = set()
        self._is_discarded = False

    # --- methods that a pickler calls ---

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Return a reference to a function or class if workers have it; else None."""
        where = namespace_of(space)
        by_name = self.sent_names.by_name(obj, where)
        if by_name is not None:
            return by_name
        key = None if where is None else (where, name) if name else self.key_in(where, obj)
        if key is not None:
            where, name = key
            if key not in self.names:
                self.resolve([key])
            known = self.names.get(key)
            if known is not None and known.held is obj:
                if known.unsent is None:
                    return arriving.definition, (known.version,)
                if self.sent_names.inherits:
                    return arriving.at_home, (where.number, where.name, name)
                raise UnsentNameError(name, known.unsent)
        # The name does not have this object as its value now, but workers may have the object under
        # another name.
        return self.reference(obj)

    def reference(self, obj: object) -> Any:
        """Return a reference to the function or class `obj` if it was sent under any name."""
        known = self.held.get(id(obj))
        if known is None or known.held is not obj or known.unsent is not None:
            return None
        return arriving.definition, (known.version,)

    def _spaces(self) -> set[Namespace]:
        return {space for space, _ in self.names}

    def needs(self, space: dict[str, Any], names: Iterable[str], strict: bool) -> None:
        """Record that a function looks up these global names, so that their values are sent."""
        where = self._namespace_to_send(space)
        if where is not None:
            keys = [(where, name) for name in names]
            self.resolve(keys)
            if strict:
                self._strict.update(keys)

    def inherited(self, number: int) -> Any:
        """Return a reference to a lock that only forked workers have; record its number."""
        found = super().inherited(number)
        if found is not None:
            self.newest = max(self.newest, number)
        return found

    def global_value(self, obj: object) -> Any:
        """Return a reference to `obj` if it is a global whose value was sent; else None."""
        if not self.packs_function:
            return None
        spaces = [*self.seen] or ([self.sent_names.main] if self.sent_names.main else [])
        key = next(filter(None, [self.key_in(space, obj) for space in spaces]), None)
        if key is None:
            return None
        self.resolve([key])
        known = self.names.get(key)
        if known is None or known.unsent is not None or known.place != id(obj):
            return None
        return arriving.definition, (known.version,)

    def global_container(self, obj: object) -> Any:
        """Return a reference to `obj`, a list or the like, if it is a global that was sent."""
        known = self.named(obj) if self.packs_function else None
        return None if known is None else (arriving.definition, (known.version,))

    def shared(self, handle: Any) -> Any:
        """Return a reference to a handle that `share` has made; its value is sent separately."""
        key = SHARES, handle.name
        self.resolve([key])
        known = self.names[key]
        if known.unsent is not None:
            raise known.unsent
        return arriving.definition, (known.version,)

    # --- names of the call, and their values ---

    def resolve(self, keys: Iterable[Key]) -> None:
        """Record that the call needs these names and the names they use; pickle new values."""
        fresh: list[Key] = []
        seen: set[Key] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key in self.names or key in seen or key[1] in NAMELESS:
                continue
            seen.add(key)
            known, value = self.look(key)
            if known is not None:
                self.use(known)
                waiting += known.needs
            elif value is not arriving.ABSENT or key in self.sent_names.known:
                fresh.append(key)
            # There is no value to send: the name is a builtin, or an initializer sets it in the
            # worker.
            else:
                self.absent.add(key)
        if fresh:
            self._make_unit(fresh)

    def _make_unit(self, keys: list[Key]) -> None:
        from .unit_writer import UnitWriter  # many calls need no names

        light, careful, tries = is_light_enough(), False, 0
        unsent: dict[Key, Exception] = {}
        shared = self.common()
        again: set[Key] = set()
        if any(known.unit.chain >= _LONGEST_CHAIN for known, _ in shared):
            # Pickled data refers to earlier data, and the chain of such references is too long. So
            # the values of the names in `again` are pickled once more, together with the changed
            # ones, without references to earlier data.
            again = {known.key for known, _ in shared}
            for key in again:
                del self.names[key]
        while True:
            writer = UnitWriter(self, unsent, light, again)
            writer.careful = careful
            try:
                writer.write([*keys, *again])
                if not writer.apart:
                    break
                self.apart.update(writer.apart)
                self._make_unit([*writer.apart])
            except UnsentError as error:
                tries += 1
                if is_restless(error.why) and tries < MOST_TRIES:
                    continue
                if light:
                    # The light pickler has failed. Cloudpickle pickles the value, or raises an
                    # error that says why it cannot.
                    light = False
                elif not careful:
                    # The other ways to pickle the values have failed. So attributes of classes that
                    # cannot be pickled are left out now.
                    careful = True
                else:
                    unsent[error.key] = error.why
        self.sent_names.note(writer.made)
        for known in writer.made.values():
            self.use(known)

    # --- checks of the call ---

    def check(self) -> None:
        """Raise `UnsentNameError` if a function uses a global that cannot be pickled."""
        if self.sent_names.inherits:
            return
        for key in self._strict.union(*[known.strict for known in self.names.values()]):
            known = self.names.get(key)
            if known is not None and known.unsent is not None:
                raise UnsentNameError(key[1], known.unsent) from known.unsent

    def has(self, function: object) -> bool:
        """Return whether a worker that has imported the script finds this function by its name."""
        if not isinstance(function, FunctionType):
            return False
        where = namespace_of(function.__globals__)
        known = None if where is None else self.names.get((where, function.__qualname__))
        return known is not None and known.held is function

    def are_current(self) -> bool:
        """Return whether each name still has the value that was sent, or still has none."""
        if self._is_discarded:
            return False
        for space, name in [*self.absent]:  # a copy is read, because another thread may add names
            if name in space.dict or (name is arriving.CLASS and space.value(name) is not _ABSENT):
                return False
        for key, known in [*self.names.items()]:
            space, name = key
            value = space.value(name) if name in _UNNAMED else space.dict.get(name, _ABSENT)
            # This comparison of identities suffices for a value that can never change. A call of
            # `is_current` for each such value would take longer than everything else here.
            if known.constant is not value and not known.is_current(value):
                return False
        return True

    def invalidate(self) -> None:
        """Record that a worker could not load some values; the next call sends them again."""
        self._is_discarded = True
        self.sent_names.forget(self.units)
