"""Chain: forward and backward through hidden chains in irregular time, one alone or many side by side.

A chain has n nodes and S states. Into each node leads a matrix: from each state to each, P(to | from) over the time since the node
before, times the likelihood of what is observed at the node. With x the proportions given all up to a node, and z the likelihood of
all that comes after it (Rabiner 1989; only proportions count):

      forward      x' = x · step'            backward      z = step' · z'            smoothed      ∝ x z

A step is a few multiplications, and numpy takes longer to be asked than to do them. So chains are cut into blocks, and the blocks
of all chains take their first steps together, then their second ones, and so on:

      1. the steps of a block multiplied are one step over the whole block; so blocks are the nodes of a shorter chain,
      2. whose passes, found in the same way, say with what each block begins (x) and what comes after it (z),
      3. and from there each block goes forward and backward through its own nodes.

What a chain comes to does not depend, to the last bit, on the company it is in: its blocks are its own, the steps that fill up the
last one are exactly neutral, and scales are powers of two.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from msgspec import Struct

from geofence.evidence import Floats

BLOCK = 16
"""Nodes of a block. So many observations in a row, none beyond e^±20, stay within what a float holds."""


class Chain(Struct, frozen=True, eq=False):
    """The nodes of one chain, in the order of time."""

    prior: Floats
    """Of each state, before anything: S."""
    steps: Floats
    """From each state, to each, into each node: S, S, n."""


def smoothed(chains: Sequence[Chain]) -> list[Floats]:
    """The probability of each state at each node of each chain, given everything: S, n."""
    out: list[Floats] = [chain.prior for chain in chains]
    for states in {len(chain.prior) for chain in chains}:
        alike = [n for n, chain in enumerate(chains) if len(chain.prior) == states]
        steps = [chains[n].steps for n in alike]
        known, later, first = _passes(steps, np.column_stack([chains[n].prior for n in alike]))
        both = known * later
        both /= np.add.reduce(both, axis=0)
        # Copies of two axes in turn are far quicker than a copy of each node from its spot.
        both = both.swapaxes(1, 2).reshape(states, -1)
        for n, each, block in zip(alike, steps, first, strict=True):
            out[n] = both[:, BLOCK * block : BLOCK * block + each.shape[2]]
    return out


def _passes(steps: Sequence[Floats], prior: Floats) -> tuple[Floats, Floats, list[int]]:
    """Forward and backward, up to a scale: x and z at each node. Axes: state, node of the block, block, those of all chains one
    after the other; and the first block of each chain. `prior` has a column for each chain.
    """
    states, blocks = len(prior), [-(-each.shape[2] // BLOCK) for each in steps]
    first, total = [sum_ - own for sum_, own in zip(accumulate(blocks), blocks, strict=True)], sum(blocks)
    laid = _neutral(states, BLOCK * total)
    for each, block in zip(steps, first, strict=True):
        laid[:, :, BLOCK * block : BLOCK * block + each.shape[2]] = each
    laid = np.ascontiguousarray(laid.reshape(states, states, total, BLOCK).swapaxes(2, 3))
    if total == len(steps):
        x, z = prior, np.ones((states, total))
    else:
        ends, z = _ends(np.split(_whole(laid), first[1:], axis=2), prior)
        x = np.concatenate((ends[:, :1], ends[:, :-1]), axis=1)
        x[:, first] = prior
    x, z = _scaled(x, axis=0), _scaled(z, axis=0)
    known, later = np.empty(laid.shape[1:]), np.empty(laid.shape[1:])
    for n in range(BLOCK):
        x = np.add.reduce(x[:, None] * laid[:, :, n], axis=0, out=known[:, n])
    for n in range(BLOCK - 1, -1, -1):
        later[:, n] = z
        z = np.add.reduce(laid[:, :, n] * z, axis=1)
    return known, later, first


def _ends(steps: Sequence[Floats], prior: Floats) -> tuple[Floats, Floats]:
    """x and z at each node, the chains one after the other."""
    *passes, first = _passes(steps, prior)
    nodes = np.concatenate([BLOCK * block + np.arange(each.shape[2]) for each, block in zip(steps, first, strict=True)])
    known, later = (each.swapaxes(1, 2).reshape(len(prior), -1)[:, nodes] for each in passes)
    return known, later


def _neutral(states: int, count: int) -> Floats:
    """Steps that change nothing."""
    steps = np.zeros((states, states, count))
    steps[range(states), range(states)] = 1.0
    return steps


def _whole(laid: Floats) -> Floats:
    """One step over each block. Axes of what it is made of: from, to, node of the block, block."""
    whole = laid[:, :, 0]
    for n in range(1, BLOCK):
        whole = np.add.reduce(whole[:, :, None] * laid[:, :, n], axis=1)
    return _scaled(whole, axis=(0, 1))


def _scaled(proportions: Floats, axis: int | tuple[int, ...]) -> Floats:
    """Proportions of a size around one, multiplied by a power of two: exactly the same proportions."""
    _, powers = np.frexp(np.add.reduce(proportions, axis=axis))
    scaled: Floats = np.ldexp(proportions, -powers)
    return scaled
