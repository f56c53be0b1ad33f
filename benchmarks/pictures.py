"""One picture for each work: how each peer's figure compares with that of pmap."""

from importlib import import_module
from pathlib import Path
from typing import Any

from .report import middle
from .run import Results


def pictures(all_results: list[Results], folder: Path) -> None:
    """Write WORK.png for each work in which pmap has a peer."""
    # Any: matplotlib is not needed by what checks the types.
    module: Any = import_module("matplotlib.figure")
    for results in all_results:
        work = results.work
        if "pmap" not in work.peers:
            continue
        drawing = module.Figure(figsize=(8, 1.6 + 0.4 * len(work.figures)))
        axes = drawing.subplots()
        for peer, mark in zip(work.peers, "osv^<>DPX*", strict=False):
            points = compared(results, peer)
            if points:
                axes.plot([x for _, x in points], [y for y, _ in points], mark, label=peer)
        axes.set_yticks(range(len(work.figures)), [figure.name for figure in work.figures])
        axes.set_ylim(len(work.figures) - 0.5, -0.5)
        axes.set_xscale("log")
        axes.axvline(1, color="grey", linewidth=0.8)
        axes.grid(axis="y", linewidth=0.3)
        axes.set_xlabel("how much worse than pmap; to the left of 1 it is better")
        axes.set_title(work.what, fontsize=9)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        drawing.savefig(folder / f"{work.name}.png", dpi=100, bbox_inches="tight")


def compared(results: Results, peer: str) -> list[tuple[int, float]]:
    """Return the row of each figure that both have, and by how much the peer is worse."""
    points: list[tuple[int, float]] = []
    for row, figure in enumerate(results.work.figures):
        own, value = middle(results, figure, "pmap"), middle(results, figure, peer)
        if own and value:
            points.append((row, own / value if figure.more else value / own))
    return points
