"""Makes the pictures of the gallery: a trace of each program, in ``docs/figures/gallery``.

::

    python tools/gallery_pictures.py            # all programs
    python tools/gallery_pictures.py compress   # one of them

Each program runs in a process of its own, as it is, in a block of `defaults` that traces all its
calls. A program that needs a package that is missing is named, and its picture stays as it is.
"""

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
# A number that makes the work so large that a picture has something to show and little to hide.
SIZES: Final = {"thumbnails": 24, "hyperparameters": 8}


def draw(program: Path, picture: Path) -> None:
    """Run a program in this process, with a trace of all its calls, and save the picture."""
    trace = Trace()
    sys.argv = [str(program), *sys.argv[3:]]
    with defaults(trace=trace):
        runpy.run_path(str(program), run_name="__main__")
    trace.save(picture)


def made(program: Path) -> str:
    """Make the picture of a program; return what came of it, in words."""
    picture = PICTURES / f"{program.stem}.svg"
    size = [str(SIZES[program.stem])] if program.stem in SIZES else []
    command = [sys.executable, __file__, "--draw", str(program), *size]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    missing = re.search(r"^ModuleNotFoundError: (.*)$", done.stderr, re.MULTILINE)
    if missing:
        return missing[1]
    if done.returncode:
        raise SystemExit(f"{program.name} has failed:\n{done.stderr}")
    return f"{picture.stat().st_size // 1024} kB"


def main(names: list[str]) -> None:
    """Make the pictures of the named programs, or of all."""
    PICTURES.mkdir(exist_ok=True)
    for program in sorted(GALLERY.glob("*.py")):
        if not names or program.stem in names:
            print(f"{program.stem}: {made(program)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--draw"]:
        path = Path(sys.argv[2])
        draw(path, PICTURES / f"{path.stem}.svg")
    else:
        main(sys.argv[1:])
