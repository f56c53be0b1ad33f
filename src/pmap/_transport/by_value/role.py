"""The role of a pickler: what the receiver of its pickles has already."""

from __future__ import annotations

TYPE_CHECKING = False  # a worker starts faster without `typing`; type checkers assume True
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


# The values that the `__module__` of the class `Shared` may have: pmap gives the name of the
# package to its public classes.
_SHARED = frozenset({__name__.partition(".")[0], f"{__package__}.shared"})


def is_handle(kind: type) -> bool:
    """Return whether a class is `Shared`, without importing the module of `Shared`."""
    return kind.__name__ == "Shared" and kind.__module__ in _SHARED


class Role:
    """The role of a pickler: what the receiver of the pickle has already.

    According to this base class, the receiver has nothing.
    """

    def __init__(self) -> None:
        # The dicts that are sent in place of globals that belong to no module, by the ids of these
        # globals.
        self.alone: dict[int, dict[str, Any]] = {}
        # Whether attributes of classes are left out of a pickle if the attributes cannot be
        # pickled.
        self.careful = False
        # Whether the pickle goes to another process.
        self.sends = True
        # Whether the receiver must not call the `__init__` of exceptions.
        self.skips_init = False

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Return number and module name of the namespace whose ``__dict__`` is `space`.

        None means that no module that travels by value has the dict `space`. Then the pickle
        contains what is needed of `space`.
        """
        return None

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Return what to write for a definition: a function, a class or the like.

        None means that the definition is to be written in full. `name` is the name under which
        `space` has the definition, or None if `space` does not have it.
        """
        return None

    def sentinel(self, obj: object) -> Any:
        """Return what to write for a bare ``object()``, which is known by its identity only.

        None means that the object is to be sent by a key: see `singles`.
        """
        return None

    def shared(self, handle: Any) -> Any:
        """Return what to write for the handle of a shared value, which is a `Shared`."""
        from .shared import Shared

        return Shared, (handle.value,)

    def identity(self, obj: object) -> Any:
        """Return what to write for an object that processes share, if only its identity counts.

        None means that the object itself is to be sent.
        """
        return None

    def inherited(self, number: int) -> Any:
        """Return what to write for an object that only forks have: see `handover`.

        None means that the receiver is not a fork that has the object. `number` is the number of
        the object in the registry for forks.
        """
        return None

    def needs(self, space: dict[str, Any], names: Iterable[str], strict: bool) -> None:
        """Record that a function or class that is written in full looks up `names` in `space`.

        `strict`: it is an error if the value of such a name cannot be pickled.
        """

    def digest(self, value: object) -> bytes:
        """Return bytes that differ for different values; raises what pickling `value` raises."""
        raise NotImplementedError
