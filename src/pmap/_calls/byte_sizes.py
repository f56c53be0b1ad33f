"""A number of bytes that is written with a unit, as "700MB"."""

import re
from typing import Final

_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_WRITTEN: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


def byte_size(text: str) -> int | None:
    """Return how many bytes `text` stands for; None if `text` is no number of bytes.

    >>> byte_size("700MB"), byte_size("1.5 GiB"), byte_size("2k"), byte_size("much")
    (700000000, 1610612736, 2000, None)
    """
    found = _WRITTEN.fullmatch(text)
    if found is None or (found[3] and not found[2]):
        return None
    step = 1024 if found[3] else 1000
    size: int = round(float(found[1]) * step ** _POWERS[found[2].lower()])
    return size
