"""A long run through one pool whose workers are replaced all the time: nothing may grow.

``python -m benchmarks.soak`` runs a million items, with a new worker every 50 chunks, and shows at
each tenth what this process holds: memory (its own, in MB), descriptors, threads, and how many
processes were used. ``--items`` and ``--isolate`` (a process for each item) change that.
"""

import argparse
import os
import threading
import time

from pmap import pmap


def own_memory() -> float:
    """Return how many MB of memory are this process's alone."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_")) / 1024


def worker(_: int) -> int:
    return os.getpid()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--isolate", action="store_true", help="a process for each item")
    arguments = parser.parse_args()
    verb = pmap.using(isolate=True) if arguments.isolate else pmap.using(max_tasks_per_child=50)
    print("    items  seconds  own MB  descriptors  threads  processes so far")
    pids: set[int] = set()
    begin = time.perf_counter()
    with verb.iter(worker, range(arguments.items)) as results:
        for done, pid in enumerate(results, 1):
            pids.add(pid)
            if done % max(1, arguments.items // 10) == 0:
                seconds = time.perf_counter() - begin
                descriptors = len(os.listdir("/proc/self/fd"))
                print(
                    f"{done:9} {seconds:8.1f} {own_memory():7.1f} {descriptors:12} "
                    f"{threading.active_count():8} {len(pids):17}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
