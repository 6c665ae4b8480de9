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
        known, later = _passes(steps, np.column_stack([chains[n].prior for n in alike]))
        both = known * later
        both /= np.add.reduce(both, axis=0)
        ends = np.cumsum([each.shape[2] for each in steps]).tolist()
        for n, each, end in zip(alike, steps, ends, strict=True):
            out[n] = both[:, end - each.shape[2] : end]
    return out


def _passes(steps: Sequence[Floats], prior: Floats) -> tuple[Floats, Floats]:
    """Forward and backward, up to a scale: x and z at each node, the chains end to end. `prior` has a column for each chain."""
    states, lengths = len(prior), np.array([each.shape[2] for each in steps])
    blocks = -(-lengths // BLOCK)
    first, total = np.cumsum(blocks) - blocks, int(blocks.sum())
    nth = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    spot = nth % BLOCK * total + np.repeat(first, lengths) + nth // BLOCK
    laid = _neutral(states, BLOCK * total)
    laid[:, :, spot] = np.concatenate(steps, axis=2)
    laid = laid.reshape(states, states, BLOCK, total)
    if total == len(steps):
        x, z = prior, np.ones((states, total))
    else:
        ends, z = _passes(np.split(_whole(laid), first[1:], axis=2), prior)
        x = np.concatenate((ends[:, :1], ends[:, :-1]), axis=1)
        x[:, first] = prior
    x, z = _scaled(x, axis=0), _scaled(z, axis=0)
    known, later = np.empty(laid.shape[1:]), np.empty(laid.shape[1:])
    for n in range(BLOCK):
        x = np.add.reduce(x[:, None] * laid[:, :, n], axis=0, out=known[:, n])
    for n in range(BLOCK - 1, -1, -1):
        later[:, n] = z
        z = np.add.reduce(laid[:, :, n] * z, axis=1)
    return known.reshape(states, -1)[:, spot], later.reshape(states, -1)[:, spot]


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
