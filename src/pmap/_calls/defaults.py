"""Options that an application sets for all calls of pmap, even for calls in its libraries."""

import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import TYPE_CHECKING, Final

from .._transport.light_stdlib import ContextVar
from .._transport.process_role import inside_item
from .options import Options, Settings, checked, merge, set_options, worker_options

if TYPE_CHECKING:
    from contextvars import Token

    from typing_extensions import Unpack

BACKEND_VARIABLE: Final = "PMAP_BACKEND"


def _of_environment() -> Mapping[str, object] | None:
    """Return the options that environment variables set; the values are not checked here."""
    backend = os.environ.get(BACKEND_VARIABLE)
    return {"backend": backend} if backend else None


_FROM_ENVIRONMENT: Final = _of_environment()
# The options that are set by environment variables and by the `defaults` blocks around the running
# code. None: no option is set.
IN_FORCE: Final[ContextVar[Mapping[str, object] | None]] = ContextVar(
    "pmap.defaults", default=_FROM_ENVIRONMENT
)


class defaults:  # noqa: N801  # it is used like a function
    """A context manager that sets options for all calls of verbs within its block.

    With it an application sets options for the libraries that it uses. An option that a library
    sets itself, by ``using`` or in the call, has priority. If one of these sets ``pool``, that pool
    decides the options of workers. Where blocks are nested, the inner block has priority, and the
    outer one sets the other options. The block holds for its thread, and for tasks of asyncio that
    start within it, as any context variable does. It does not hold for calls that an item makes.

    The environment variable ``PMAP_BACKEND`` has the lowest priority. If it is the
    name of a backend (``serial``, ``threads``, ``interpreters`` or ``processes``) when the program
    starts, calls use that backend unless something else sets one.

    >>> from pmap import defaults, pmap
    >>> with defaults(backend="threads", chunksize=1):
    ...     pmap(abs, [-1, 2])
    [1, 2]

    Args:
        **options: the options to set, as in `Options`.

    Raises:
        OptionError: an option does not exist, has a value that is not allowed, or contradicts
            another one.
    """

    def __init__(self, **options: "Unpack[Options]") -> None:
        # The checked values are kept: if a value is an iterable, it may be readable only once.
        self._options: Mapping[str, object] = set_options(merge(Settings(), options, "defaults"))
        self._tokens: list[Token[Mapping[str, object] | None]] = []

    def __enter__(self) -> None:
        ours = self._options
        outer = _left_open(IN_FORCE.get() or {}, ours.keys(), ours.get("pool"))
        self._tokens.append(IN_FORCE.set({**outer, **ours}))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        IN_FORCE.reset(self._tokens.pop())


def with_defaults(settings: Settings, given: Mapping[str, object]) -> Settings:
    """Return `settings`; options that `settings` do not set get their values from `given`.

    Raises:
        OptionError: the environment sets a value that is not allowed, or one option contradicts
            another.
    """
    if inside_item():
        return settings
    backend = None if _FROM_ENVIRONMENT is None else _FROM_ENVIRONMENT["backend"]
    if backend is not None and given.get("backend") is backend:
        # The backend was set by the environment variable. If its value is not allowed, the error
        # names the variable.
        checked("backend", backend, BACKEND_VARIABLE)
    options = _left_open(given, settings.given, settings.pool)
    return merge(settings, options)._replace(given=settings.given)


def _left_open(
    options: Mapping[str, object], nearer: AbstractSet[str], pool: object
) -> dict[str, object]:
    """Return those of `options` that the call, or a place nearer to it, leaves open.

    If a pool is given, that pool has already decided the options of its workers. And if options of
    workers are given, the call does not use a pool of an outer block.

    Args:
        options: options with their values, as set by an outer `defaults` block or the environment.
        nearer: the names of the options that are set in the call, or in a block nearer to it.
        pool: the pool that is set in the call, or nearer to it; None if no pool is set.
    """
    closed = {*nearer}
    if pool is not None:
        closed |= worker_options()
    elif not worker_options().isdisjoint(nearer):
        closed.add("pool")
    return {name: value for name, value in options.items() if name not in closed}
