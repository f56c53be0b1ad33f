"""What pickle is to write for what type hints of a script are made of.

These objects are type variables, new types, type aliases, and generic classes with arguments.
"""

from __future__ import annotations

from ..importable import is_importable
from . import arriving

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from typing import Any


# --- generic classes with arguments, such as ``Box[int]`` ---------------------------------------


def reduce_parametrised(given: Any, kind: type) -> Any:
    """Return what pickle is to write for a generic class of the script with arguments.

    Pickle by itself would let the receiver evaluate ``Box[int]``. That needs the attributes of the
    class ``Box``, which the receiver does not have yet if the class refers to itself with
    arguments.
    """
    origin = given.__origin__
    if not isinstance(origin, type) or is_importable(origin):
        return None
    own = ("__origin__", "__args__", "__parameters__")
    space: dict[str, Any] = given.__dict__
    state = {name: value for name, value in space.items() if name not in own}
    return make_parametrised, (kind, origin, given.__args__, state)


def make_parametrised(
    kind: Any, origin: Any, arguments: tuple[Any, ...], state: dict[str, Any]
) -> Any:
    """Return a generic class with arguments, made from its parts."""
    made = kind(origin, arguments)
    made.__dict__.update(state)
    return made


# --- type variables, new types and type aliases --------------------------------------------------


def reduce_named(given: Any) -> Any:
    """Return what pickle is to write for a type variable, a `NewType` or a type alias."""
    kind = type(given).__name__
    if kind == "NewType":
        return make_new_type, (given.__qualname__, given.__module__, given.__supertype__)
    if kind == "TypeAliasType":
        return _alias(given)
    settings: dict[str, Any] = {}
    for name in ("bound", "covariant", "contravariant", "infer_variance"):
        value = _evaluated(given, f"__{name}__")
        if value:
            settings[name] = value
    if hasattr(given, "has_default") and given.has_default():
        settings["default"] = given.__default__
    constraints = (_evaluated(given, "__constraints__") or ()) if kind == "TypeVar" else ()
    return make_variable, (type(given), given.__name__, constraints, settings, given.__module__)


def _evaluated(given: Any, name: str) -> Any:
    """Return an attribute that Python computes at its first use; None if computing it fails."""
    try:
        return getattr(given, name, None)
    except Exception:
        # Computing the attribute may use a name that exists only for type checkers. A program that
        # runs can do without such an attribute.
        return None


def _alias(given: Any) -> Any:
    if given.__type_params__:
        arguments = given.__name__, _evaluated(given, "__value__"), given.__type_params__
        return make_alias, (type(given), *arguments, given.__module__)
    # The value may refer to the alias. So pickle writes the alias first, and sets its value
    # afterwards.
    state = (_evaluated(given, "__value__"),)
    return make_simple_alias, (given.__name__, given.__module__), state, None, None, fill_alias


# The type aliases that this process has made and whose value has not arrived yet, by id. For each,
# a list into which the value is put when it arrives.
_values: dict[int, list[Any]] = {}


def make_simple_alias(name: str, module: str) -> Any:
    """Return a type alias without parameters; `fill_alias` gives it its value later."""
    value: list[Any] = []
    space: dict[str, Any] = {"__name__": module, "value": value}
    # Only the statement `type` makes a type alias whose value is computed later.
    exec(f"type {name} = value[0]", space)  # noqa: S102
    _values[id(space[name])] = value
    return space[name]


def fill_alias(alias: Any, state: tuple[Any]) -> None:
    """Set the value of a type alias that `make_simple_alias` has made."""
    _values.pop(id(alias)).append(state[0])


def make_new_type(name: str, module: str, base: Any) -> Any:
    """Return a `typing.NewType`, made from its parts."""
    from typing import NewType

    new_type: Any = NewType  # type checkers want a literal as the name
    made: Any = new_type(name, base)
    made.__module__ = module
    return _as_forked(made, ("__supertype__",))


def make_alias(kind: Any, name: str, value: Any, parameters: tuple[Any, ...], module: str) -> Any:
    """Return a type alias with type parameters, made from its parts."""
    given = {"kind": kind, "name": name, "value": value, "parameters": parameters}
    # The type alias takes its module from the globals of the code that makes the alias.
    space: dict[str, Any] = {"__name__": module, **given}
    exec("made = kind(name, value, type_params=parameters)", space)  # noqa: S102
    return space["made"]


def make_variable(
    kind: Any, name: str, constraints: tuple[Any, ...], settings: dict[str, Any], module: str
) -> Any:
    """Return a TypeVar, ParamSpec or TypeVarTuple, made from its parts."""
    made = kind(name, *constraints, **settings)
    try:
        made.__module__ = module
    except AttributeError:
        pass
    return _as_forked(made, ("__bound__", "__constraints__", "__covariant__", "__contravariant__"))


def _as_forked(made: Any, attributes: tuple[str, ...]) -> Any:
    """Return the object that equals `made` and that this worker has from its caller by a fork.

    The classes that came with the fork refer to that object, so what arrives has to refer to it,
    too. If there is no such object, return `made`.
    """
    own: Any = arriving.had_at_fork(made.__module__, made.__name__)
    if type(own) is not type(made):
        return made
    same = all(_evaluated(own, name) == _evaluated(made, name) for name in attributes)
    return own if same else made
