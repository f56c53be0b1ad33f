"""Random numbers of an item: the same for every number of workers, chunk size, backend and retry.

If the call has a seed, then at the start of item *i* the states of the module ``random``, of
NumPy's global generator and of `rng` depend only on the seed and *i*. `rng` uses the child *i* that
``numpy.random.SeedSequence(seed).spawn`` gives.
"""

from __future__ import annotations

import sys

from .light_stdlib import local
from .shadows import standard_library

TYPE_CHECKING = False  # `typing` is not imported here: workers start faster without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import numpy as np

# Bytes that occur in the pickle of a random generator: that of a NumPy Generator, of a NumPy
# RandomState, of a `random.Random`.
_PICKLED = (b"_generator_ctor", b"_randomstate_ctor", b"\x8c\x06Random\x94\x93\x94)R")

# Thread-local data: the attribute `now` is a list of seed and index of the item that this thread
# runs, and the item's generator once the item has used `rng`. A context variable would be wrong: if
# an item calls pmap, the items of that call run in copies of its context, and would have its
# generator.
_item = local()


def rng() -> np.random.Generator:
    """Return the random generator of the item that runs: the same object at each call in that item.

    If the call has ``seed=``, the generator is a function of the seed and the index of the item
    alone. Without a seed, and outside of items, the operating system seeds a new generator at each
    call. The generator is NumPy's; this function imports NumPy if that is necessary.

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
    """Call `call` with the random generators seeded for the item `index`; return its result."""
    with standard_library:
        import random

    random.seed(f"{seed}, {index}")  # if the seed is a text, `random` uses all its bits
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        sequence = numpy.random.SeedSequence(seed, spawn_key=(index,))
        numpy.random.seed(sequence.generate_state(8))
    before = getattr(_item, "now", None)
    _item.now = [seed, index, None]
    try:
        return call()
    finally:
        # An item may run inside another item. When it ends, the other item gets its generator back.
        _item.now = before


def take_state() -> tuple[object, object]:
    """Return the states of the global random generators of this process."""
    import random

    numpy: Any = sys.modules.get("numpy")
    return random.getstate(), None if numpy is None else numpy.random.get_state()


def put_back(state: tuple[Any, Any]) -> None:
    """Set the global random generators of this process to a state that `take_state` returned."""
    import random

    random.setstate(state[0])
    if state[1] is not None:
        sys.modules["numpy"].random.set_state(state[1])


def seed_anew() -> None:
    """Seed the global random generators from the operating system, if their modules are loaded."""
    for name in ("random", "numpy.random"):
        module: Any = sys.modules.get(name)
        # The attribute `SystemRandom` or `get_state` shows that the module is the standard
        # library's or NumPy's, and not a module of the user with the same name.
        if hasattr(module, "get_state" if "." in name else "SystemRandom"):
            module.seed()


def has_generator(data: bytes | str | None) -> bool:
    """Return whether a pickle contains a random generator."""
    return isinstance(data, bytes) and any(mark in data for mark in _PICKLED)
