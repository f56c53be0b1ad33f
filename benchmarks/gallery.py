"""Draws the pictures of the gallery: a trace of each program, in ``docs/figures/gallery``.

::

    python -m benchmarks.gallery                  # all programs
    python -m benchmarks.gallery compress         # one of them
    python -m benchmarks.gallery search 100       # one with a number for its work

Each program runs in a process of its own, as it is, in a block of `defaults` that traces all its
calls. A program that needs a package that is missing is named, and its picture stays as it is.
"""

import argparse
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Final

from pmap import Trace, defaults

TOP: Final = Path(__file__).resolve().parents[1]
GALLERY: Final = TOP / "examples" / "gallery"
PICTURES: Final = TOP / "docs" / "figures" / "gallery"
# Numbers that make the work of a program small enough to see single items.
SIZES: Final = {"hyperparameters": ["8"], "monte_carlo": ["40"], "search": ["200"]}


def draw(program: str, picture: str, arguments: list[str]) -> None:
    """Run a program in this process, with a trace of all its calls, and save the picture."""
    trace = Trace()
    sys.argv = [program, *arguments]
    with defaults(trace=trace):
        runpy.run_path(program, run_name="__main__")
    trace.save(picture)


def drawn(program: Path, folder: Path, arguments: list[str]) -> str:
    """Draw the picture of a program; return what came of it, in words."""
    picture = folder / f"{program.stem}.svg"
    command = [sys.executable, "-m", "benchmarks.gallery", "--draw", str(program), str(picture)]
    command += arguments or SIZES.get(program.stem, [])
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    missing = re.search(r"^ModuleNotFoundError: (.*)$", done.stderr, re.MULTILINE)
    if missing:
        return missing[1]
    if done.returncode:
        raise SystemExit(f"{program.name} has failed:\n{done.stderr}")
    return f"{picture.stat().st_size // 1024} kB"


def main() -> None:
    """Draw the picture of the named program, or those of all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery", description=__doc__)
    parser.add_argument("--into", type=Path, default=PICTURES, help="the folder of the pictures")
    parser.add_argument("program", nargs="?", help="the name of the only program to draw")
    parser.add_argument("arguments", nargs="*", help="are those of the program")
    given = parser.parse_args()
    given.into.mkdir(exist_ok=True)
    for program in sorted(GALLERY.glob(f"{given.program or '*'}.py")):
        print(f"{program.stem}: {drawn(program, given.into, given.arguments)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        draw(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        main()
