"""Options that an application sets for the calls of all verbs, also for those of its libraries."""

import os
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final

from .._transport.light_stdlib import ContextVar
from .._transport.process_role import inside_item
from .options import Options, Settings, checked, merge, worker_options

if TYPE_CHECKING:
    from contextvars import Token

    from typing_extensions import Unpack

BACKEND_VARIABLE: Final = "PMAP_BACKEND"


def _of_environment() -> Mapping[str, object] | None:
    """Return the options that environment variables set; a call that uses them checks them."""
    backend = os.environ.get(BACKEND_VARIABLE)
    return {"backend": backend} if backend else None


_FROM_ENVIRONMENT: Final = _of_environment()
# The options of the `defaults` blocks that the running code is in, laid over those of the
# environment. None: there are neither.
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

    The environment variable ``PMAP_BACKEND`` has the lowest priority. If it is ``serial``,
    ``threads`` or ``processes`` when the program starts, calls use that backend unless something
    else sets one.

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
        merge(Settings(), options, "defaults")
        self._options: Mapping[str, object] = dict(options)
        self._tokens: list[Token[Mapping[str, object] | None]] = []

    def __enter__(self) -> None:
        outer = IN_FORCE.get() or {}
        if "pool" in self._options:  # the given pool has decided the options of its workers
            outer = {name: value for name, value in outer.items() if name not in worker_options()}
        elif not worker_options().isdisjoint(self._options):
            outer = {name: value for name, value in outer.items() if name != "pool"}
        self._tokens.append(IN_FORCE.set({**outer, **self._options}))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        IN_FORCE.reset(self._tokens.pop())


def with_defaults(settings: Settings, given: Mapping[str, object]) -> Settings:
    """Return `settings` with the values in `given` for the options that `settings` do not set.

    Raises:
        OptionError: the environment sets a value that is not allowed, or one option contradicts
            another.
    """
    if inside_item():
        return settings
    if given is _FROM_ENVIRONMENT:
        checked("backend", given["backend"], BACKEND_VARIABLE)
    ours = settings.given
    if settings.pool is not None:
        left_out = ours | worker_options() | {"pool"}
    elif worker_options().isdisjoint(ours):
        left_out = ours
    else:
        left_out = ours | {"pool"}
    options = {name: value for name, value in given.items() if name not in left_out}
    return merge(settings, options)._replace(given=ours)
