"""Spans: sets of half-open intervals `[start, end)` as sorted lists of pairs that neither overlap nor touch."""

from collections.abc import Iterable

Span = tuple[float, float]


def union(spans: Iterable[Span]) -> list[Span]:
    """All seconds that any of them holds."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if end <= start:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def common(a: list[Span], b: list[Span]) -> list[Span]:
    """The seconds that both hold."""
    shared, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        start, end = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if start < end:
            shared.append((start, end))
        if a[i][1] <= b[j][1]:
            i += 1
        else:
            j += 1
    return shared


def without(a: list[Span], b: list[Span]) -> list[Span]:
    """The seconds of `a` that `b` does not hold."""
    left = []
    for start, end in a:
        clock = start
        for other_start, other_end in b:
            if other_end <= clock:
                continue
            if other_start >= end:
                break
            if other_start > clock:
                left.append((clock, other_start))
            clock = other_end
        if clock < end:
            left.append((clock, end))
    return left


def seconds(spans: Iterable[Span]) -> float:
    return sum((end - start for start, end in spans), 0.0)
