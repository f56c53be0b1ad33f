"""The role of a pickler: what the receiver of its pickles has already."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported here: see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


# The `__module__` of `Shared`: the package gives its own name to its public classes.
_SHARED = frozenset({__name__.partition(".")[0], f"{__package__}.shared"})


def is_handle(kind: type) -> bool:
    """Return whether a class is `Shared`, without importing it."""
    return kind.__name__ == "Shared" and kind.__module__ in _SHARED


class Role:
    """What the receiver of a pickle has already; according to this base class, nothing."""

    def __init__(self) -> None:
        # For globals that no module has, by their ids: the dict that is sent for them.
        self.alone: dict[int, dict[str, Any]] = {}
        self.careful = False  # whether attributes of classes that cannot be pickled are left out
        self.sends = True  # whether the pickle goes to another process
        self.skips_init = False  # whether the receiver must not call the `__init__` of exceptions

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Return number and module name of the namespace whose ``__dict__`` is `space`.

        None means that no module that travels by value has it: then it is part of the pickle.
        """
        return None

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Return what to write for a definition; None if it is to be written in full.

        `name`: the name under which `space` has the definition, or None if it does not.
        """
        return None

    def sentinel(self, obj: object) -> Any:
        """Return what to write for a bare ``object()``, which is known by its identity only.

        None means that it is to be sent by a key: see `singles`.
        """
        return None

    def shared(self, handle: Any) -> Any:
        """Return what to write for a handle, which is a `Shared`."""
        from .shared import Shared

        return Shared, (handle.value,)

    def identity(self, obj: object) -> Any:
        """Return what to write for an object that processes share, if only its identity counts.

        None means that the object itself is to be sent.
        """
        return None

    def inherited(self, number: int) -> Any:
        """Return what to write for an object that only forks have: see `handover`.

        None means that the receiver is no fork that has it.
        """
        return None

    def needs(self, space: dict[str, Any], names: Iterable[str], strict: bool) -> None:
        """Record that a function or class that is written in full looks up `names` in `space`.

        `strict`: it is an error if the value of such a name cannot be pickled.
        """

    def digest(self, value: object) -> bytes:
        """Return bytes that differ for different values; raises what pickling raises."""
        raise NotImplementedError
