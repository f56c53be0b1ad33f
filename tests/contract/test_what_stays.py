"""Pools, handles and streams in what is sent: the error names them, and what is to be done."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from pmap import Executor, NotPicklableError, Pool, ThreadPool, as_completed, pmap


def same(x: object) -> object:
    return x


class Holder:
    def __init__(self, held: object) -> None:
        self.held = held

    def method(self, x: object) -> object:
        return x


def later() -> Any:
    return pmap.async_(same, [1])


MAKE: Final[dict[str, Callable[[], Any]]] = {
    "a pool": lambda: Pool(1),
    "a pool ": lambda: ThreadPool(1),
    "an executor": lambda: Executor(1),
    "a handle": later,
    "a future": lambda: later().future(),
    "a stream": lambda: pmap.iter(same, [1]),
    "handles": lambda: as_completed([later()]),
}
PLACES: Final[list[tuple[str, Callable[[Any], object]]]] = [
    ("variable 'held'", lambda held: pmap(lambda _: held, [1])),
    (".__self__ -> .held: ", lambda held: pmap(Holder(held).method, [1])),
    ("the argument: ", lambda held: pmap(same, [held])),
    ("the argument -> ['a'] -> .held: ", lambda held: pmap(same, [{"a": Holder(held)}])),
    ("initargs -> [0]: ", lambda held: pmap.using(initializer=same, initargs=(held,))(same, [1])),
]


@pytest.fixture(name="held", params=[*MAKE.values()], ids=[*MAKE])
def _held(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = request.param()
    yield made
    for name in ("shutdown", "terminate", "close"):
        if hasattr(made, name):
            getattr(made, name)()
            break


@pytest.mark.parametrize(("path", "use"), PLACES, ids=[path for path, _ in PLACES])
def test_the_path_ends_at_what_is_ours(
    held: Any, path: str, use: Callable[[Any], object], request: pytest.FixtureRequest
) -> None:
    with pytest.raises(NotPicklableError) as caught:
        use(held)
    kind = request.node.callspec.id.partition("-")[0].strip()
    text = str(caught.value)
    assert path in text
    assert f"do not send {kind}: " in text
    assert "._" not in text.partition(" (")[2].replace(".__self__", "")
