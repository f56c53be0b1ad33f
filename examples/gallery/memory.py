"""Run tasks that take much memory in a program that lives for long: a child gives it all back.

A task parses modules into trees, which take a hundred times the memory of what it returns. A Python
that has freed many small objects keeps much of their memory, because a few that are still in use
lie between them: the program stays as large as its largest task. With `isolate=True` each task has
a process of its own, which ends with it. (`max_tasks_per_child=10` ends it after ten; see also
`max_memory_per_child`.)

    python examples/gallery/memory.py [number of tasks] [modules of a task]     (on Linux)
"""

import ast
import os
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path

from pmap import pmap

COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 4
MODULES = int(sys.argv[2]) if len(sys.argv) > 2 else 80


def names(paths: list[Path]) -> Counter[str]:
    """Return how often each name occurs in some modules, all of which are in memory at once."""
    trees = [ast.parse(path.read_bytes()) for path in paths]
    nodes = (node for tree in trees for node in ast.walk(tree))
    return Counter(node.id for node in nodes if isinstance(node, ast.Name))


def resident() -> float:
    """Return the megabytes of memory that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    modules = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    tasks = [modules[start::COUNT][:MODULES] for start in range(COUNT)]
    pmap(len, [[]], isolate=True)  # what a first call imports is there

    at_first, begin = resident(), time.perf_counter()
    isolated = pmap(names, tasks, isolate=True)
    behind_children, middle = resident(), time.perf_counter()
    serial = [names(paths) for paths in tasks]
    behind_loop, end = resident(), time.perf_counter()

    total = sum(isolated, Counter[str]())
    common = ", ".join(f"{name} {times}" for name, times in total.most_common(4))
    print(f"{COUNT} tasks of up to {MODULES} modules; most common: {common}")
    print(f"this process at first: {at_first:.1f} MB")
    print(f"behind {COUNT} tasks in children: {behind_children:.1f} MB, {middle - begin:.2f} s")
    print(f"behind the same tasks in a serial loop: {behind_loop:.1f} MB, {end - middle:.2f} s")
    if isolated != serial:
        sys.exit("the names are not those of the serial loop")


main()
