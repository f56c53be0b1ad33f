"""The base of the objects that tell a pickler what the receiver of its pickles has already."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


# What the attribute `__module__` of the class `Shared` may be: its real module, or, once pmap has
# set this attribute of its public classes, the name of the package.
_SHARED = frozenset({__name__.partition(".")[0], f"{__package__}.shared"})


def is_handle(kind: type) -> bool:
    """Return whether a class is `Shared`; the module of `Shared` is not imported for that."""
    return kind.__name__ == "Shared" and kind.__module__ in _SHARED


class Role:
    """Tells a pickler what to write for objects that the receiver of the pickle may have.

    This base class says that the receiver has nothing: each object is written in full.
    """

    def __init__(self) -> None:
        # Some functions have globals that belong to no module. In place of such globals another
        # dict is sent; this attribute has these other dicts, by the ids of the globals.
        self.alone: dict[int, dict[str, Any]] = {}
        # Whether class attributes that cannot be pickled are left out of the pickle.
        self.careful = False
        # Whether the pickle is sent to another process; if not, the pickle is only for a digest or
        # a trial.
        self.sends = True
        # Whether the receiver may be a fork of this process.
        self.forks = False
        # Whether the receiver must not call the `__init__` of exceptions.
        self.skips_init = False

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Return number and module name of the namespace whose ``__dict__`` is `space`.

        None means that `space` is not the globals of a module that is sent in messages of its own.
        Then the pickle contains the values in `space` that functions in the pickle need.
        """
        return None

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Return what to write for a definition, which is a function, a class or the like.

        None means that the definition is to be written in full. `name` is the name under which
        `space` has the definition, or None if `space` does not have it.
        """
        return None

    def sentinel(self, obj: object) -> Any:
        """Return what to write for a bare ``object()``, which is known by its identity only.

        None means that the object is sent as a key by which all processes know the object: see the
        module `singles`.
        """
        return None

    def global_value(self, obj: object) -> Any:
        """Return a reference to an object that is a global of the script; else None.

        None means that the object is to be written in full. `obj` is an instance of a class that
        travels by value.
        """
        return None

    def global_container(self, obj: object) -> Any:
        """Return what to write for a list or the like that is the value of a global; None: itself.

        Only the globals count that functions in the pickle look up.
        """
        return None

    def shared(self, handle: Any) -> Any:
        """Return what to write for a `Shared`, which is a handle that `share` has made."""
        from .shared import Shared

        return Shared, (handle.value,)

    def identity(self, obj: object) -> Any:
        """Return what to write for a shared object, such as a lock, if only its identity counts.

        None means that the object itself is to be written.
        """
        return None

    def inherited(self, number: int) -> Any:
        """Return what to write for an object, such as a lock, that only forked processes have.

        None means that the receiver does not have the object. `number` is the object's number in
        the registry that `multiprocessing` keeps of such objects: see the module `handover`.
        """
        return None

    def needs(self, space: dict[str, Any], names: Iterable[str], strict: bool) -> None:
        """Record that a function or class in the pickle looks up the names `names` in `space`.

        `strict`: it is an error if the value of such a name cannot be pickled.
        """

    def digest(self, value: object) -> bytes:
        """Return bytes that differ for different values; raises what pickling `value` raises."""
        raise NotImplementedError
