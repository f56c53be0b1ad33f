"""The verbs, and names for their asynchronous and streaming forms."""

from typing import Final

from .apply import Apply
from .map import Map
from .pcall import Calls
from .starmap import StarMap
from .verb import read_like_functions

read_like_functions([Map, StarMap, Apply, Calls])

pmap: Final[Map] = Map()
"""``list(map(f, xs))``, computed by several workers at once; results in order."""

pmap_async: Final = pmap.async_
"""A form of `pmap` that returns at once, with an `AsyncResult`."""

pimap: Final = pmap.iter
"""A form of `pmap` that returns a `ResultStream`, with the results in the order of the input."""

pimap_unordered: Final = pmap.iter_unordered
"""A form of `pmap` that returns a `ResultStream`, with the results in the order they finish."""

pstarmap: Final[StarMap] = StarMap()
"""``list(starmap(f, rows))``, computed by several workers at once; results in order."""

pstarmap_async: Final = pstarmap.async_
"""A form of `pstarmap` that returns at once, with an `AsyncResult`."""

papply: Final[Apply] = Apply()
"""``f(*args, **kwargs)``, computed in a worker."""

papply_async: Final = papply.async_
"""A form of `papply` that returns at once, with an `AsyncResult`."""

pcall: Final[Calls] = Calls()
"""The results of calls of different functions, made by several workers at once, as a tuple."""
