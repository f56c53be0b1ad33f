"""The check whether a worker can run a function; its error says what to write instead."""

import functools
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, FunctionType, MethodType

from .describe import name_of, short_repr
from .sync import Sync


def checked_function(
    verb: str, function: object, arguments: Iterable[object], rest: str
) -> Callable[..., object]:
    """Return `function` if a worker can run it; otherwise raise a TypeError.

    Args:
        verb: the name of the verb, for messages.
        function: the function that the verb was given.
        arguments: the arguments behind the function.
        rest: how these arguments are written in an example: "xs", "rows" or "*args".

    Raises:
        TypeError: a worker cannot run it.
    """
    if not callable(function):
        raise TypeError(_not_callable(verb, function, arguments, rest))
    if _surely_plain(function):
        # A plain function needs no more checks; they would take longer than a small item.
        return function
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
    # A lambda would be harder to send and to read, so the error message suggests a named function
    # that calls the user's function.
    lines = [f"def run({_PARAMETER[rest]}):"]
    lines += ["    " + line.format(call=f"{name}({_PARAMETER[rest]})") for line in body]
    wrapper = "\n".join("    " + line for line in [*lines, "", f"{verb}(run, {rest})"])
    raise TypeError(
        f"{verb} cannot run the {kind} function {name}: the workers run plain functions, and "
        f"return what they return. Wrap it:\n\n{wrapper}"
    )


# An error message suggests a function to write. These are its parameters, for each kind of verb.
_PARAMETER = {"xs": "x", "rows": "*row", "*args": "*args"}


# The flags CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR of code objects.
_SPECIAL = 0x20 | 0x80 | 0x200


def _surely_plain(function: object) -> bool:
    if isinstance(function, FunctionType):
        # The `__dict__` of the function may have an attribute that marks it as a coroutine
        # function. Then the function needs more checks.
        return not (function.__code__.co_flags & _SPECIAL or function.__dict__)
    return type(function) is BuiltinFunctionType


def _plain(function: object) -> object:
    """Return the plain function that a call of a partial, a method or an object runs in the end."""
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
