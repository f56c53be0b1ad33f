"""One measurement, in a process of its own: ``python -m benchmarks.one WORK PEER ...``.

It prints a line of JSON for each figure as soon as that is known.
"""

import json
import sys


def main(name: str, peer: str, processes: str, quick: str) -> None:
    """Measure and print."""
    # Here, since a peer's workers may import this module, as the program's own.
    from .peers import UnableError
    from .work import Setting
    from .works import WORKS

    work = next(work for work in WORKS if work.name == name)
    try:
        for figure, value in work.measure(Setting(peer, int(processes), bool(quick))):
            print(json.dumps([figure, value]), flush=True)
    except UnableError:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
