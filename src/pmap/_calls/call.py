"""A call of a verb (`pmap` and the like) as data, checked before anything starts."""

import enum
import operator
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from itertools import islice
from types import FunctionType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeGuard

from .._errors import OptionError
from .._scheduling.run_rules import RunRules
from .._types import Show, is_async_iterable, is_iterable
from .describe import name_of, short_repr
from .function_check import checked_function
from .input import AsyncInput, Input, Window
from .sync import Sync

if TYPE_CHECKING:
    from .._trace.recording import Recording
    from .._transport.environment import Environment
    from .kept import Keeper
    from .options import CallOptions
else:
    # At run time these names are `object`. The modules of the real types are imported only by calls
    # that need them: traced calls, and calls whose results are kept in a file.
    Recording = Keeper = object


class Kind(enum.IntEnum):
    """The way in which an item (an element of the input) becomes a call of the user's ``f``."""

    EACH = 0  # f(x): the item is x
    STAR = 1  # f(*row): the item is row
    APPLY = 2  # f(*args, **kwargs): the item is (args, kwargs)


def rules_for(rules: RunRules, function: object) -> RunRules:
    """Return `rules`; if `sync` has made the function, the items of a chunk run concurrently.

    Raises:
        OptionError: `sync` has made the function, and the rules contain a seed.
    """
    if not isinstance(function, Sync):
        return rules
    if rules.seed is not None:
        raise OptionError(
            "seed",
            rules.seed,
            "the coroutines of a chunk run at once and share all generators: give each item "
            "its own, as an argument",
        )
    return rules._replace(at_once=True)


_USUAL: Final = RunRules(stop=True)
# The flag CO_VARKEYWORDS of code objects: a function with this flag has a parameter **kwargs.
_TAKES_ANY_KEYWORD: Final = 0x08


class Elsewhere:
    """The environment (directory, variables) of another process, from which a call came."""

    __slots__ = ("environment",)

    def __init__(self, environment: "Environment") -> None:
        self.environment: Environment = environment


class Call(NamedTuple):
    """One call of a verb: the function, the items, and how they run.

    Attributes:
        verb: the name of the verb, for messages.
        function: what runs in the workers.
        kind: how an item becomes a call of the function.
        items: the input, read to its end.
        rules: how the items are sent and run, and what happens when one fails.
        progress: how the progress of the call is shown; False: it is not shown.
        trace: records what happens to the items; None if the call is not traced.
        keeper: the place where the results are kept; None if they are not kept.
        elsewhere: the environment of another process, which the items get; None if they get that of
            this process.
    """

    verb: str
    function: Callable[..., object]
    kind: Kind
    items: Sequence[object]
    rules: RunRules = _USUAL
    progress: Show = False
    trace: Recording | None = None
    keeper: Keeper | None = None
    elsewhere: Elsewhere | None = None

    def showing(self, options: "CallOptions") -> "Call":
        """Return this call with the options `progress` and `trace` of `options`.

        Most often these options have their defaults, and the method returns this call itself.
        """
        call = self if options.progress is False else self._replace(progress=options.progress)
        if options.trace is False:
            return call
        from .._trace.recording import recording_of  # imported only for a call that is traced

        label = f"{call.verb}({name_of(call.function)})"
        return call._replace(trace=recording_of(options.trace, label))


def each(
    verb: str, function: object, iterables: tuple[object, ...], rules: RunRules = _USUAL
) -> Call:
    """Return the call of f(x) for each x, or f(x, y, ...) over several iterables.

    Raises:
        TypeError: `function` cannot run in a worker, or an iterable is none.
    """
    checked = checked_function(verb, function, iterables, "xs")
    sources = [_iterable(verb, number, given) for number, given in enumerate(iterables)]
    items: Sequence[object]
    if len(sources) == 1:
        kind, items = Kind.EACH, _fixed(sources[0])
    else:
        kind, items = Kind.STAR, list(zip(*sources, strict=False))
    return Call(verb, checked, kind, items, rules)


def star(verb: str, function: object, rows: object, rules: RunRules = _USUAL) -> Call:
    """Return the call of f(*row) for each row.

    Raises:
        TypeError: `function` cannot run in a worker, or `rows` is no iterable.
    """
    checked = checked_function(verb, function, (rows,), "rows")
    items = [_row(row) for row in _iterable(verb, 0, rows, "rows")]
    return Call(verb, checked, Kind.STAR, items, rules)


def calls(verb: str, given: tuple[object, ...], rules: RunRules = _USUAL) -> Call:
    """Return a `Call` that runs each of the functions `given`, which take no arguments.

    Raises:
        TypeError: one of them cannot be called, or a worker cannot run it.
    """
    for number, one in enumerate(given):
        if not callable(one):
            raise TypeError(
                f"{verb}'s argument {number + 1} must be a call that is still to be made, got "
                f"{type(one).__name__}: {short_repr(one)}. Give {verb}(call(f, x), call(g, y)), "
                f"not {verb}(f(x), g(y))"
            )
        checked_function(verb, one, (), "*args")
    return Call(verb, operator.call, Kind.EACH, given, rules)


def apply(
    verb: str,
    function: object,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    rules: RunRules = _USUAL,
) -> Call:
    """Return the call of f(*args, **kwargs) as a call with one item.

    Raises:
        TypeError: `function` cannot run in a worker.
    """
    checked = checked_function(verb, function, args, "*args")
    # Without keywords the item is the row `args`, as with `pstarmap`: that is quicker to send.
    if not kwargs:
        return Call(verb, checked, Kind.STAR, (args,), rules)
    if isinstance(checked, FunctionType):
        _refuse_options(verb, checked, kwargs)
    return Call(verb, checked, Kind.APPLY, ((args, dict(kwargs)),), rules)


def _refuse_options(verb: str, function: FunctionType, kwargs: Mapping[str, object]) -> None:
    """Raise `OptionError` if a keyword is an option of pmap that `function` does not take."""
    code = function.__code__
    if code.co_flags & _TAKES_ANY_KEYWORD:
        return
    taken = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for name, value in kwargs.items():
        # `function` does not take this keyword, so the call fails in any case. Only now is it
        # checked whether pmap has an option of this name: calls without a mistake need not wait for
        # that.
        if name not in taken:
            from .option_names import option_called

            option = option_called(name)
            if option is not None:
                raise OptionError(
                    name,
                    value,
                    f"the keywords of {verb} are those of {name_of(function)}, which has none of "
                    f"this name; options are set before, as in papply.using({option}=...)"
                    f"({name_of(function)}, ...)",
                )


class Streamed(NamedTuple):
    """A call whose input is read piece by piece, by `input`; `window` has the items read so far."""

    call: Call
    window: Window
    input: Input | AsyncInput


def each_streamed(
    verb: str, function: object, iterables: tuple[object, ...], rules: RunRules = _USUAL
) -> Streamed:
    """Return the call of f(x) for each x, or f(x, y, ...) over several iterables.

    Nothing is read from the iterables yet.

    Raises:
        TypeError: `function` cannot run in a worker, or an iterable is none.
    """
    checked = checked_function(verb, function, iterables, "xs")
    if len(iterables) == 1:
        return _streamed(verb, checked, Kind.EACH, _source(verb, iterables[0], "xs", None), rules)
    sources = [_iterable(verb, number, given) for number, given in enumerate(iterables)]
    return _streamed(verb, checked, Kind.STAR, Input(sources), rules)


def each_async(
    verb: str, function: object, iterables: tuple[object, ...], rules: RunRules = _USUAL
) -> Call | Streamed:
    """Return a call of f(x) for each x; an asynchronous input is read piece by piece."""
    if len(iterables) == 1 and _only_async(iterables[0]):
        return each_streamed(verb, function, iterables, rules)
    return each(verb, function, iterables, rules)


def star_async(
    verb: str, function: object, rows: object, rules: RunRules = _USUAL
) -> Call | Streamed:
    """Return a call of f(*row) for each row.

    An asynchronous input is read piece by piece.
    """
    return (star_streamed if _only_async(rows) else star)(verb, function, rows, rules)


def star_streamed(verb: str, function: object, rows: object, rules: RunRules = _USUAL) -> Streamed:
    """Return the call of f(*row) for each row; no row is read yet.

    Raises:
        TypeError: `function` cannot run in a worker, or `rows` is no iterable.
    """
    checked = checked_function(verb, function, (rows,), "rows")
    return _streamed(verb, checked, Kind.STAR, _source(verb, rows, "rows", _row), rules)


def _streamed(
    verb: str,
    function: Callable[..., object],
    kind: Kind,
    source: Input | AsyncInput,
    rules: RunRules,
) -> Streamed:
    window = Window()
    call = Call(verb, function, kind, window, rules)
    return Streamed(call, window, source)


def _only_async(given: object) -> TypeGuard[AsyncIterable[object]]:
    return is_async_iterable(given) and not is_iterable(given)


def _source(
    verb: str, given: object, name: str, item: Callable[[object], object] | None
) -> Input | AsyncInput:
    if _only_async(given):
        return AsyncInput(given, item)
    return Input([_iterable(verb, 0, given, name)], item)


# --- reading the items of a call ---------------------------------------------------------------

_NAMES = ("xs", "ys", "zs", "us", "vs", "ws")
_ORDINALS = ("second", "third", "fourth", "fifth", "sixth", "seventh")


def _iterable(verb: str, number: int, given: object, name: str = "") -> Iterable[object]:
    if is_iterable(given):
        return given
    if number < len(_NAMES):
        which = f"{_ORDINALS[number]} argument {name or _NAMES[number]}"
    else:
        which = f"argument {number + 2}"
    what = f"{type(given).__name__}: {short_repr(given)}"
    if number and (by_place := option_by_place(verb, "xs", given)):
        raise TypeError(f"{verb}'s {which} must be iterable, got {what}.{by_place}")
    if hasattr(type(given), "__aiter__"):
        raise TypeError(
            f"{verb}'s {which} must be a plain iterable, got an asynchronous one, {what}. "
            f"Such a one is read by await {verb}.async_(f, xs) or by "
            f"async for y in {verb}.iter(f, xs), on its own"
        )
    hint = " Give the function itself first" if callable(given) else ""
    raise TypeError(f"{verb}'s {which} must be iterable, got {what}.{hint}".rstrip("."))


def option_by_place(verb: str, items: str, given: object) -> str:
    """Return a hint for an error message, if `given` may be meant as the chunksize; or "".

    Other libraries take the chunksize as a positional argument behind the items.

    >>> option_by_place("pmap", "xs", 2)
    ' If it is the chunksize, that is a keyword: pmap(f, xs, chunksize=2)'
    """
    if given is not None and (isinstance(given, bool) or not isinstance(given, int)):
        return ""
    return f" If it is the chunksize, that is a keyword: {verb}(f, {items}, chunksize={given})"


def _fixed(xs: Iterable[object]) -> Sequence[object]:
    # A tuple or a range is used as the input itself; an object of a subclass is not, because it may
    # iterate differently. A list is copied, because the program may change it while the call runs.
    kind = type(xs)
    if isinstance(xs, tuple | range) and kind in (tuple, range):
        return xs
    # list(xs) would first ask the input for its length. The length may be wrong, and `map` never
    # asks for it. `islice` hides the length.
    return list(xs) if kind is list else list(islice(xs, None))


def _row(row: object) -> object:
    # A row that is no iterable stays as it is: f(*row) will raise a TypeError for that item, as
    # with `itertools.starmap`.
    return tuple(row) if is_iterable(row) and not isinstance(row, tuple) else row
