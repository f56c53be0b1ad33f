"""Unions and differences of intervals of time; an interval is a pair of its begin and its end."""

from collections.abc import Iterable
from typing import TypeAlias

Interval: TypeAlias = tuple[float, float]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return disjoint intervals, in order of time, that cover the same time as `intervals`.

    >>> union([(3, 4), (0, 2), (1, 3), (7, 7)])
    [(0, 4)]
    """
    merged: list[Interval] = []
    for begin, end in sorted(intervals):
        if end <= begin:
            continue
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((begin, end))
    return merged


def minus(some: Iterable[Interval], others: list[Interval]) -> list[Interval]:
    """Return the time in `some`, not in `others`; both are disjoint intervals in order of time.

    >>> minus([(0, 5), (6, 7)], [(1, 2), (4, 6.5)])
    [(0, 1), (2, 4), (6.5, 7)]
    """
    left: list[Interval] = []
    at = 0
    for begin, end in some:
        start = begin
        while at < len(others) and others[at][1] <= start:
            at += 1
        next_one = at
        while next_one < len(others) and others[next_one][0] < end:
            if start < others[next_one][0]:
                left.append((start, others[next_one][0]))
            start = max(start, others[next_one][1])
            next_one += 1
        if start < end:
            left.append((start, end))
    return left


def common(some: Iterable[Interval], others: list[Interval]) -> list[Interval]:
    """Return the time in `some` and in `others`; both are disjoint intervals in order of time.

    >>> common([(0, 5), (6, 9)], [(1, 2), (4, 7)])
    [(1, 2), (4, 5), (6, 7)]
    """
    some = [*some]
    return minus(some, minus(some, others))


def length(intervals: Iterable[Interval]) -> float:
    """Return the sum of the lengths of disjoint intervals.

    >>> length([(0, 1), (2, 4)])
    3
    """
    return sum([end - begin for begin, end in intervals])
