"""The base of the objects that tell a pickler what the receiver of its pickles has already."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


# The values that `Shared.__module__` may have: the module of the class, or, once pmap has set the
# attribute for its public classes, the package.
_SHARED = frozenset({__name__.partition(".")[0], f"{__package__}.shared"})


def is_handle(kind: type) -> bool:
    """Return whether a class is `Shared`, without importing the module of `Shared`."""
    return kind.__name__ == "Shared" and kind.__module__ in _SHARED


class Written:
    """Stands for an object in a pickle: pickle writes the result of `reduced` for it."""

    def __init__(self, reduced: tuple[object, ...]) -> None:
        self.reduced = reduced


class Role:
    """Tells a pickler what to write for objects that the receiver of the pickle may have.

    This base class says that the receiver has nothing: each object is written in full.
    """

    def __init__(self) -> None:
        # Functions may have globals that no module has. Another dict is sent in place of such
        # globals; here these dicts are, by the ids of the globals.
        self.alone: dict[int, dict[str, Any]] = {}
        # The classes of instances that were pickled, by the ids of the classes. For each: the class
        # and a function that says what to write for its instances; None: pickle knows it.
        self.ways: dict[int, tuple[type, Callable[[Role, Any, Any], Any] | None]] = {}
        # Whether class attributes that cannot be pickled are left out of the pickle.
        self.careful = False
        # Whether the pickle is sent to another process. Otherwise it serves only for a digest or as
        # a trial.
        self.sends = True
        # Whether the receiver may be a fork of this process.
        self.forks = False
        # Whether the receiver makes exceptions without calling their `__init__`.
        self.skips_init = False

    def space_of(self, space: dict[str, Any]) -> tuple[int, str] | None:
        """Return number and name of the module with the globals `space`, if sent separately.

        None means that they are not: the pickle contains those values in `space` that functions in
        the pickle use.
        """
        return None

    def definition(self, obj: object, space: dict[str, Any], name: str | None) -> Any:
        """Return what to write for `obj`, which is a function, a class or the like.

        None means that it is written in full. `name` is its name in the globals `space`, or None if
        it has none there.
        """
        return None

    def sentinel(self, obj: object) -> Any:
        """Return what to write for a bare ``object()``, which is known by its identity only.

        None means that the object is sent as a key by which all processes know the object: see the
        module `singles`.
        """
        return None

    def global_value(self, obj: object) -> Any:
        """Return a reference to `obj` if it is a global of the script whose value was sent.

        None means that `obj`, an instance of a class of the script, is written in full.
        """
        return None

    def global_container(self, obj: object) -> Any:
        """Return what to write for a list or the like that is a global's value.

        None: write the list in full. Only those globals count whose names functions in the pickle
        use.
        """
        return None

    def shared(self, handle: Any) -> Any:
        """Return what to write for a `Shared`, which is a handle that `share` has made."""
        from .shared import Shared

        return Shared, (handle.value,)

    def identity(self, obj: object) -> Any:
        """Return what to write for a shared object, such as a lock, if only its identity matters.

        None means that the object itself is written.
        """
        return None

    def inherited(self, number: int) -> Any:
        """Return what to write for an object, such as a lock, that only forked workers have.

        None means that the receiver does not have the object. `number` is the object's number in
        the registry that `multiprocessing` keeps of such objects: see the module `handover`.
        """
        return None

    def needs(self, space: dict[str, Any], names: Iterable[str], strict: bool) -> None:
        """Record that a function or class in the pickle looks up `names` in its globals, `space`.

        `strict`: if the value of such a name cannot be pickled, the call fails.
        """

    def digest(self, value: object) -> bytes:
        """Return bytes that are different for different values; raise what pickling raises."""
        raise NotImplementedError
