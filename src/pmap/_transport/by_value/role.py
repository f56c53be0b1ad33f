"""What a pickler is told by whoever pickles: what the receiver knows already."""

from __future__ import annotations

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


# Where `Shared` says it is: the package gives its public classes its own name.
_SHARED = frozenset({__name__.partition(".")[0], f"{__package__}.shared"})


def is_handle(kind: type) -> bool:
    """Return whether a class is `Shared`, without importing it."""
    return kind.__name__ == "Shared" and kind.__module__ in _SHARED


class Role:
    """Who pickles, and for whom. This one knows of no receiver: all goes into the pickle."""

    def __init__(self) -> None:
        # What becomes of globals that are no module's, by their ids.
        self.alone: dict[int, dict[str, Any]] = {}
        self.careful = False  # attributes of classes that cannot be pickled stay behind
        self.sends = True  # what is pickled goes to another process
        self.bare = False  # no exception is made by its own __init__ where it arrives

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Return the number of the namespace whose ``__dict__`` is `space`, and its module's name.

        None: it is no module's that travels by value, and is part of the pickle.
        """
        return None

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Return what is to be written for a definition that `space` has as `name`.

        `name`: None where it has it not, or under another name. What comes back is None where the
        definition is to be written in full.
        """
        return None

    def sentinel(self, obj: object) -> Any:
        """Return what is to be written for a bare object, which is known by its identity only.

        None: another one will do.
        """
        return None

    def shared(self, handle: Any) -> Any:
        """Return what is to be written for a `Shared`."""
        from .shared import Shared

        return Shared, (handle.value,)

    def identity(self, obj: object) -> Any:
        """Return what is to be written for what processes share, if only its identity counts.

        None: it is to be sent.
        """
        return None

    def inherited(self, number: int) -> Any:
        """Return what is to be written for what only forks have: see `handover`.

        None: the receiver is none.
        """
        return None

    def needs(self, space: dict[str, Any], names: Iterable[str], strict: bool) -> None:
        """Take in that what is written in full looks up `names` in its globals.

        `strict`: it is an error if the value of one cannot be pickled.
        """

    def digest(self, value: object) -> bytes:
        """Return bytes that differ for values that differ; raises what the pickling raises."""
        raise NotImplementedError
