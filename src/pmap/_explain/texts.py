"""Texts for seconds, bytes and factors, for an explanation."""

from .._calls.describe import short_number


def seconds_text(seconds: float) -> str:
    """Return a duration with its unit, in two or three digits.

    >>> [seconds_text(number) for number in (90, 1.234, 0.0421, 0.0000072, 2e-8)]
    ['90 s', '1.23 s', '42.1 ms', '7.2 us', '0.02 us']
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            number = seconds / size
            return f"{number:.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
    return f"{float(f'{seconds * 1e6:.2g}'):g} us"


def bytes_text(size: int) -> str:
    """Return a number of bytes with its unit.

    >>> bytes_text(17), bytes_text(262_144), bytes_text(80_000_000)
    ('17 B', '262 kB', '80 MB')
    """
    text = short_number(size)
    return f"{text} B" if text.isdigit() else f"{text[:-1]} {text[-1]}B"


def times_text(factor: float) -> str:
    """Return by what factor something is faster, as a text.

    >>> [times_text(factor) for factor in (23.4, 1.0, 0.0312)]
    ['23', '1.0', '0.031']
    """
    return (
        f"{factor:.0f}" if factor >= 10 else f"{factor:.1f}" if factor >= 0.95 else f"{factor:.2g}"
    )
