"""Compress a directory to a .tar.xz, block by block, which any tar and xz can read.

The caller packs and writes, workers compress. Blocks are read while results are written, never more
than sixteen ahead: the archive is nowhere in memory. Several .xz files one behind the other are a
.xz file, so the order of the results is all that matters.

    python examples/gallery/compress.py [number of megabytes]
"""

import lzma
import sys
import sysconfig
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from pmap import pimap

MOST = float(sys.argv[1]) * 1e6 if len(sys.argv) > 1 else 8e6
BLOCK = int(min(1 << 19, MOST / 4))
TREE = Path(sysconfig.get_path("stdlib"))


def pack(archive: Path) -> int:
    """Write a plain .tar with some files of the tree; return how many."""
    with tarfile.open(archive, "w") as tar:
        for path in sorted(TREE.glob("*.py")):
            tar.add(path, path.relative_to(TREE).as_posix())
            if tar.offset > MOST:
                break
        return len(tar.getmembers())


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a file, piece by piece."""
    while block := file.read(BLOCK):
        yield block


def write(path: Path, compressed: Iterable[bytes]) -> float:
    """Write the blocks as they come; return how many seconds that took."""
    begin = time.perf_counter()
    with path.open("wb") as file:
        file.writelines(compressed)
    return time.perf_counter() - begin


def main() -> None:
    with TemporaryDirectory() as folder:
        plain, one, two = (Path(folder, name) for name in ("a.tar", "one.tar.xz", "two.tar.xz"))
        count = pack(plain)
        with plain.open("rb") as file:
            serial = write(one, (lzma.compress(block) for block in blocks(file)))
        with plain.open("rb") as file, pimap(lzma.compress, blocks(file), buffersize=16) as stream:
            parallel = write(two, stream)
        with tarfile.open(two) as tar:
            names = tar.getnames()
        before, after = plain.stat().st_size, two.stat().st_size
        print(f"{len(names)} files, {before / 1e6:.1f} MB, compressed to {after / 1e6:.1f} MB")
        print(f"serial loop {serial:.2f} s, pimap {parallel:.2f} s")
        same = len(names) == count and one.read_bytes() == two.read_bytes()
    if not same:
        sys.exit("the archive is not that of the serial loop")


main()
