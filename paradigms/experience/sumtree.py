"""Sum trees: leaves of non-negative numbers, drawn in proportion to them in logarithmic time.

Schaul et al. 2016, arXiv:1511.05952, appendix B.2.1; here many leaves are set or found at once.
"""

from __future__ import annotations

import numpy as np

FAN = 16  # children of a node: fewest microseconds for 256 finds in 1e6 leaves (2..128 tried)
MANY = 4096


class SumTrees:
    """`trees` sum trees of `leaves` leaves each, all 0 at first.

    Inner nodes are always the sum of their children, added anew, so that errors do not pile up.
    Memory is allocated where it is touched.
    """

    def __init__(self, trees: int, leaves: int) -> None:
        nodes = [-(-leaves // FAN)]
        while nodes[-1] > 1:
            nodes.append(-(-nodes[-1] // FAN))
        self.trees, self._nodes = trees, nodes[::-1]  # from the root's level down
        self._levels = [np.zeros((trees * n, FAN)) for n in self._nodes]

    def totals(self) -> np.ndarray:
        """The sum of each tree, [trees]."""
        sums: np.ndarray = self._levels[0].sum(1)
        return sums

    def values(self, tree: np.ndarray, leaf: np.ndarray) -> np.ndarray:
        """The leaves at (tree, leaf), [N]."""
        found: np.ndarray = self._levels[-1].reshape(-1)[tree * self._nodes[-1] * FAN + leaf]
        return found

    def set(self, tree: np.ndarray, leaf: np.ndarray, value: np.ndarray) -> None:
        """Sets the leaves at (tree, leaf), int64 [N] each and no pair twice, to `value` [N]."""
        for level, nodes in zip(self._levels[::-1], self._nodes[::-1], strict=True):
            level.reshape(-1)[tree * nodes * FAN + leaf] = value
            leaf = leaf // FAN
            if len(leaf) > MANY:  # neighbours have one parent: once is enough
                another = np.flatnonzero(np.diff(tree * nodes + leaf, prepend=-1))
                tree, leaf = tree[another], leaf[another]
            value = level.take(tree * nodes + leaf, 0).sum(1)

    def find(self, tree: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The first leaf of each tree up to which the leaves sum to more than `below`, and its
        value: [N] -> [N], [N]. Never a leaf of 0, as long as the tree has another."""
        leaf, each = np.zeros(len(tree), np.int64), np.arange(len(tree))
        value = below
        for level, nodes in zip(self._levels, self._nodes, strict=True):
            children = level.take(tree * nodes + leaf, 0)
            until = children.cumsum(1)
            below = np.minimum(below, np.nextafter(until[:, -1], 0))  # rounding must not pass it
            child = (until <= below[:, None]).sum(1)
            value = children[each, child]
            below = np.maximum(below - (until[each, child] - value), 0)
            leaf = leaf * FAN + child
        return leaf, value


class Windows:
    """The transitions that may be drawn, with a power each, in one sum tree a stream: of each
    stream those with first <= serial number < head, `window` at most. first, head: int64 [streams].

        stream, serial = windows.move(streams, first, head)
        windows.set(stream, serial, powers)
        serial, power = windows.find(stream, below)
    """

    def __init__(self, streams: int, window: int) -> None:
        self.window = window
        self.trees = SumTrees(streams, window)  # leaf = serial % window
        self.first, self.head = np.zeros(streams, np.int64), np.zeros(streams, np.int64)

    def move(
        self, streams: np.ndarray, first: np.ndarray, head: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Moves the windows of `streams` [S] to `first` and `head` [S], sets the powers of the
        transitions that leave to 0, and returns those that enter, (stream, serial) int64 [N] each:
        the caller sets their powers."""
        was_first, was_head = self.first[streams], self.head[streams]
        stream, serial = _without(streams, was_first, was_head, first, head)
        self.set(stream, serial, np.zeros(len(serial)))
        self.first[streams], self.head[streams] = first, head
        return _without(streams, first, head, was_first, was_head)

    def holds(self, stream: np.ndarray, serial: np.ndarray) -> np.ndarray:
        """Which of the transitions [N] are in their windows."""
        held: np.ndarray = (serial >= self.first[stream]) & (serial < self.head[stream])
        return held

    def set(self, stream: np.ndarray, serial: np.ndarray, power: np.ndarray) -> None:
        """Sets the powers [N] of transitions, [N] and none of them twice."""
        self.trees.set(stream, serial % self.window, power)

    def find(self, stream: np.ndarray, below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Serials and powers of the transitions that `SumTrees.find` finds, [N] -> [N], [N]."""
        leaf, power = self.trees.find(stream, below)
        newest = self.head[stream] - 1
        return newest - (newest - leaf) % self.window, power


def _without(
    streams: np.ndarray, first: np.ndarray, head: np.ndarray, first2: np.ndarray, head2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """All (stream, serial) [N] with first <= serial < head, but not first2 <= serial < head2."""
    start = np.concatenate((first, np.maximum(first, head2)))
    stop = np.concatenate((np.minimum(head, first2), head))
    counts = np.maximum(stop - start, 0)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(np.tile(streams, 2), counts), np.repeat(start, counts) + within
