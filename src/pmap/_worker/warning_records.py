"""A worker's warnings: those that pass the caller's filters are sent to the caller."""

from __future__ import annotations

import _warnings
import sys
import warnings

from .._transport.values import dumps

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .._transport.settings import Filter, Pattern


class Warned:
    """Filters the warnings of this worker process as the caller does, and sends them to the caller.

    Only the warnings that pass the filters are sent.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        """Pickle each warning that is to be shown, and call `send` with the bytes."""
        self._send = send
        self._given: tuple[Filter, ...] | None = None
        # Categories of the caller's filters, by module and name, whose class this process has not
        # imported yet.
        self._missing: list[tuple[str, str]] = []
        # Whether `apply` has to do its work before the next items even if the filters are the same.
        self.has_to_do = True
        # Those filters in `warnings.filters` that came from the caller.
        self._from_caller: list[Any] = []
        # `Any`, because `_showwarnmsg_impl` is private. Python's own `catch_warnings` replaces this
        # private function, too, for a time.
        private: Any = warnings
        private._showwarnmsg_impl = self._show
        self._forget_shown: Callable[[], object] = _how_to_forget()

    def _show(self, shown: warnings.WarningMessage) -> None:
        about = shown.category, shown.filename, shown.lineno
        try:
            data = dumps((shown.message, *about))
        except Exception:  # a warning of a class of the program may be impossible to pickle
            text, known = str(shown.message), _known(shown.category)
            data = dumps((known(text), known, *about[1:]))
        self.has_to_do = True
        self._send(data)

    def apply(self, filters: tuple[Filter, ...] | None) -> None:
        """Put the caller's warning filters in place before items run, unless they are in place.

        `filters`: None if the caller has sent no filters.
        """
        came = self._missing and any(_category(*each) for each in self._missing)
        if filters is not None and (filters is not self._given or came):
            # Filters that an initializer has added stay in front of the caller's.
            known = self._from_caller if self._given is not None else _initial
            own = [each for each in warnings.filters if each not in known]
            self._missing = [each[2] for each in filters if _category(*each[2]) is None]
            found = [_filter(each) for each in filters]
            self._from_caller = [each for each in found if each is not None]
            self._given = filters
            warnings.resetwarnings()
            # `warnings.filters` is a list, though its declared type is an immutable sequence.
            in_place: Any = warnings.filters
            in_place.extend([*own, *self._from_caller])
        # Python must forget which warnings it has shown in this worker: the caller shows the
        # warnings, and decides which of them to show again.
        self._forget_shown()
        self.has_to_do = bool(self._missing)


def _how_to_forget() -> Callable[[], object]:
    """Return the function that makes Python forget which warnings it has shown."""
    mutated: Any = getattr(_warnings, "_filters_mutated", None)
    if mutated is not None:
        return mutated  # type: ignore[no-any-return]  # `_filters_mutated` is private
    # In Python 3.14 and later the function that forgets shown warnings has this name; it is called
    # with the lock of `warnings` held.
    changed: Any = getattr(_warnings, "_filters_mutated_lock_held", None)
    lock: Any = getattr(warnings, "_lock", None)

    def forget() -> None:
        if changed is not None and lock is not None:
            with lock:
                changed()

    return forget


_initial: list[Any] = list(warnings.filters)


def _filter(given: Filter) -> Any:
    """Return a filter of the caller's in the form that `warnings.filters` has.

    Return None if this process has not imported the class of the filter's category yet.
    """
    action, message, (module, name), pattern, line = given
    category = _category(module, name)
    if category is None:
        return None
    return action, _pattern(message), category, _pattern(pattern), line


def _pattern(given: Pattern) -> Any:
    if given is None or isinstance(given, str):
        return given
    import re

    return re.compile(*given)


def _category(module: str, name: str) -> type[Warning] | None:
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else None


def _known(category: type[Warning]) -> type[Warning]:
    """Return a warning class's nearest base class that is built in: every process has it."""
    return next(each for each in category.__mro__ if each.__module__ == "builtins")
