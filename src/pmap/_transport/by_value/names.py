"""The names that a call needs, and their pickling for workers that were not told them yet.

Before a call is sent, the names that its function uses are looked at, and those that these use, and
so on. Those that changed since they were last told are pickled together: a `Unit`. Its pickles
share one memo, so what is one object under two names is one object there; and they refer to what
was told before.

Nothing is locked: what is pickled may itself use pmap. A record is made whole before it is put in
the place of another, and where two threads tell the same name at once, it is told twice.
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
from .handover import Handover, inherited
from .namespaces import namespace_of
from .picklers import Sender, is_light_enough, pickler
from .role import is_handle
from .sent_names import MOST_TRIES, Known, SentNames, Unit, is_restless
from .shared import Shared
from .shares import SHARES

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from typing_extensions import Buffer

    from ..descriptors import Descriptor
    from .namespaces import Namespace
    from .sent_names import Key

# What the import system puts into a namespace for itself.
_NAMELESS = frozenset({"__builtins__", "__loader__", "__spec__", "__cached__"})
_OF_A_MODULE = ("__file__", "__package__", "__path__")  # told in any case
# Units that refer to one another, at most: a new worker loads them all.
_LONGEST_CHAIN = 200
_SMALL = 100_000  # bytes


class UnsentNameError(Exception):
    """A global that a function uses cannot be pickled."""

    def __init__(self, name: str, why: Exception) -> None:
        super().__init__(name, why)
        self.name = name
        self.why = why


class _Teller(Sender):
    """A role that sees to it that workers are told the names that its pickles need."""

    def __init__(self, sent_names: SentNames) -> None:
        super().__init__()
        self.sent_names = sent_names
        self._seen: set[Namespace] = set()  # they stay as long as this

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """See `Role`."""
        where = namespace_of(space)
        if where is None:
            return None
        if where not in self._seen:
            self._seen.add(where)
            self.needs(space, _OF_A_MODULE, strict=False)
        return where.number, where.name

    def sentinel(self, obj: object) -> Any:
        """See `Role`."""
        spaces: set[Namespace] = {*self._spaces()}
        if self.sent_names.main is not None:
            spaces.add(self.sent_names.main)
        for space in spaces:
            for name, value in [*space.dict.items()]:
                if value is obj:
                    if self.sent_names.has(space):
                        from .singles import bare_of_script, reduce_bare

                        where = space.number, space.name, name
                        return bare_of_script, (*where, *reduce_bare(obj)[1])
                    return self.definition(obj, space.dict, name)
        return None

    def inherited(self, number: int) -> Any:
        """See `Role`."""
        return (inherited, (number,)) if self.sent_names.inherits else None

    def _spaces(self) -> set[Namespace]:
        """Return the namespaces of the names that were told, or are."""
        raise NotImplementedError

    def _told(self, space: dict[str, Any]) -> Namespace | None:
        """Return the namespace whose names workers are told; None: they have them, or need none."""
        where = namespace_of(space)
        return None if where is not None and self.sent_names.has(where) else where


class Needs(_Teller):
    """What one call needs: names as they are when they are first needed.

    As a role it is for the pickles of the call's function and items.
    """

    def __init__(self, sent_names: SentNames) -> None:
        super().__init__(sent_names)
        sent_names.drop()
        self.names: dict[Key, Known] = {}
        self.absent: set[Key] = set()  # names that are used and that nobody has: builtins, mostly
        self.units: dict[int, Unit] = {}
        self.held: dict[int, Known] = {}  # definitions, by their ids
        self.newest: int = -1  # the highest number of what only forks have: see `handover`
        self._strict: set[Key] = set()
        self._is_discarded = False

    # --- as a role ---

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """See `Role`."""
        where = namespace_of(space)
        by_name = self.sent_names.by_name(obj, where)
        if by_name is not None:
            return by_name
        if name is not None and where is not None:
            key = where, name
            if key not in self.names:
                self.resolve([key])
            known = self.names.get(key)
            if known is not None and known.held is obj:
                if known.unsent is None:
                    return arriving.definition, (known.version,)
                if self.sent_names.inherits:
                    return arriving.at_home, (where.number, where.name, name)
                raise UnsentNameError(name, known.unsent)
        # It was defined anew since the call was made, or has another name.
        return self.reference(obj)

    def reference(self, obj: object) -> Any:
        """Return what is to be written for what was told under any name; None: it was not."""
        known = self.held.get(id(obj))
        if known is None or known.held is not obj or known.unsent is not None:
            return None
        return arriving.definition, (known.version,)

    def _spaces(self) -> set[Namespace]:
        return {space for space, _ in self.names}

    def needs(self, space: dict[str, Any], names: Iterable[str], strict: bool) -> None:
        """See `Role`."""
        where = self._told(space)
        if where is not None:
            keys = [(where, name) for name in names]
            self.resolve(keys)
            if strict:
                self._strict.update(keys)

    def inherited(self, number: int) -> Any:
        """See `Role`."""
        found = super().inherited(number)
        if found is not None:
            self.newest = max(self.newest, number)
        return found

    def shared(self, handle: Any) -> Any:
        """See `Role`."""
        key = SHARES, handle.name
        self.resolve([key])
        known = self.names[key]
        if known.unsent is not None:
            raise known.unsent
        return arriving.definition, (known.version,)

    # --- names and versions ---

    def resolve(self, keys: Iterable[Key]) -> None:
        """Take in that these names are needed, and all that they use; tell what has changed."""
        fresh: list[Key] = []
        seen: set[Key] = set()
        waiting = list(keys)
        while waiting:
            key = waiting.pop()
            if key in self.names or key in seen or key[1] in _NAMELESS:
                continue
            seen.add(key)
            known, value = self.look(key)
            if known is not None:
                self.use(known)
                waiting += known.needs
            elif value is not arriving.ABSENT or key in self.sent_names.known:
                fresh.append(key)
            else:  # it is one of the builtins, or an initializer is to set it
                self.absent.add(key)
        if fresh:
            self._tell(fresh)

    def look(self, key: Key) -> tuple[Known | None, object]:
        """Return what was told of a name, if it still has that value, and the value."""
        known = self.sent_names.known.get(key)
        value = key[0].dict.get(key[1], arriving.ABSENT)
        return (known if known is not None and known.is_current(value) else None), value

    def use(self, known: Known) -> None:
        """Take in that a name is needed as it was told."""
        self.names[known.key] = known
        if known.held is not None:
            self.held[id(known.held)] = known
        self._use_unit(known.unit)

    def _use_unit(self, unit: Unit) -> None:
        if unit.number not in self.units:
            for before in unit.before:
                self._use_unit(before)
            self.units[unit.number] = unit

    def _tell(self, keys: list[Key]) -> None:
        light, careful, tries = is_light_enough(), False, 0
        unsent: dict[Key, Exception] = {}
        shared = self.common()
        again: set[Key] = set()
        if any(known.unit.chain >= _LONGEST_CHAIN for known, _ in shared):
            again = {known.key for known, _ in shared}  # together with what changed: a new chain
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
                    light = False  # cloudpickle can do it, or says why not
                elif not careful:
                    careful = True  # it may be something that a class has, and nobody uses
                else:
                    unsent[error.key] = error.why
        self.sent_names.note(writer.made)
        for known in writer.made.values():
            self.use(known)

    def common(self) -> list[tuple[Known, object]]:
        """Return the names, as told, whose values others may refer to, and these values."""
        return [
            (known, value)
            for (space, name), known in self.names.items()
            if known.unsent is None
            and known.held is None
            and _can_be_shared(value := space.dict.get(name))
        ]

    # --- of the call ---

    def check(self) -> None:
        """Raise `UnsentNameError` if a function uses what cannot be pickled."""
        if self.sent_names.inherits:
            return
        for key in self._strict.union(*[known.strict for known in self.names.values()]):
            known = self.names.get(key)
            if known is not None and known.unsent is not None:
                raise UnsentNameError(key[1], known.unsent) from known.unsent

    def has(self, function: object) -> bool:
        """Return whether workers have a function of the script under its name."""
        if not isinstance(function, FunctionType):
            return False
        where = namespace_of(function.__globals__)
        known = None if where is None else self.names.get((where, function.__qualname__))
        return known is not None and known.held is function

    def are_current(self) -> bool:
        """Return whether all names still have the values that they had, or none."""
        if self._is_discarded:
            return False
        for space, name in [*self.absent]:  # another thread may add some
            if name in space.dict:
                return False
        for (space, name), known in [*self.names.items()]:
            if not known.is_current(space.dict.get(name, arriving.ABSENT)):
                return False
        return True

    def invalidate(self) -> None:
        """Take in that something of this did not load: the next call tells it anew."""
        self._is_discarded = True
        self.sent_names.forget(self.units)


def _can_be_shared(value: object) -> bool:
    kind = type(value)
    return kind.__module__ != "builtins" or kind in (list, dict, set, bytearray)


def _can_refer(value: object) -> bool:
    """Return whether there may be something in `value` that another name has as well."""
    return not is_flat(value)


class _UnsentError(Exception):
    def __init__(self, key: Key, why: Exception) -> None:
        super().__init__(key, why)
        self.key = key
        self.why = why


class _Writer(_Teller):
    """Pickles the values of names into a unit, and of those that they use."""

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
        # Definitions first: to load a value may take what its class uses.
        self._definitions: deque[Known] = deque()
        self._values: deque[Known] = deque()
        self._at: Known | None = None  # what is being pickled
        self._inside: list[tuple[Known, Known]] = []  # what is pickled as a part of another

    def write(self, keys: list[Key]) -> None:
        """Pickle them; raises `_UnsentError` for the first whose pickling fails."""
        unit = self.unit
        file = BytesIO()
        buffers: list[Buffer | Descriptor] = []
        one: Any = pickler(self, file, sieve(buffers), self._light)
        for key in keys:
            self._add(key)
        if any(_can_refer(known.key[0].dict.get(known.key[1])) for known in self.made.values()):
            one.memo = self._prime()
        with Handover(self, carries=True):
            self._write_all(one, file, buffers)
        self._hand_on()
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
        # Another thread may have defined it anew.
        space, name = known.key
        return space.dict.get(name, arriving.ABSENT) if known.held is None else known.held

    def _hand_on(self) -> None:
        """Let what is a part of others need what these need."""
        growing = True
        while growing:
            growing = False
            for part, whole in self._inside:
                if not (whole.needs <= part.needs and whole.strict <= part.strict):
                    part.needs |= whole.needs
                    part.strict |= whole.strict
                    growing = True

    def _prime(self) -> dict[int, tuple[int, object]]:
        """Return the memo of a pickler that has written already what may be shared."""
        # Of two names for one object, one: the receiver counts what it begins with, too.
        shared = [*{id(value): (known, value) for known, value in self._needs.common()}.values()]
        for known, _ in shared:
            self.unit.primed.append(known.version)
            self._refer_to(known.unit)
        return {id(value): (at, value) for at, (_, value) in enumerate(shared)}

    def _refer_to(self, unit: Unit) -> None:
        self.unit.before.add(unit)
        self.unit.chain = max(self.unit.chain, unit.chain + 1)

    def _add(self, key: Key) -> None:
        """See that a name is told, in this unit if it was not before, and all that it uses."""
        needs = self._needs
        waiting = [key]
        while waiting:
            key = waiting.pop()
            if key in self.made or key in needs.names or key[1] in _NAMELESS:
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
                        # No pickler asks for it where it is written as a reference.
                        made.needs.add((where, name))
                        waiting.append((where, name))
            else:
                needs.absent.add(key)

    # --- as a role ---

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """See `Role`."""
        where = namespace_of(space)
        by_name = self.sent_names.by_name(obj, where)
        if by_name is not None:
            return by_name
        if where is not None and name is not None:
            key = where, name
            self._add(key)
            if self._at is not None:
                self._at.needs.add(key)
            made = self.made.get(key)
            if made is not None and self._at is not None and made is not self._at:
                # Here in full; under its name it is a reference to this, and uses what this uses.
                self._inside.append((made, self._at))
        known = self._needs.held.get(id(obj))
        if known is None or known.held is not obj or known.unsent is not None:
            return None
        if self._at is not None:
            self._at.needs.add(known.key)
        self._refer_to(known.unit)
        return arriving.definition, (known.version,)

    def inherited(self, number: int) -> Any:
        """See `Role`."""
        found = super().inherited(number)
        if found is not None:
            self.unit.newest = max(self.unit.newest, number)
        return found

    def shared(self, handle: Any) -> Any:
        """See `Role`."""
        key = SHARES, handle.name
        if self._at is not None and self._at.key == key:
            return Shared, (handle.value,)
        self._add(key)
        if self._at is not None:
            self._at.needs.add(key)
        known = self._needs.names.get(key)
        if known is None:  # here in full; on its own it is a reference to this
            return Shared, (handle.value,)
        self._refer_to(known.unit)
        return arriving.definition, (known.version,)

    def _spaces(self) -> set[Namespace]:
        return {space for space, _ in self.made}

    def needs(self, space: dict[str, Any], names: Iterable[str], strict: bool) -> None:
        """See `Role`."""
        where = self._told(space)
        if where is not None:
            for name in names:
                key = where, name
                self._add(key)
                if self._at is not None:
                    self._at.needs.add(key)
                    if strict:
                        self._at.strict.add(key)
