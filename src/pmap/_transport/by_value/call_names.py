"""The global names that one call needs, and the versions of their values that were sent."""

from __future__ import annotations

from .names_role import NamesRole, can_be_shared

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from .sent_names import Key, Known, SentNames, Unit


class CallNames(NamesRole):
    """The global names that a call needs, each with the value that it has when first needed."""

    def __init__(self, sent_names: SentNames) -> None:
        super().__init__(sent_names)
        self.names: dict[Key, Known] = {}
        # Names that the function of a call uses and its module does not define; most are builtins.
        self.absent: set[Key] = set()
        self.units: dict[int, Unit] = {}
        # The record of each function, class and the like that was sent, by the object's id.
        self.held: dict[int, Known] = {}
        # Names whose values are pickled apart from other values: see `UnitWriter.apart`.
        self.apart: set[Key] = set()

    def named(self, obj: object) -> Known | None:
        """Return the record of a global that the call needs and whose value is `obj`; else None."""
        for (space, name), known in [*self.names.items()]:
            if space.dict.get(name) is obj and known.unsent is None and known.place == id(obj):
                return known
        return None

    def look(self, key: Key) -> tuple[Known | None, object]:
        """Return the record of what was sent for a global name, and the value of the name now.

        The record is None if nothing was sent, or another value.
        """
        known = self.sent_names.known.get(key)
        value = key[0].value(key[1])
        return (known if known is not None and known.is_current(value) else None), value

    def use(self, known: Known) -> None:
        """Record that the call needs the value that was last sent for a name."""
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
        """Return record and value of each name whose value may be a part of other values."""
        return [
            (known, value)
            for (space, name), known in self.names.items()
            if known.unsent is None
            and known.held is None
            and can_be_shared(value := space.dict.get(name))
        ]
