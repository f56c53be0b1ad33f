"""What goes to a worker with a function, such as globals, and whether all that can be sent."""

import functools
from collections.abc import Callable
from itertools import islice
from types import FunctionType, MethodType
from typing import NamedTuple

from .._calls.call import Kind
from .._calls.describe import name_of
from .._transport.by_value.blame import children_of, where_it_fails
from .._transport.by_value.names import Needs
from .._transport.by_value.sent_names import SentNames, UnsentNameError
from .._transport.exceptions import describe
from .trial import pickled

_DEEPEST = 5  # a path to an object has at most this many labels
_MOST_CHILDREN = 100  # at most this many of the objects inside another one are searched


class Carried(NamedTuple):
    """What goes to each worker with a function.

    Attributes:
        size: bytes of the pickled function and of the globals that it uses, buffers included.
        names: the globals that go to the workers with it, each with its bytes; the largest first.
        largest: the path to the object that takes most of the bytes; empty if it is the function.
        unsent: the reason why the function cannot be sent, with the path to the object; empty if it
            can.
        needs: an object that knows these names; pickles of items may refer to the names.
    """

    size: int
    names: tuple[tuple[str, int], ...]
    largest: str
    unsent: str
    needs: Needs | None


def carried_by(function: Callable[..., object], like: SentNames | None) -> Carried:
    """Return what a new worker gets with `function`.

    `like` has the names that were sent to workers of the pool; None if it has no worker processes.
    """
    sent_names = SentNames() if like is None else SentNames(like.inherits, like.imports)
    name = name_of(function)
    try:
        needs = Needs(sent_names)
        size, _, _ = pickled((function, int(Kind.EACH)), needs)
        needs.check()
    except Exception as error:
        why = error.why if isinstance(error, UnsentNameError) else error
        return Carried(0, (), "", describe(why) + where_it_fails(function, name, why), None)
    sizes = {key[1]: known.size for key, known in needs.names.items() if known.size}
    names = tuple(sorted(sizes.items(), key=lambda pair: -pair[1]))
    total = size + sum(sizes.values())
    if names and 2 * names[0][1] > total:
        largest = f"the global {names[0][0]!r}"
    else:
        path = _largest(function, size)
        largest = " -> ".join([name, *path]) if path else ""
    return Carried(total, names, largest, "", needs)


def _largest(value: object, size: int) -> list[str]:
    """Return the path, as labels, to an object that takes more than half of `size` bytes."""
    path: list[str] = []
    while len(path) < _DEEPEST and _is_opened(value, path):
        sizes = [
            (_size_of(child), label, child)
            for label, child in islice(children_of(value), _MOST_CHILDREN)
        ]
        most, label, child = max(sizes, key=lambda found: found[0], default=(0, "", None))
        if 2 * most <= size:
            break
        path.append(label)
        value = child
    return path


def _is_opened(value: object, path: list[str]) -> bool:
    """Return whether to search the parts of `value` for a large object."""
    if isinstance(value, (FunctionType, MethodType, functools.partial)):
        return True
    # A tuple or dict is searched only if it contains the arguments of a partial or the defaults of
    # a function.
    if isinstance(value, (tuple, dict)):
        return bool(path) and path[-1] in {".args", ".keywords", "defaults"}
    return not path or path[-1] in {".func", ".__self__", ".__func__"}


def _size_of(value: object) -> int:
    try:
        return pickled(value)[0]
    except Exception:  # to pickle a value runs methods of the value, which may raise anything
        return 0
