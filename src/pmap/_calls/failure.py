"""A failure as a value, in the place of the result that an item has not got."""

from typing import TYPE_CHECKING, ClassVar

from .._transport.exceptions import safe_text
from .._types import Frozen


class Failure(Frozen):
    """What stands where an item's result would be, when failures are collected.

    Attributes:
        error: the exception that the item ended with.
        index: the position of the item in the input.
        function: the name of the function.
        input: a short repr of the item.
        traceback: the traceback in the worker, as text; empty where there was none.
        attempts: how often it was tried.
        item: the item itself, with ``keep_input=True``: what the function was given, a tuple where
            that is several arguments, (args, kwargs) with ``papply``. None without it. It does not
            count when two failures are compared.
    """

    # No annotation: checkers read the names themselves, for the types in a `case`.
    __match_args__ = (
        "error",
        "index",
        "function",
        "input",
        "traceback",
        "attempts",
    )
    _names: ClassVar[tuple[str, ...]] = __match_args__

    if TYPE_CHECKING:  # for a checker, too, it does not change

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
        """Make the value that stands for an item's failure."""
        vars(self).update(
            error=error,
            index=index,
            function=function,
            input=input,
            traceback=traceback,
            attempts=attempts,
            item=item,
        )

    def __repr__(self) -> str:
        text = " ".join(safe_text(str, self.error).split())
        text = text if len(text) <= 100 else text[:97] + "..."
        kind = type(self.error).__name__
        return f"<Failure of item {self.index}, {self.function}({self.input}): {kind}: {text}>"
