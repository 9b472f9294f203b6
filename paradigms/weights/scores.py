"""What travels in the place of parameters where nobody has gradients: returns and lengths."""

from __future__ import annotations

import numpy as np

from paradigms.runtime.memory import Shared


class Scores:
    """The returns of one generation after another, in shared memory; no parameter is in it.

    A generation has `pairs` mirrored pairs of perturbations, two halves each; workers play them and
    then read all returns:

        scores.write(generation, index, half, gained, length)    # each half of the worker's pairs
        scores.finish(rank, generation)
        link.wait("returns", lambda: scores.complete(generation))
        returns = scores.returns(generation)
        scores.go_on(generation)

    Each entry has one writer. Two generations are kept, which is enough: nobody finishes one before
    everybody has finished the one before it. x86 keeps stores in order, so that who sees `complete`
    sees every return. Where a worker has been replaced, the same values are written again. Nothing
    here waits.

    generation: the number of the first one. env_steps: those made before it.
    """

    def __init__(
        self, pairs: int, workers: int, *, generation: int = 0, env_steps: int = 0
    ) -> None:
        self.pairs, self.workers, self.first = pairs, workers, generation
        self._returns = Shared((2, pairs, 2), np.float64)
        self._lengths = Shared((2, pairs, 2), np.int64)
        self._finished = Shared((workers, 8), np.int64)  # generations; a cache line each
        self._env_steps = Shared(2, np.int64)
        self._finished.array[:] = generation
        self._env_steps.array[generation % 2] = env_steps

    @property
    def bytes_moved(self) -> int:
        """Bytes of all returns and lengths that have been written in whole generations."""
        generations = int(self._finished.array[:, 0].min()) - self.first
        return generations * 2 * self.pairs * (8 + 8)

    def share(self, rank: int) -> range:
        """The pairs that worker `rank` plays."""
        return range(rank, self.pairs, self.workers)

    def write(self, generation: int, index: int, half: int, gained: float, length: int) -> None:
        """What half 0 or 1 of pair `index` has come to: its return, and its env steps."""
        self._returns.array[generation % 2, index, half] = gained
        self._lengths.array[generation % 2, index, half] = length

    def finish(self, rank: int, generation: int) -> None:
        """Marks the generation as played by worker `rank`, after its last `write`."""
        self._finished.array[rank, 0] = generation + 1

    def has(self, rank: int, generation: int) -> bool:
        """Whether worker `rank` has finished the generation."""
        return bool(self._finished.array[rank, 0] > generation)

    def complete(self, generation: int) -> bool:
        """Whether every worker has."""
        return bool((self._finished.array[:, 0] > generation).all())

    def returns(self, generation: int) -> np.ndarray:
        """A view, float64 [pairs, 2], of a generation that is complete and not yet gone on from."""
        view: np.ndarray = self._returns.array[generation % 2]
        return view

    def lengths(self, generation: int) -> np.ndarray:
        """The env steps of each half, int64 [pairs, 2]: a view, as of `returns`."""
        view: np.ndarray = self._lengths.array[generation % 2]
        return view

    def env_steps(self, generation: int) -> int:
        """Env steps of all generations before this one."""
        return int(self._env_steps.array[generation % 2])

    def go_on(self, generation: int) -> None:
        """Counts the env steps of a generation that is complete. Every worker does, and all write
        the same number."""
        steps = self.env_steps(generation) + int(self.lengths(generation).sum())
        self._env_steps.array[(generation + 1) % 2] = steps
