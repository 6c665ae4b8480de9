"""Spans against sets of whole seconds."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from device_sim.spans import Span, common, seconds, union, without

ends = st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda pair: (float(pair[0]), float(pair[0] + pair[1])))
spans = st.lists(ends, max_size=8)


def _set(many: list[Span]) -> set[int]:
    return {second for start, end in many for second in range(int(start), int(end))}


@given(spans, spans)
def test_spans_behave_like_sets_of_seconds(a: list[Span], b: list[Span]) -> None:
    a, b = union(a), union(b)
    assert _set(common(a, b)) == _set(a) & _set(b)
    assert _set(without(a, b)) == _set(a) - _set(b)
    assert _set(union([*a, *b])) == _set(a) | _set(b)
    assert seconds(a) == len(_set(a))


@given(spans)
def test_a_union_neither_overlaps_nor_touches(many: list[Span]) -> None:
    joined = union(many)
    assert _set(joined) == _set(many)
    assert all(first[1] < second[0] for first, second in pairwise(joined))
