"""What one call of a verb asks for, checked before anything starts; and names for messages.

A little over 300 lines, most of them the texts of the messages and their docstrings.
"""

import enum
import functools
import operator
import reprlib
from collections.abc import AsyncIterable, Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Final, NamedTuple, TypeGuard

from .._errors import is_ctrl_c
from .._types import is_async_iterable, is_iterable
from .input import AsyncInput, Input, Window
from .sync import Sync


class Kind(enum.IntEnum):
    """How an item becomes a call of the function ``f``."""

    EACH = 0  # f(x): the item is x
    STAR = 1  # f(*row): the item is row
    APPLY = 2  # f(*args, **kwargs): the item is (args, kwargs)


class Rules(NamedTuple):
    """How a call runs; the same object for all calls of a verb.

    Attributes:
        collect: failures are values, and nothing stops.
        stop: later items that run are ended when an earlier one has failed.
        chunksize: how many items travel in one message; None: adaptive.
        kill: when the call is cancelled, items that run are ended by killing their workers.
        timeout: seconds that an item may run; None: as long as it takes.
        retries: seconds to wait before each further try of an item that failed.
        retry_on: the types of errors after which there is another try.
        functions_by_value: a function that is a result may be sent by value.
        at_once: the items of a chunk all begin when it does.
    """

    collect: bool = False
    stop: bool = True
    chunksize: int | None = None
    kill: bool = True
    timeout: float | None = None
    retries: tuple[float, ...] = ()
    retry_on: tuple[type[Exception], ...] = ()
    functions_by_value: bool = True
    at_once: bool = False


_USUAL: Final = Rules()
_AT_ONCE: Final = Rules(at_once=True)


class Call(NamedTuple):
    """One call of a verb: the function, the items, and how they run.

    Attributes:
        verb: the name of the verb, for messages.
        function: what runs in the workers.
        kind: how an item becomes a call of the function.
        items: the input, read to its end.
        rules: what a failure means, and how the items travel.
    """

    verb: str
    function: Callable[..., object]
    kind: Kind
    items: Sequence[object]
    rules: Rules = _USUAL

    def under(self, rules: Rules) -> "Call":
        """Return this call with other rules, but that its function says how items begin."""
        if self.rules.at_once:
            rules = rules._replace(at_once=True)
        # Not _replace, which takes as long as all else that a call asks for.
        return Call(self.verb, self.function, self.kind, self.items, rules)


def each(verb: str, function: object, iterables: tuple[object, ...]) -> Call:
    """Return the call of f(x) for each x, or f(x, y, ...) over several iterables.

    Raises:
        TypeError: `function` cannot run in a worker, or an iterable is none.
    """
    checked = _function(verb, function, iterables, "xs")
    sources = [_iterable(verb, number, given) for number, given in enumerate(iterables)]
    items: Sequence[object]
    if len(sources) == 1:
        kind, items = Kind.EACH, _fixed(sources[0])
    else:
        kind, items = Kind.STAR, list(zip(*sources, strict=False))
    return Call(verb, checked, kind, items, _begins(function))


def star(verb: str, function: object, rows: object) -> Call:
    """Return the call of f(*row) for each row.

    Raises:
        TypeError: `function` cannot run in a worker, or `rows` is no iterable.
    """
    checked = _function(verb, function, (rows,), "rows")
    items = [_row(row) for row in _iterable(verb, 0, rows, "rows")]
    return Call(verb, checked, Kind.STAR, items, _begins(function))


def calls(verb: str, given: tuple[object, ...]) -> Call:
    """Return the call of each of `given`, which are functions of no arguments.

    Raises:
        TypeError: one of them is none.
    """
    for number, one in enumerate(given):
        if not callable(one):
            raise TypeError(
                f"{verb}'s argument {number + 1} must be a call that is still to be made, got "
                f"{type(one).__name__}: {short_repr(one)}. Give {verb}(call(f, x), call(g, y)), "
                f"not {verb}(f(x), g(y))"
            )
        _function(verb, one, (), "*args")
    return Call(verb, operator.call, Kind.EACH, given)


def apply(
    verb: str,
    function: object,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    rules: Rules = _USUAL,
) -> Call:
    """Return the call of f(*args, **kwargs): one item.

    Raises:
        TypeError: `function` cannot run in a worker.
    """
    checked = _function(verb, function, args, "*args")
    if not kwargs:  # as a row it may travel as it is
        return Call(verb, checked, Kind.STAR, (args,), rules)
    return Call(verb, checked, Kind.APPLY, ((args, dict(kwargs)),), rules)


def _begins(function: object) -> Rules:
    return _AT_ONCE if isinstance(function, Sync) else _USUAL


class Streamed(NamedTuple):
    """A call whose items are read bit by bit from `input` into `window`, which holds them."""

    call: Call
    window: Window
    input: Input | AsyncInput


def each_streamed(verb: str, function: object, iterables: tuple[object, ...]) -> Streamed:
    """Return the call of f(x) for each x, or f(x, y, ...) over several iterables, none read yet.

    Raises:
        TypeError: `function` cannot run in a worker, or an iterable is none.
    """
    checked = _function(verb, function, iterables, "xs")
    if len(iterables) == 1:
        return _streamed(verb, checked, Kind.EACH, _source(verb, iterables[0], "xs", None))
    sources = [_iterable(verb, number, given) for number, given in enumerate(iterables)]
    return _streamed(verb, checked, Kind.STAR, Input(sources))


def each_async(verb: str, function: object, iterables: tuple[object, ...]) -> Call | Streamed:
    """Return `each`, or, if the only iterable is an asynchronous one, `each_streamed`."""
    if len(iterables) == 1 and _only_async(iterables[0]):
        return each_streamed(verb, function, iterables)
    return each(verb, function, iterables)


def star_async(verb: str, function: object, rows: object) -> Call | Streamed:
    """Return `star`, or, if `rows` is an asynchronous iterable, `star_streamed`."""
    return (star_streamed if _only_async(rows) else star)(verb, function, rows)


def star_streamed(verb: str, function: object, rows: object) -> Streamed:
    """Return the call of f(*row) for each row, none read yet.

    Raises:
        TypeError: `function` cannot run in a worker, or `rows` is no iterable.
    """
    checked = _function(verb, function, (rows,), "rows")
    return _streamed(verb, checked, Kind.STAR, _source(verb, rows, "rows", _row))


def _streamed(
    verb: str, function: Callable[..., object], kind: Kind, source: Input | AsyncInput
) -> Streamed:
    window = Window()
    call = Call(verb, function, kind, window, _begins(function))
    return Streamed(call, window, source)


def _only_async(given: object) -> TypeGuard[AsyncIterable[object]]:
    return is_async_iterable(given) and not is_iterable(given)


def _source(
    verb: str, given: object, name: str, item: Callable[[object], object] | None
) -> Input | AsyncInput:
    if _only_async(given):
        return AsyncInput(given, item)
    return Input([_iterable(verb, 0, given, name)], item)


# -- the items ---------------------------------------------------------------------------------

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
    if hasattr(type(given), "__aiter__"):
        raise TypeError(
            f"{verb}'s {which} must be a plain iterable, got an asynchronous one, {what}. "
            f"Such a one is read by await {verb}.async_(f, xs) or by "
            f"async for y in {verb}.iter(f, xs), on its own"
        )
    hint = " Give the function itself first" if callable(given) else ""
    raise TypeError(f"{verb}'s {which} must be iterable, got {what}.{hint}".rstrip("."))


def _fixed(xs: Iterable[object]) -> Sequence[object]:
    # Exact types: a subclass may iterate differently. A list may change while the call runs.
    kind = type(xs)
    if isinstance(xs, tuple | range) and kind in (tuple, range):
        return xs
    # Not list(xs), which asks the input for its length first: map never does, and it may be wrong.
    return list(xs) if kind is list else list(islice(xs, None))


def _row(row: object) -> object:
    # What is no row is kept as it is: f(*row) is then this item's TypeError, as in starmap.
    return tuple(row) if is_iterable(row) and not isinstance(row, tuple) else row


# -- the function ------------------------------------------------------------------------------


def _function(
    verb: str, function: object, arguments: Iterable[object], rest: str
) -> Callable[..., object]:
    if not callable(function):
        raise TypeError(_not_callable(verb, function, arguments, rest))
    if _surely_plain(function):
        return function  # most are, and the questions below take longer than a small item
    import inspect

    code = _plain(function)
    name = name_of(function)
    if isinstance(function, Sync):
        return function
    if inspect.iscoroutinefunction(code):
        raise TypeError(
            f"{verb} cannot run the coroutine function {name} as it is: that would only make "
            f"coroutines. Say that it is one:\n\n    {verb}(sync({name}), {rest})"
        )
    if inspect.isgeneratorfunction(code):
        kind, body = "generator", ["return list({call})"]
    elif inspect.isasyncgenfunction(code):
        kind = "asynchronous generator"
        body = [
            "async def collect():",
            "    return [y async for y in {call}]",
            "return asyncio.run(collect())",
        ]
    else:
        return function
    # The wrapper is a named function, not a lambda: it travels and reads better.
    lines = [f"def run({_PARAMETER[rest]}):"]
    lines += ["    " + line.format(call=f"{name}({_PARAMETER[rest]})") for line in body]
    wrapper = "\n".join("    " + line for line in [*lines, "", f"{verb}(run, {rest})"])
    raise TypeError(
        f"{verb} cannot run the {kind} function {name}: the workers run plain functions, and "
        f"return what they return. Wrap it:\n\n{wrapper}"
    )


# What the function takes, by what follows it in the call, for messages.
_PARAMETER = {"xs": "x", "rows": "*row", "*args": "*args"}


_SPECIAL = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR


def _surely_plain(function: object) -> bool:
    if isinstance(function, FunctionType):
        # With anything in its __dict__ it may be marked as a coroutine function.
        return not (function.__code__.co_flags & _SPECIAL or function.__dict__)
    return type(function) is BuiltinFunctionType


def _plain(function: object) -> object:
    """Return the function whose code runs when `function` is called: no partial, no method."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, MethodType | staticmethod):
            function = function.__func__
        elif not isinstance(function, type) and isinstance(_dunder_call(function), FunctionType):
            return _dunder_call(function)
        else:
            return function


def _dunder_call(function: object) -> object:
    return getattr(type(function), "__call__", None)  # noqa: B004 - the code, not whether


def _not_callable(verb: str, given: object, arguments: Iterable[object], rest: str) -> str:
    message = f"{verb}'s first argument must be a function, got "
    if given is None:
        return message + "None. Does a decorator, or what should make the function, return nothing?"
    message += f"{type(given).__name__}: {short_repr(given)}. "
    if any(callable(argument) for argument in arguments):
        return message + f"The function comes first: {verb}(f, {rest})"
    wrong = "f(*args)" if rest == "*args" else f"f({_PARAMETER[rest]}), {rest}"
    return message + (
        f"Give the function itself, not what it returns: {verb}(f, {rest}), not {verb}({wrong})"
    )


# -- names and values in messages --------------------------------------------------------------


def name_of(function: object) -> str:
    """Return a short readable name of `function`; never raises.

    >>> name_of(len), name_of(str.upper), name_of(functools.partial(int, base=2))
    ('len', 'str.upper', 'partial(int)')
    """
    kind = type(function).__name__
    try:
        if isinstance(function, functools.partial):
            return f"partial({name_of(function.func)})"
        for attribute in ("__qualname__", "__name__"):
            name: object = getattr(function, attribute, None)
            if isinstance(name, str) and name:
                return name.rpartition("<locals>.")[2]
    except Exception:  # an object's __getattr__ may do anything
        pass
    return kind


def short_repr(obj: object, limit: int = 80) -> str:
    """Return the repr of `obj` in one line of at most `limit` characters; never raises.

    >>> short_repr(range(5)), short_repr("x" * 100, limit=20)
    ('range(0, 5)', "'xxxxxxx...xxxxxxxx'")
    """
    try:
        text = _ShortRepr(limit).repr(obj)
    except Exception as error:  # an int of too many digits, a structure too deep
        text = _no_repr(obj, error)
    if "\n" in text:
        text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _no_repr(obj: object, error: BaseException) -> str:
    return f"<{type(obj).__name__} object, whose repr raised {type(error).__name__}>"


class _ShortRepr(reprlib.Repr):
    """reprlib's, cheap also for what is huge, and quiet about what cannot be shown."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = self.maxlong = limit

    def repr1(self, x: object, level: int) -> str:
        # By exact type: reprlib goes by the type's name, which a class of the user may share.
        if type(x) in _BUILT_IN:
            return super().repr1(x, level)
        return self.repr_instance(x, level)

    def repr_instance(self, x: object, level: int) -> str:
        try:
            return repr(x)
        except BaseException as error:  # a repr may do anything, SystemExit included
            if is_ctrl_c(error):
                raise
            return _no_repr(x, error)

    # reprlib sorts the keys first: all of them, and the order is then not the object's.
    def repr_dict(self, x: Mapping[object, object], level: int) -> str:
        shown = (
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in islice(x.items(), self.maxdict)
        )
        return self._braced("{", shown, "}", len(x) > self.maxdict, level)

    def repr_set(self, x: Collection[object], level: int) -> str:
        if not x:
            return "set()"
        shown = (self.repr1(element, level - 1) for element in islice(x, self.maxset))
        return self._braced("{", shown, "}", len(x) > self.maxset, level)

    def repr_frozenset(self, x: Collection[object], level: int) -> str:
        return f"frozenset({self.repr_set(x, level) if x else ''})"

    # reprlib would make the whole repr of a gigabyte of bytes before it cuts it.
    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[: self.maxstring]) + ("..." if len(x) > self.maxstring else "")

    def repr_bytearray(self, x: bytearray, level: int) -> str:
        return f"bytearray({self.repr_bytes(bytes(x[: self.maxstring + 1]), level)})"

    @staticmethod
    def _braced(opening: str, shown: Iterable[str], closing: str, more: bool, level: int) -> str:
        if level <= 0:
            return f"{opening}...{closing}"
        parts = [*shown, "..."] if more else list(shown)
        return opening + ", ".join(parts) + closing


_BUILT_IN = frozenset({str, int, list, tuple, dict, set, frozenset, bytes, bytearray})
