"""Many small files: each is read and digested."""

import os
from hashlib import sha256
from pathlib import Path

from .job import Run, main


def digest(path: str) -> str:
    """Return the digest of a file."""
    with open(path, "rb") as file:
        return sha256(file.read()).hexdigest()


def prepare(folder: Path, quick: bool) -> Run:
    """Write files of 4 KB."""
    paths = [str(folder / f"{number:05}") for number in range(1_000 if quick else 10_000)]
    for path in paths:
        Path(path).write_bytes(os.urandom(4096))
    return lambda peer: peer.map(digest, paths)


if __name__ == "__main__":
    main(prepare)
