"""Search the comments of a source tree, as a stream: the first hits are there before the last file
is read.

A search by lines would find the word in strings and names, too. So each file is split into tokens,
which takes ten milliseconds and is worth a worker.

    python examples/gallery/search.py [number of files] [regular expression]
"""

import re
import sys
import sysconfig
import time
import tokenize
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pmap import pimap

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 500
PATTERN = re.compile(sys.argv[2] if len(sys.argv) > 2 else r"\b(XXX|TODO|FIXME)\b")
TREE = Path(sysconfig.get_path("stdlib"))
SHOWN = 3


def hits(path: Path) -> list[str]:
    """Return the comments of a file that match, each with its place."""
    try:
        with tokenize.open(path) as file:
            return [
                f"{path.relative_to(TREE)}:{token.start[0]}: {token.string}"
                for token in tokenize.generate_tokens(file.readline)
                if token.type == tokenize.COMMENT and PATTERN.search(token.string)
            ]
    except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
        return []  # not what Python reads: a template, a test of the tokenizer


def sources() -> Iterator[Path]:
    """Yield the files, one after the other, as they are found."""
    files = (path for path in TREE.rglob("*.py") if "site-packages" not in path.parts)
    return islice(files, COUNT)


def main() -> None:
    begin = time.perf_counter()
    serial = [hit for path in sources() for hit in hits(path)]
    middle = time.perf_counter()
    found: list[str] = []
    with pimap(hits, sources()) as results:
        for some in results:
            if some and not found:
                print(
                    f"the first hit came after {time.perf_counter() - middle:.2f} s, with "
                    f"{results.read} files read"
                )
            found += some
        read = results.read
    end = time.perf_counter()

    print(*found[:SHOWN], sep="\n")
    print(f"{len(found)} comments in {read} files match {PATTERN.pattern}")
    print(f"serial loop {middle - begin:.2f} s, pimap {end - middle:.2f} s")
    if found != serial:
        sys.exit("the hits are not those of the serial loop")


main()
