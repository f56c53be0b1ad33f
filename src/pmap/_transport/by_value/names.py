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

from collections import deque
from types import FunctionType

from ..light_pickle import BytesIO
from ..payload import payload_of_pickles
from ..randomness import has_generator
from ..segments import sieve, sizes_apart
from . import arriving
from .fingerprints import is_flat
from .handover import Handover
from .names_role import NAMELESS, NamesRole, can_be_shared
from .namespaces import namespace_of
from .picklers import is_light_enough, pickler
from .reducers import names_used
from .role import is_handle
from .sent_names import MOST_TRIES, Known, SentNames, Unit, is_restless
from .shared import Shared
from .shares import SHARES

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from typing_extensions import Buffer

    from ..descriptors import Descriptor
    from .namespaces import Namespace
    from .sent_names import Key

# How many units may form a chain of references; a new worker loads all units of a chain.
_LONGEST_CHAIN = 200
_SMALL = 100_000  # functions with larger pickles than this are not searched for random generators


class UnsentNameError(Exception):
    """Raised for a global name that a function uses and whose value cannot be pickled."""

    def __init__(self, name: str, why: Exception) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why


class Needs(NamesRole):
    """The names that one call needs, each with the value that it has when it is first needed.

    The object also tells picklers what to write for the call's function and items.
    """

    def __init__(self, sent_names: SentNames) -> None:
        super().__init__(sent_names)
        self.names: dict[Key, Known] = {}
        # Names that the call uses and that have no value in their module; most are builtins.
        self.absent: set[Key] = set()
        self.units: dict[int, Unit] = {}
        # The record of each function, class and the like that was sent, by the object's id.
        self.held: dict[int, Known] = {}
        # Some locks in the call's pickles exist only in forked workers. This is the highest number
        # that one of these locks has in the registry of `multiprocessing`; -1: there are none.
        self.newest: int = -1
        # Whether the function of the call is pickled now, and not an item. Items are always sent as
        # copies, because the program may change their objects between two items.
        self.packs_function = False
        self._strict: set[Key] = set()
        self._is_discarded = False

    # --- methods that a pickler calls ---

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Return a reference to a function or class that workers have; else None."""
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
        # The global name has another value by now, or the object was sent under another name.
        return self.reference(obj)

    def reference(self, obj: object) -> Any:
        """Return a reference to the definition `obj` if it was sent under any name; else None."""
        known = self.held.get(id(obj))
        if known is None or known.held is not obj or known.unsent is not None:
            return None
        return arriving.definition, (known.version,)

    def _spaces(self) -> set[Namespace]:
        return {space for space, _ in self.names}

    def needs(self, space: dict[str, Any], names: Iterable[str], strict: bool) -> None:
        """Record that a function looks up these global names, so that they are sent."""
        where = self._namespace_to_send(space)
        if where is not None:
            keys = [(where, name) for name in names]
            self.resolve(keys)
            if strict:
                self._strict.update(keys)

    def inherited(self, number: int) -> Any:
        """Return a reference to a lock that only forked workers have; record the lock's number."""
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

    def shared(self, handle: Any) -> Any:
        """Return a reference to the handle of a shared value; the value itself goes in a unit."""
        key = SHARES, handle.name
        self.resolve([key])
        known = self.names[key]
        if known.unsent is not None:
            raise known.unsent
        return arriving.definition, (known.version,)

    # --- names and versions of the call ---

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
            # Nothing is sent: the name is a builtin, or an initializer defines the name in the
            # worker.
            else:
                self.absent.add(key)
        if fresh:
            self._make_unit(fresh)

    def look(self, key: Key) -> tuple[Known | None, object]:
        """Return a name's record (None if the value has changed), and the name's present value."""
        known = self.sent_names.known.get(key)
        value = key[0].dict.get(key[1], arriving.ABSENT)
        return (known if known is not None and known.is_current(value) else None), value

    def use(self, known: Known) -> None:
        """Record that the call needs a name with the value that was last sent for it."""
        self.names[known.key] = known
        if known.held is not None:
            self.held[id(known.held)] = known
        self._use_unit(known.unit)

    def _use_unit(self, unit: Unit) -> None:
        if unit.number not in self.units:
            for before in unit.before:
                self._use_unit(before)
            self.units[unit.number] = unit

    def _make_unit(self, keys: list[Key]) -> None:
        light, careful, tries = is_light_enough(), False, 0
        unsent: dict[Key, Exception] = {}
        shared = self.common()
        again: set[Key] = set()
        if any(known.unit.chain >= _LONGEST_CHAIN for known, _ in shared):
            # The chain of units is too long. So the names in `again` are pickled once more,
            # together with the changed names, in a unit that starts a new chain.
            again = {known.key for known, _ in shared}
            for key in again:
                del self.names[key]
        while True:
            writer = _Writer(self, unsent, light, again)
            writer.careful = careful
            try:
                writer.write([*keys, *again])
                break
            except _UnsentError as error:
                tries += 1
                if is_restless(error.why) and tries < MOST_TRIES:
                    continue
                if light:
                    # Cloudpickle pickles the value, or raises an error that says why it cannot.
                    light = False
                elif not careful:
                    # From now on, attributes of classes that cannot be pickled are left out.
                    careful = True
                else:
                    unsent[error.key] = error.why
        self.sent_names.note(writer.made)
        for known in writer.made.values():
            self.use(known)

    def common(self) -> list[tuple[Known, object]]:
        """Return record and value of each sent name whose value other values may refer to."""
        return [
            (known, value)
            for (space, name), known in self.names.items()
            if known.unsent is None
            and known.held is None
            and can_be_shared(value := space.dict.get(name))
        ]

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
        """Return whether workers can find this function of the script by its name."""
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
            if name in space.dict:
                return False
        for key, known in [*self.names.items()]:
            value = key[0].dict.get(key[1], arriving.ABSENT)
            # `known.constant is not value` is what `is_current` would check for a value that can
            # never change. To call `is_current` for each such value would take longer than all else
            # here.
            if known.constant is not value and not known.is_current(value):
                return False
        return True

    def invalidate(self) -> None:
        """Record that a worker could not load a unit: the next call sends its names again."""
        self._is_discarded = True
        self.sent_names.forget(self.units)


def _can_refer(value: object) -> bool:
    """Return whether `value` may contain an object that is also the value of another name."""
    return not is_flat(value)


class _UnsentError(Exception):
    def __init__(self, key: Key, why: Exception) -> None:
        super().__init__(key, why)
        self.key = key
        self.why = why


class _Writer(NamesRole):
    """Pickles the values of names, and of the names that these values use, into a unit."""

    def __init__(
        self, needs: Needs, unsent: dict[Key, Exception], light: bool, again: set[Key]
    ) -> None:
        super().__init__(needs.sent_names)
        self._needs = needs
        self._unsent = unsent
        self._light = light
        self._again = again
        self.unit = Unit(self.sent_names.dead)
        self.made: dict[Key, Known] = {}
        # Names still to be pickled. Functions and classes come first: a value may need its class.
        self._definitions: deque[Known] = deque()
        self._values: deque[Known] = deque()
        # The record of the name whose value is being pickled now.
        self._at: Known | None = None
        # Pairs of records: that of a function or class, and that of the value inside which the
        # function or class was pickled.
        self._inside: list[tuple[Known, Known]] = []

    def write(self, keys: list[Key]) -> None:
        """Pickle the values of these names; raises `_UnsentError` for the first failing value."""
        unit = self.unit
        file = BytesIO()
        buffers: list[Buffer | Descriptor] = []
        one: Any = pickler(self, file, sieve(buffers), self._light)
        for key in keys:
            self._add(key)
        if any(_can_refer(known.key[0].dict.get(known.key[1])) for known in self.made.values()):
            one.memo = self._earlier_values()
        with Handover(self, carries=True):
            self._write_all(one, file, buffers)
        self._pass_on_needs()
        unit.payload = payload_of_pickles(file.getvalue(), buffers)

    def _write_all(self, one: Any, file: BytesIO, buffers: list[Buffer | Descriptor]) -> None:
        unit = self.unit
        while self._definitions or self._values:
            known = self._at = (self._definitions or self._values).popleft()
            if known.unsent is None:
                start, count = file.tell(), len(buffers)
                try:
                    one.dump(self._value(known))
                except RecursionError:
                    raise
                except Exception as error:
                    raise _UnsentError(known.key, error) from error
                known.size = file.tell() - start + sum(map(abs, sizes_apart(buffers[count:])))
                if known.held is None or known.size < _SMALL:
                    file.seek(start)
                    known.has_generator = has_generator(file.read())
                unit.versions.append(known.version)
                if known.held is not None or known.key[0] is SHARES:
                    unit.definitions.append(known.version)

    def _value(self, known: Known) -> object:
        # If the record `known` does not contain the value itself, the value is looked up again:
        # another thread may have replaced the value.
        space, name = known.key
        return space.dict.get(name, arriving.ABSENT) if known.held is None else known.held

    def _pass_on_needs(self) -> None:
        """Record that what was pickled inside a value needs all names that the value needs."""
        growing = True
        while growing:
            growing = False
            for part, whole in self._inside:
                if not (whole.needs <= part.needs and whole.strict <= part.strict):
                    part.needs |= whole.needs
                    part.strict |= whole.strict
                    growing = True

    def _earlier_values(self) -> dict[int, tuple[int, object]]:
        """Return a pickler's memo with values of earlier units, to which this unit may refer."""
        # An object with two names counts once: the receiver numbers the objects in the same way.
        shared = [*{id(value): (known, value) for known, value in self._needs.common()}.values()]
        for known, _ in shared:
            self.unit.primed.append(known.version)
            self._refer_to(known.unit)
        return {id(value): (at, value) for at, (_, value) in enumerate(shared)}

    def _refer_to(self, unit: Unit) -> None:
        self.unit.before.add(unit)
        self.unit.chain = max(self.unit.chain, unit.chain + 1)

    def _add(self, key: Key) -> None:
        """Put a name, and all names that its value uses, into this unit, unless they were sent."""
        needs = self._needs
        waiting = [key]
        while waiting:
            key = waiting.pop()
            if key in self.made or key in needs.names or key[1] in NAMELESS:
                continue
            known, value = needs.look(key)
            if known is not None and key not in self._again:
                needs.use(known)
                waiting += known.needs
            elif value is not arriving.ABSENT or key in needs.sent_names.known:
                made = self.made[key] = Known(key, value, self.unit)
                made.unsent = made.unsent or self._unsent.get(key)
                first = made.held is not None or key[0] is SHARES
                (self._definitions if first else self._values).append(made)
                if is_handle(type(value)):
                    handle: Any = value
                    waiting.append((SHARES, handle.name))
                for space, name in made.met:
                    where = namespace_of(space)
                    if where is not None:
                        # If the pickler writes a reference to an object, it does not ask about a
                        # definition inside that object. So the definition is added here.
                        made.needs.add((where, name))
                        waiting.append((where, name))
                # The names that the value's code uses are added before anything is pickled. So the
                # values of these names that were sent before are in the memo, and the value can
                # refer to them.
                for space, names in names_used(value):
                    where = self._namespace_to_send(space)
                    waiting += [(where, name) for name in names] if where is not None else ()
            else:
                needs.absent.add(key)

    # --- methods that a pickler calls ---

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Return a reference to a function or class that workers have; else None."""
        where = namespace_of(space)
        by_name = self.sent_names.by_name(obj, where)
        if by_name is not None:
            return by_name
        key = None if where is None else (where, name) if name else self.key_in(where, obj)
        if key is not None:
            self._add(key)
            if self._at is not None:
                self._at.needs.add(key)
            made = self.made.get(key)
            if made is not None and self._at is not None and made is not self._at:
                # The definition is pickled here, inside another value, and the later pickle of the
                # definition's own name refers to this place. So the definition also needs all names
                # that the other value needs.
                self._inside.append((made, self._at))
        known = self._needs.held.get(id(obj))
        if known is None or known.held is not obj or known.unsent is not None:
            return None
        if self._at is not None:
            self._at.needs.add(known.key)
        self._refer_to(known.unit)
        return arriving.definition, (known.version,)

    def inherited(self, number: int) -> Any:
        """Return a reference to a lock that only forked workers have; record the lock's number."""
        found = super().inherited(number)
        if found is not None:
            self.unit.newest = max(self.unit.newest, number)
        return found

    def global_value(self, obj: object) -> Any:
        """Return a reference to `obj` if it is a global whose value was sent; else None."""
        if self._at is None:
            return None
        key = self.key_in(self._at.key[0], obj)
        if key is None or self._at.key == key:
            return None
        self._add(key)
        self._at.needs.add(key)
        made = self.made.get(key)
        if made is not None:  # the object is pickled in full here, as a part of this unit
            self._inside.append((made, self._at))
            return None
        known = self._needs.names.get(key)
        if known is None or known.unsent is not None or known.place != id(obj):
            return None
        self._refer_to(known.unit)
        return arriving.definition, (known.version,)

    def shared(self, handle: Any) -> Any:
        """Return a reference to a shared value's handle; the handle itself if none was sent yet."""
        key = SHARES, handle.name
        if self._at is not None and self._at.key == key:
            return Shared, (handle.value,)
        self._add(key)
        if self._at is not None:
            self._at.needs.add(key)
        known = self._needs.names.get(key)
        if known is None:
            # The shared value itself is pickled here; the later pickle of the handle's name refers
            # to this place.
            return Shared, (handle.value,)
        self._refer_to(known.unit)
        return arriving.definition, (known.version,)

    def _spaces(self) -> set[Namespace]:
        return {space for space, _ in self.made}

    def needs(self, space: dict[str, Any], names: Iterable[str], strict: bool) -> None:
        """Record that the value being pickled needs these names; pickle their values, too."""
        where = self._namespace_to_send(space)
        if where is not None:
            for name in names:
                key = where, name
                self._add(key)
                if self._at is not None:
                    self._at.needs.add(key)
                    if strict:
                        self._at.strict.add(key)
