"""Random numbers of an item: the same for every number of workers, chunk size, backend and try.

With a seed, item *i* finds ``random``, NumPy's global state and `rng` as functions of the seed and
*i* alone. That of `rng` is the child *i* that ``numpy.random.SeedSequence(seed).spawn`` gives.
"""

from __future__ import annotations

import sys

from .light_stdlib import local
from .shadows import standard_library

TYPE_CHECKING = False  # see `light_stdlib`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import numpy as np

# What stands in the pickle of each kind of generator.
_PICKLED = (b"_generator_ctor", b"_randomstate_ctor", b"\x8c\x06Random\x94\x93\x94)R")

# `.now`: the seed and index of the item that this thread runs, and its generator, once it is asked
# for. No context variable: an item has a context of its own, with those of its caller.
_item = local()


def rng() -> np.random.Generator:
    """Return the random generator of the item that runs: the same each time it is asked for.

    With ``seed=`` in the call it is a function of the seed and the item's index alone. Without one,
    and outside of items, it is seeded by the operating system each time. It is NumPy's, which is
    imported if it is not yet.

    >>> from pmap import pmap, rng
    >>> def roll(_: int) -> int:
    ...     return int(rng().integers(1, 7))
    >>> pmap(roll, range(5), seed=7) == pmap(roll, range(5), seed=7, processes=1, chunksize=5)
    True
    """
    try:
        import numpy as np
    except ImportError as error:
        error.add_note("pmap: rng() is a generator of NumPy: pip install numpy, or use `random`")
        raise

    item: list[Any] | None = getattr(_item, "now", None)
    if item is None:
        return np.random.default_rng()
    if item[2] is None:
        item[2] = np.random.default_rng(np.random.SeedSequence(item[0], spawn_key=(item[1],)))
    generator: np.random.Generator = item[2]
    return generator


def seeded(seed: int, index: int, call: Callable[[], object]) -> object:
    """Return what `call` returns, with the random numbers of an item."""
    with standard_library:
        import random

    random.seed(f"{seed}, {index}")  # of a text it takes all bits
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        sequence = numpy.random.SeedSequence(seed, spawn_key=(index,))
        numpy.random.seed(sequence.generate_state(8))
    before = getattr(_item, "now", None)
    _item.now = [seed, index, None]
    try:
        return call()
    finally:
        _item.now = before  # of the item that this one is a part of


def take_state() -> tuple[object, object]:
    """Return the state of the global generators of this process."""
    import random

    numpy: Any = sys.modules.get("numpy")
    return random.getstate(), None if numpy is None else numpy.random.get_state()


def put_back(state: tuple[Any, Any]) -> None:
    """Give the global generators of this process a state that they had."""
    import random

    random.setstate(state[0])
    if state[1] is not None:
        sys.modules["numpy"].random.set_state(state[1])


def seed_anew() -> None:
    """Let the global generators begin anew, where they are loaded: from the operating system."""
    for name in ("random", "numpy.random"):
        module: Any = sys.modules.get(name)
        if hasattr(module, "get_state" if "." in name else "SystemRandom"):  # not a user's own
            module.seed()


def has_generator(data: bytes | str | None) -> bool:
    """Return whether a pickle has a random generator in it."""
    return isinstance(data, bytes) and any(mark in data for mark in _PICKLED)
