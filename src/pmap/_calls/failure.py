"""The failure of an item as a value that stands in place of the item's result."""

from typing import TYPE_CHECKING, ClassVar, Self

from .._errors import PmapError
from .._transport.exceptions import safe_text
from .._types import Frozen


class Failure(Frozen):
    """The value that stands in place of a result, if the item failed and failures are collected.

    Attributes:
        error: the exception that the item ended with.
        index: the position of the item in the input, from 0.
        function: the name of the function.
        input: a short repr of the item.
        traceback: the traceback in the worker, as text. Empty: there was none.
        attempts: how many times the item was tried.
        item: the item itself, if the call has ``keep_input=True``; otherwise None. It is the
            element of the input; the tuple of the arguments with rows, several iterables or
            ``papply``; or (args, kwargs) if ``papply`` was given keywords. Two failures that differ
            only in `item` are equal.
    """

    # This line has no annotation, so that type checkers read the names in it: they know then which
    # types a `case` of a `match` statement has.
    __match_args__ = (
        "error",
        "index",
        "function",
        "input",
        "traceback",
        "attempts",
    )
    _names: ClassVar[tuple[str, ...]] = __match_args__

    if TYPE_CHECKING:  # type checkers see properties here, so they report an assignment as an error

        @property
        def error(self) -> Exception: ...
        @property
        def index(self) -> int: ...
        @property
        def function(self) -> str: ...
        @property
        def input(self) -> str: ...
        @property
        def traceback(self) -> str: ...
        @property
        def attempts(self) -> int: ...
        @property
        def item(self) -> object: ...
    else:
        error: Exception
        index: int
        function: str
        input: str
        traceback: str
        attempts: int
        item: object

    def __init__(
        self,
        error: Exception,
        index: int,
        function: str,
        input: str,
        traceback: str,
        attempts: int = 1,
        item: object = None,
    ) -> None:
        vars(self).update(
            error=error,
            index=index,
            function=function,
            input=input,
            traceback=traceback,
            attempts=attempts,
            item=item,
        )

    @classmethod
    def of(
        cls,
        error: Exception,
        index: int,
        function: str,
        input: str,
        attempts: int,
        item: object,
    ) -> Self:
        """Return a failure; its `traceback` is made from `error` when the program first reads it.

        To make this text takes longer than all the rest, and many programs never read the text.
        """
        made = cls(error, index, function, input, "", attempts, item)
        # The error of a lost worker has no traceback, and no cause with a traceback.
        if error.__traceback__ or error.__cause__ or not isinstance(error, PmapError):
            del vars(made)["traceback"]
            vars(made)["_trace"] = error.__traceback__
        return made

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name != "traceback" or "_trace" not in vars(self):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            # The module is imported only here, because few programs read the text of a traceback.
            from .traceback_text import format_trace

            text = format_trace(self.error, vars(self)["_trace"]).strip()
            return vars(self).setdefault("traceback", text)

    def __getstate__(self) -> dict[str, object]:
        state: dict[str, object] = {**vars(self), "traceback": self.traceback}
        # A traceback cannot be pickled, so the pickle is made without it.
        state.pop("_trace", None)
        return state

    def __repr__(self) -> str:
        text = " ".join(safe_text(str, self.error).split())
        text = text if len(text) <= 100 else text[:97] + "..."
        kind = type(self.error).__name__
        return f"<Failure of item {self.index}, {self.function}({self.input}): {kind}: {text}>"
