"""pmap beside its peers, all in one run.

Prints a Markdown table for each work; with --out it writes them, all values as JSON, and pictures.
Nothing is asserted. docs/performance.md tells how to read it.
"""

import argparse
import json
import os
from pathlib import Path

import pmap as ours

from .pictures import pictures
from .report import as_json, machine, table
from .run import Results, rounds
from .works import WORKS


def main() -> None:
    """Measure, print and write."""
    names = [work.name for work in WORKS]
    groups = sorted({name.partition(".")[0] for name in names if "." in name})
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=[*names, *groups], default=names, help="only these works"
    )
    parser.add_argument("--peers", nargs="+", help="only these; `raw` are limits of the machine")
    parser.add_argument("--rounds", type=int, help="rounds of each work: 5, or 1 with --quick")
    parser.add_argument("--processes", type=int, default=2, help="workers of each peer")
    parser.add_argument("--quick", action="store_true", help="one round, and smaller works")
    parser.add_argument("--out", type=Path, help="a folder for table.md, figures.json, pictures")
    given = parser.parse_args()
    count = given.rounds or (1 if given.quick else 5)

    # What is installed has its byte code, wherever the benchmark itself is run.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    texts = [machine(ours.__version__, given.processes, count)]
    print(texts[0], flush=True)
    done: list[Results] = []
    for work in WORKS:
        if {work.name, work.name.partition(".")[0]} & {*given.only}:
            peers = given.peers or work.peers
            *_, results = rounds(work, peers, count, given.processes, given.quick)
            done.append(results)
            texts.append(table(results))
            print(f"\n{texts[-1]}", flush=True)
            if given.out:
                write(texts, done, given.out)


def write(texts: list[str], done: list[Results], folder: Path) -> None:
    """Write all that is known by now."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    values = json.dumps(as_json(done), indent=1)
    (folder / "figures.json").write_text(values + "\n", encoding="utf-8")
    try:
        pictures(done, folder)
    except ImportError as error:
        print(f"\nno pictures: {error}")


if __name__ == "__main__":
    main()
