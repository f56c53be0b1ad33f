"""The record of the global names that one call needs, with what was sent of each."""

from __future__ import annotations

from . import arriving
from .names_role import NamesRole, can_be_shared

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from .sent_names import Key, Known, SentNames, Unit


class CallNames(NamesRole):
    """The names that one call needs, each with the value that it has when it is first needed."""

    def __init__(self, sent_names: SentNames) -> None:
        super().__init__(sent_names)
        self.names: dict[Key, Known] = {}
        # Names that the call uses and that have no value in their module; most are builtins.
        self.absent: set[Key] = set()
        self.units: dict[int, Unit] = {}
        # The record of each function, class and the like that was sent, by the object's id.
        self.held: dict[int, Known] = {}
        # Names whose values have units of their own: see `UnitWriter.apart`.
        self.apart: set[Key] = set()

    def named(self, obj: object) -> Known | None:
        """Return what is recorded of a name that the call needs and whose value is `obj`."""
        for (space, name), known in [*self.names.items()]:
            if space.dict.get(name) is obj and known.unsent is None and known.place == id(obj):
                return known
        return None

    def look(self, key: Key) -> tuple[Known | None, object]:
        """Return the record of a name (None if its value has changed), and its present value."""
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

    def common(self) -> list[tuple[Known, object]]:
        """Return record and value of each sent name whose value other values may refer to."""
        return [
            (known, value)
            for (space, name), known in self.names.items()
            if known.unsent is None
            and known.held is None
            and can_be_shared(value := space.dict.get(name))
        ]
