"""A search in a text, line by line, as a stream; only how many lines match is kept."""

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

from .job import Run, main

WORDS = ("GET", "POST", "/index.html", "/cart/42", "200", "404", "timeout", "Mozilla/5.0", "-")
PATTERN = re.compile(r"(?i)\b(?:post|put)\b.*\b(?:404|500)\b.*\btime-?outs?\b")


def found(line: str) -> bool:
    """Return whether a line is one of those that are looked for."""
    return PATTERN.search(line) is not None


def lines(path: Path) -> Iterator[str]:
    """Give the lines of a file."""
    with path.open(encoding="utf-8") as file:
        yield from file


def prepare(folder: Path, quick: bool) -> Run:
    """Write the text."""
    draw = Random(1)  # noqa: S311 - nothing secret
    path = folder / "log"
    with path.open("w", encoding="utf-8") as file:
        for _ in range(20_000 if quick else 200_000):
            file.write(" ".join(draw.choices(WORDS, k=16)) + "\n")
    return lambda peer: sum(peer.stream(found, lines(path), chunksize=1000))


if __name__ == "__main__":
    main(prepare)
