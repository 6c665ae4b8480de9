"""Chain: forward and backward through hidden chains in irregular time, one alone or many side by side.

A chain has n nodes and S states. Into each node leads a matrix: from each state to each, P(to | from) over the time since the node
before, times the likelihood of what is observed at the node. With x the proportions given all up to a node, and z the likelihood of
all that comes after it (Rabiner 1989; both scaled now and then, since only proportions count):

      forward      x' = x · step'            backward      z = step' · z'            smoothed      ∝ x z

A step of one chain is a few multiplications, and numpy takes longer to be asked than to do them. So many chains take each step
together, the longest first, such that those which go on are always the first ones; few are folded as plain numbers. Either way
does the same operations on the same numbers in the same order: what a chain comes to does not depend, to the last bit, on the
company it is in.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from geofence.evidence import Floats

FEW = 12
"""Up to so many chains are folded one by one: for them a step as arrays takes longer than as numbers."""
SCALED_EVERY = 16
"""So many observations in a row, none beyond e^±20, stay within what a float holds."""


class Chain(Struct, frozen=True, eq=False):
    """The nodes of one chain, in the order of time."""

    prior: Floats
    """Of each state, before anything: S."""
    steps: Floats
    """From each state, to each, into each node: S, S, n."""


def smoothed(chains: Sequence[Chain]) -> list[Floats]:
    """The probability of each state at each node of each chain, given everything: S, n. A chain has two states or three."""
    out: list[Floats] = [chain.prior for chain in chains]
    for states, one in ((2, _two), (3, _three)):
        alike = [n for n, chain in enumerate(chains) if len(chain.prior) == states]
        those = [chains[n] for n in alike]
        told = _together(those) if len(those) > FEW else map(one, those)
        for n, each in zip(alike, told, strict=True):
            out[n] = each
    return out


def _together(chains: Sequence[Chain]) -> list[Floats]:
    """Side by side. Nodes lie by their number: the first ones of all chains, then the second ones, and so on."""
    lengths = np.array([chain.steps.shape[2] for chain in chains])
    order = np.argsort(-lengths, kind="stable")
    going = np.searchsorted(-lengths[order], -np.arange(lengths.max()), side="left")
    first = np.concatenate(([0], np.cumsum(going)))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    spots = [first[:length] + spot for length, spot in zip(lengths.tolist(), rank.tolist(), strict=True)]
    steps = np.empty((*chains[0].steps.shape[:2], first[-1]))
    for chain, spot in zip(chains, spots, strict=True):
        steps[:, :, spot] = chain.steps
    known, later = np.empty(steps.shape[1:]), np.ones(steps.shape[1:])
    rows = [(t, slice(lo, lo + some), some) for t, (lo, some) in enumerate(zip(first.tolist(), going.tolist(), strict=False))]
    x = np.column_stack([chains[n].prior for n in order.tolist()])
    for t, here, some in rows:
        if t % SCALED_EVERY == 0:
            x = x / np.add.reduce(x, axis=0)
        x = np.add.reduce(x[:, None, :some] * steps[:, :, here], axis=0, out=known[:, here])
    z = np.ones_like(known[:, : len(chains)])
    for (_, before, _), (t, here, some) in zip(rows[-2::-1], rows[:0:-1], strict=True):
        z[:, :some] = np.add.reduce(steps[:, :, here] * z[:, :some], axis=1, out=later[:, before][:, :some])
        if t % SCALED_EVERY == 0:
            z[:, :some] /= np.add.reduce(z[:, :some], axis=0)
    both = _both(known, later)
    return [both[:, spot] for spot in spots]


def _two(chain: Chain) -> Floats:
    """One chain of two states."""
    rows = chain.steps.reshape(4, -1).T.tolist()
    (a, b), known = chain.prior.tolist(), []
    for first in range(0, len(rows), SCALED_EVERY):
        total = a + b
        a, b = a / total, b / total
        for aa, ab, ba, bb in rows[first : first + SCALED_EVERY]:
            a, b = a * aa + b * ba, a * ab + b * bb
            known.append((a, b))
    a = b = 1.0
    later = [(a, b)]
    for first in range((len(rows) - 1) // SCALED_EVERY * SCALED_EVERY, -1, -SCALED_EVERY):
        for aa, ab, ba, bb in reversed(rows[first or 1 : first + SCALED_EVERY]):
            a, b = aa * a + ab * b, ba * a + bb * b
            later.append((a, b))
        total = a + b
        a, b = a / total, b / total
    return _both(np.array(known).T, np.array(later[::-1]).T)


def _three(chain: Chain) -> Floats:
    """One chain of three states."""
    rows = chain.steps.reshape(9, -1).T.tolist()
    (a, b, c), known = chain.prior.tolist(), []
    for first in range(0, len(rows), SCALED_EVERY):
        total = a + b + c
        a, b, c = a / total, b / total, c / total
        for aa, ab, ac, ba, bb, bc, ca, cb, cc in rows[first : first + SCALED_EVERY]:
            a, b, c = a * aa + b * ba + c * ca, a * ab + b * bb + c * cb, a * ac + b * bc + c * cc
            known.append((a, b, c))
    a = b = c = 1.0
    later = [(a, b, c)]
    for first in range((len(rows) - 1) // SCALED_EVERY * SCALED_EVERY, -1, -SCALED_EVERY):
        for aa, ab, ac, ba, bb, bc, ca, cb, cc in reversed(rows[first or 1 : first + SCALED_EVERY]):
            a, b, c = aa * a + ab * b + ac * c, ba * a + bb * b + bc * c, ca * a + cb * b + cc * c
            later.append((a, b, c))
        total = a + b + c
        a, b, c = a / total, b / total, c / total
    return _both(np.array(known).T, np.array(later[::-1]).T)


def _both(known: Floats, later: Floats) -> Floats:
    """Forward times backward; the states are the first axis."""
    both = known * later
    both /= np.add.reduce(both, axis=0)
    return both
