"""Exceptions of a script, pickled by value: made again without their own ``__init__``."""

import pickle
from dataclasses import dataclass
from typing import Any, Final, Self

import pytest

from pmap._transport.by_value.picklers import Whole, dumps_full
from pmap._transport.by_value.role import Role
from pmap._transport.failure_record import RAISED, capture
from pmap._transport.values import loads


class Two(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.a, self.b = a, b


class Slotted(Exception):
    __slots__ = ("__code",)

    def __init__(self, *, code: int) -> None:
        super().__init__("slotted")
        self.__code = code

    def seen(self) -> int:
        return self.__code


@dataclass(frozen=True)
class Frozen(ValueError):
    x: int
    y: str = "y"


class Missing(FileNotFoundError):
    def __init__(self, name: str, *, hint: str) -> None:
        super().__init__(2, "no such file", name)
        self.hint = hint


class Needed(ImportError):
    def __init__(self, package: str) -> None:
        super().__init__(f"install {package}", name=package, path="/there")


class Garbled(UnicodeDecodeError):
    def __init__(self, data: bytes) -> None:
        super().__init__("utf-8", data, 0, 1, "garbled")


class Stop(StopIteration):
    def __init__(self, *, value: int) -> None:
        super().__init__(value)


class Leave(SystemExit):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(code)
        self.why = why


class Wrong(SyntaxError):
    def __init__(self, line: int) -> None:
        super().__init__("wrong", ("file.py", line, 2, "text"))


class Many(ExceptionGroup[Exception]):
    def __new__(cls, errors: list[Exception], extra: int) -> Self:
        made = super().__new__(cls, "many", errors)
        made.extra = extra
        return made

    def __init__(self, errors: list[Exception], extra: int) -> None:
        self.extra = extra


class Says(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(a)
        self.b = b

    def __reduce__(self) -> tuple[Any, ...]:
        return Says, (self.args[0], self.b)


class Itself(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(a + b)
        self.me = self


ATTRIBUTES: Final = (
    *("a", "b", "x", "y", "hint", "errno", "strerror", "filename", "name", "path", "extra"),
    *("encoding", "object", "start", "end", "reason", "value", "code", "why", "lineno", "text"),
    *("offset", "msg", "message"),
)
ERRORS: Final[list[BaseException]] = [
    *(Two(1, 2), Slotted(code=3), Frozen(1), Missing("f", hint="look"), Needed("that")),
    *(Garbled(b"\xff"), Stop(value=7), Leave(3, "no"), Wrong(4), Says(1, 2), Itself(1, 2)),
    *(Many([Two(1, 2), Missing("g", hint="x")], 5), ExceptionGroup("g", [Two(3, 4)])),
]


class Bare(Whole):
    """As a worker pickles what fails otherwise: exceptions of modules, too."""

    def __init__(self) -> None:
        super().__init__()
        self.skips_init = True


def facts(error: Any) -> list[object]:
    members = [facts(one) for one in getattr(error, "exceptions", ())]
    args = ["errors" if isinstance(one, list) else repr(one) for one in error.args]
    found = {name: repr(getattr(error, name, None)) for name in ATTRIBUTES}
    return [type(error), str(error), args, found, members]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_it_arrives_as_it_is(error: BaseException) -> None:
    again = loads(dumps_full(Bare(), error))
    assert facts(again) == facts(error)
    assert again is not error
    if isinstance(error, Slotted):
        assert again.seen() == 3
    if isinstance(error, Itself):
        assert again.me is again


def test_one_within_another_does_too() -> None:
    for error in ERRORS:
        if not isinstance(error, Exception):
            continue
        outer = ExceptionGroup("outer", [ValueError(1), error])
        kind, data, *_ = capture(outer)
        assert kind == RAISED
        assert facts(pickle.loads(data)) == facts(outer)


def test_no_code_of_a_script_runs() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    source = """
made = []
class Error(Exception):
    def __init__(self, a, b):
        super().__init__(a)
        made.append(b)
"""
    exec(source, space)
    error = space["Error"](1, 2)
    role: Role = Whole()
    data = dumps_full(role, {"a": [error]})
    assert loads(data)["a"][0].args == (1,)
    assert space["made"] == [2]
