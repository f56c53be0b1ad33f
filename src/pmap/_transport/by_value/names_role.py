"""Finding which names of the script the pickles of a call need."""

from __future__ import annotations

from types import FunctionType

from . import arriving
from .handover import inherited
from .namespaces import namespace_of
from .picklers import Sender

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any

    from .namespaces import Namespace
    from .sent_names import Key, SentNames

# Names that the import system sets in a module's globals. Their values are never sent.
NAMELESS = frozenset({"__builtins__", "__loader__", "__spec__", "__cached__"})
# Global names of a module whose values are always sent.
_OF_A_MODULE = ("__file__", "__package__", "__path__", "__getattr__", arriving.CLASS)


class NamesRole(Sender):
    """Tells picklers what to write; records the names that pickles need, so that these are sent."""

    def __init__(self, sent_names: SentNames) -> None:
        super().__init__()
        self.sent_names: SentNames = sent_names
        self.forks: bool = sent_names.inherits
        # For modules in which `key_in` has searched for a value: the names of the module's globals,
        # by the ids of their values.
        self._names: dict[Namespace, dict[int, str]] = {}
        # The modules' globals about which picklers have asked this object. They stay alive here, so
        # that no other dict gets their ids.
        self.seen: set[Namespace] = set()

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Return number and name of the module with these globals, if others cannot import it."""
        where = namespace_of(space)
        if where is None:
            return None
        if where not in self.seen:
            self.seen.add(where)
            self.needs(space, _OF_A_MODULE, strict=False)
        return where.number, where.name

    def sentinel(self, obj: object) -> Any:
        """Return what to write for an ``object()`` that is a global of the script; else None."""
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
        """Return a reference to a lock that only forked workers have; None for other workers."""
        return (inherited, (number,)) if self.forks else None

    def key_in(self, where: Namespace, obj: object) -> Key | None:
        """Return module and name of a global whose value is `obj`; None if there is none."""
        names = self._names.get(where)
        if names is None:
            names = self._names[where] = _names_by_id(where)
        name = names.get(id(obj))
        return (where, name) if name is not None and where.dict.get(name) is obj else None

    def _spaces(self) -> set[Namespace]:
        """Return the modules of the names that this object has recorded."""
        raise NotImplementedError

    def _namespace_to_send(self, space: dict[str, Any]) -> Namespace | None:
        """Return the record of the globals `space` if their values have to be sent; else None."""
        where = namespace_of(space)
        return None if where is not None and self.sent_names.has(where) else where


def can_be_shared(value: object) -> bool:
    """Return whether `value` has an identity that counts: two other values may contain it."""
    kind = type(value)
    return kind.__module__ != "builtins" or kind in (list, dict, set, bytearray)


def _names_by_id(space: Namespace) -> dict[int, str]:
    """Return the names of a module's globals, by the ids of their values."""
    return {
        id(value): name
        for name, value in [*space.dict.items()]
        if (can_be_shared(value) or type(value) is FunctionType) and name not in NAMELESS
    }
