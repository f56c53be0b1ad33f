"""The pickling of the values of several global names together, for workers."""

from __future__ import annotations

from collections import deque

from ..light_pickle import BytesIO
from ..payload import payload_of_pickles
from ..randomness import has_generator
from ..segments import sieve, sizes_apart
from . import arriving
from .fingerprints import is_flat
from .handover import Handover
from .names_role import NAMELESS, NamesRole
from .namespaces import namespace_of
from .picklers import pickler
from .reducers import names_used
from .role import is_handle
from .sent_names import Known, Unit, UnsentError
from .shared import Shared
from .shares import SHARES

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from typing_extensions import Buffer

    from ..descriptors import Descriptor
    from .call_names import CallNames
    from .namespaces import Namespace
    from .sent_names import Key

# A function or class with a larger pickle (in bytes) is not searched for random generators.
_SMALL = 100_000


def _can_refer(value: object) -> bool:
    """Return whether `value` may contain an object that is also the value of another name."""
    return not is_flat(value)


class UnitWriter(NamesRole):
    """Pickles the values of global names, and of the names that these values use, together."""

    def __init__(
        self, needs: CallNames, unsent: dict[Key, Exception], light: bool, again: set[Key]
    ) -> None:
        super().__init__(needs.sent_names)
        self._needs = needs
        self._unsent = unsent
        self._light = light
        self._again = again
        self.unit = Unit(self.sent_names.dead)
        self.made: dict[Key, Known] = {}
        # Names whose values have to be pickled. Functions and classes come first: a value may need
        # its class.
        self._definitions: deque[Known] = deque()
        self._values: deque[Known] = deque()
        # The record of the name whose value is being pickled.
        self._at: Known | None = None
        # Names whose values are also parts of other values. A worker that was forked from the
        # caller may keep its own value of such a name, and the other values must refer to that. So
        # the value of the name is sent first, by itself, and the other values are pickled once
        # more.
        self.apart: set[Key] = set()
        # Pairs of records: a function or class that was pickled inside a value, and that value.
        self._inside: list[tuple[Known, Known]] = []

    def write(self, keys: list[Key]) -> None:
        """Pickle the values of these names; raise `UnsentError` if one cannot be pickled."""
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
                    raise UnsentError(known.key, error) from error
                known.size = file.tell() - start + sum(map(abs, sizes_apart(buffers[count:])))
                if known.held is None or known.size < _SMALL:
                    file.seek(start)
                    known.has_generator = has_generator(file.read())
                unit.versions.append(known.version)
                if known.held is not None or known.key[0] is SHARES:
                    unit.definitions.append(known.version)

    def _value(self, known: Known) -> object:
        # The record may not have the value. Then the value is looked up, because another thread may
        # have replaced it.
        space, name = known.key
        return space.value(name) if known.held is None else known.held

    def _pass_on_needs(self) -> None:
        """Let functions and classes that are pickled inside a value need what the value needs."""
        growing = True
        while growing:
            growing = False
            for part, whole in self._inside:
                if not (whole.needs <= part.needs and whole.strict <= part.strict):
                    part.needs |= whole.needs
                    part.strict |= whole.strict
                    growing = True

    def _earlier_values(self) -> dict[int, tuple[int, object]]:
        """Return a pickler's memo that has earlier values, so that pickles may refer to them."""
        # An object that is the value of two names is listed once, as in the receiver's list: the
        # numbers in the memo are places in this list.
        shared = [*{id(value): (known, value) for known, value in self._needs.common()}.values()]
        for known, _ in shared:
            self.unit.primed.append(known.version)
            self._refer_to(known.unit)
        return {id(value): (at, value) for at, (_, value) in enumerate(shared)}

    def _refer_to(self, unit: Unit) -> None:
        self.unit.before.add(unit)
        self.unit.chain = max(self.unit.chain, unit.chain + 1)

    def _add(self, key: Key) -> None:
        """Pickle the value of a name, and of all names that it uses, unless they were sent."""
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
                        # If the pickler writes a reference to an object, it never sees a function
                        # or class inside the object. So the function or class is added here.
                        made.needs.add((where, name))
                        waiting.append((where, name))
                # The names that the value's code uses come first. So the pickler knows which of
                # their values were sent before, and can refer to them.
                for space, names in names_used(value):
                    where = self._namespace_to_send(space)
                    waiting += [(where, name) for name in names] if where is not None else ()
            else:
                needs.absent.add(key)

    # --- methods that a pickler calls ---

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Return a reference to a function or class if workers have it; else None."""
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
                # The function or class is pickled here, inside another value, and its own name
                # refers to this place. So whoever needs the function or class also needs all names
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
        """Return a reference to a lock that only forked workers have; record its number."""
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
        if made is not None and self._goes_apart(made):
            return arriving.definition, (made.version,)
        if made is not None:  # the value of another name is pickled here, in full
            self._inside.append((made, self._at))
            return None
        known = self._needs.names.get(key)
        if known is None or known.unsent is not None or known.place != id(obj):
            return None
        self._refer_to(known.unit)
        return arriving.definition, (known.version,)

    def _goes_apart(self, made: Known) -> bool:
        """Return whether a name's value is sent before the others, by itself; if so, record it."""
        if not self.forks or made.key in self._needs.apart or made.unsent is not None:
            return False
        self.apart.add(made.key)
        return True

    def global_container(self, obj: object) -> Any:
        """Return a reference to `obj`, a list or the like, if it is a global that was sent."""
        known = self._needs.named(obj)
        if self._at is None:
            return None
        if known is None:
            for made in self.made.values() if self.forks else ():
                if made.place == id(obj) and made is not self._at and self._goes_apart(made):
                    return arriving.definition, (made.version,)
            return None
        self._at.needs.add(known.key)
        self._refer_to(known.unit)
        return arriving.definition, (known.version,)

    def shared(self, handle: Any) -> Any:
        """Return what to write for a shared value's handle: a reference, or at first the value."""
        key = SHARES, handle.name
        if self._at is not None and self._at.key == key:
            return Shared, (handle.value,)
        self._add(key)
        if self._at is not None:
            self._at.needs.add(key)
        known = self._needs.names.get(key)
        if known is None:
            # The shared value is pickled here, and later the name of the handle refers to this
            # place.
            return Shared, (handle.value,)
        self._refer_to(known.unit)
        return arriving.definition, (known.version,)

    def _spaces(self) -> set[Namespace]:
        return {space for space, _ in self.made}

    def needs(self, space: dict[str, Any], names: Iterable[str], strict: bool) -> None:
        """Record that the value being pickled needs these global names; pickle them, too."""
        where = self._namespace_to_send(space)
        if where is not None:
            for name in names:
                key = where, name
                self._add(key)
                if self._at is not None:
                    self._at.needs.add(key)
                    if strict:
                        self._at.strict.add(key)
