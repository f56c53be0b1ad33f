"""Making classes that arrive by value without running any code of theirs."""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any


class _Quiet:
    """An empty base class. It comes first while a class with other bases is made.

    Python calls the `__init_subclass__` of the first base that has one: that of this class, which
    does nothing.
    """

    def __init_subclass__(cls, **_: object) -> None:
        pass


class _QuietAlone:
    """Like the class `_Quiet`, which does nothing, but for bases without a ``__dict__``."""

    __slots__ = ()

    def __init_subclass__(cls, **_: object) -> None:
        pass


def new_class(meta: Any, name: str, bases: tuple[type, ...], core: dict[str, Any]) -> type:
    """Return a new class without its attributes; run no code of its metaclass and its bases.

    Args:
        meta: the metaclass.
        name: the name of the class.
        bases: its bases.
        core: the attributes that a class has from the moment it is made.
    """
    if meta is type:
        return _new_plain_class(name, bases, core)

    def mro(cls: Any) -> list[Any]:
        own, *rest = meta.mro(cls)
        return [own, _Quiet, *rest]

    # `type.__new__` calls the `__init_subclass__` of the next class in the method resolution order.
    # A temporary metaclass puts `_Quiet` there, whose `__init_subclass__` does nothing.
    make: Any = type.__new__
    temporary = make(type(meta), meta.__name__, (meta,), {"mro": mro})
    cls: Any = make(temporary, name, bases, dict(core))
    type.__setattr__(cls, "__class__", meta)
    # Setting `__bases__` computes the method resolution order of the class again, by its real
    # metaclass.
    type.__setattr__(cls, "__bases__", bases)
    _leave(temporary, type)
    made: type = cls
    return made


def _leave(cls: type, base: type) -> None:
    """Take a class that nobody uses out of the `__subclasses__` of its bases, if that is allowed.

    Otherwise the class stays there until the next garbage collection.
    """
    try:
        type.__setattr__(cls, "__bases__", (base,))
    except TypeError:
        pass


def _new_plain_class(name: str, bases: tuple[type, ...], core: dict[str, Any]) -> type:
    order = [cls for base in bases for cls in base.__mro__ if cls is not object]
    if not any("__init_subclass__" in vars(cls) for cls in order):
        return type.__new__(type, name, bases, dict(core))
    # Python takes the quiet class only if the memory layout of its objects fits that of the bases.
    fits = any(base.__dictoffset__ for base in bases)
    for quiet in (_Quiet, _QuietAlone) if fits else (_QuietAlone, _Quiet):
        try:
            cls = type.__new__(type, name, (quiet, *bases), dict(core))
        except TypeError:
            continue
        try:
            type.__setattr__(cls, "__bases__", bases)
        except TypeError:
            _leave(cls, quiet)
        else:
            return cls
    return _new_class_unheard(name, bases, core)


def _new_class_unheard(name: str, bases: tuple[type, ...], core: dict[str, Any]) -> type:
    """Make a class, but let no `__init_subclass__` of its bases run.

    While the class is made, a method that does nothing is in its place.
    """
    order = [cls for base in bases for cls in base.__mro__]
    hears = next(cls for cls in order if "__init_subclass__" in vars(cls))
    method = vars(hears)["__init_subclass__"]
    try:
        type.__setattr__(hears, "__init_subclass__", vars(_Quiet)["__init_subclass__"])
    except TypeError:
        # The base class is written in C, so its `__init_subclass__` cannot be replaced. Python may
        # call it, because it takes no arguments.
        return type.__new__(type, name, bases, dict(core))
    try:
        return type.__new__(type, name, bases, dict(core))
    finally:
        type.__setattr__(hears, "__init_subclass__", method)
