"""Single calls."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from ..peers import started
from ..work import Figure, Setting, Target, Work, timed


def measure_call(setting: Setting) -> Iterator[tuple[str, float]]:
    """Call and wait, again and again."""
    count = 200 if setting.quick else 1000
    with started(setting.peer, setting.processes) as peer:
        run = partial(peer.call, abs, -1)
        for _ in range(20):
            run()
        times = sorted(timed(run) for _ in range(count))
    yield "p50", times[count // 2] * 1e6
    yield "p99", times[count * 99 // 100] * 1e6


WORKS: Final = (
    Work(
        "call",
        "One blocking call of `abs`, warm",
        (
            Figure("p50", "us", (Target(0.65),)),
            Figure("p99", "us", (Target(0.65),)),
        ),
        measure_call,
    ),
)
