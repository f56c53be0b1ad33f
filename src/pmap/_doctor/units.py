"""Texts for sizes, durations and numbers of CPUs."""

from typing import Final

_STEPS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size: int) -> str:
    """Return a number of bytes with its unit.

    >>> size_text(64 << 20), size_text(1500), size_text(3 << 29)
    ('64 MiB', '1.5 KiB', '1.5 GiB')
    """
    number = float(size)
    for unit in _STEPS:
        if number < 1024 or unit == _STEPS[-1]:
            return f"{number:.1f}".removesuffix(".0") + f" {unit}"
        number /= 1024
    raise AssertionError("the last unit has no limit")


def seconds_text(seconds: float) -> str:
    """Return a duration with its unit.

    >>> seconds_text(0.0421), seconds_text(2.5), seconds_text(0.00007)
    ('42.1 ms', '2.5 s', '0.07 ms')
    """
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds >= 0.001 else f"{seconds * 1000:.2f} ms"


def cpus_text(cpus: float) -> str:
    """Return a number of CPUs, which need not be whole, with at most two decimals.

    >>> cpus_text(2.0), cpus_text(0.25)
    ('2', '0.25')
    """
    return f"{cpus:.2f}".rstrip("0").rstrip(".")
