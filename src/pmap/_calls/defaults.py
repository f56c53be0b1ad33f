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
    """Return the options that the environment sets; they are checked when a call uses them."""
    backend = os.environ.get(BACKEND_VARIABLE)
    return {"backend": backend} if backend else None


_FROM_ENVIRONMENT: Final = _of_environment()
# The options of the innermost `defaults` and of those around it; None: there are none.
IN_FORCE: Final[ContextVar[Mapping[str, object] | None]] = ContextVar(
    "pmap.defaults", default=_FROM_ENVIRONMENT
)


class defaults:  # noqa: N801  # it is used like a function
    """Within it, calls of verbs have these options unless they set them themselves.

    So an application chooses for the libraries that it uses. What the library or the call sets
    itself, by ``using`` or in the call, stays as it is; and where one sets ``pool``, the options of
    workers are that pool's. Those of an outer ``defaults`` hold as well, where the inner one has
    nothing else. It holds in the thread and in the tasks of asyncio that begin within it, as any
    context variable does, and not for calls that an item makes.

    Before all of these comes the environment: with ``PMAP_BACKEND=serial`` (or ``threads``,
    ``processes``) when the program begins, verbs that set no backend have this one.

    >>> from pmap import defaults, pmap
    >>> with defaults(backend="threads", chunksize=1):
    ...     pmap(abs, [-1, 2])
    [1, 2]

    Args:
        **options: those of `Options`.

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
        if "pool" in self._options:  # its workers are decided
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
    """Return `settings` with `given` as the defaults of those options that they do not set.

    Raises:
        OptionError: an option of the environment is not allowed, or one contradicts another.
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
