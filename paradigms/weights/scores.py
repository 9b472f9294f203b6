"""What travels in the place of parameters where nobody has gradients: returns and lengths."""

from __future__ import annotations

import numpy as np

from paradigms.runtime.memory import Shared


class Scores:
    """The returns of one generation after another, in shared memory; no parameter is in it.

    A generation has `pairs` mirrored pairs of perturbations, two halves each; workers play them and
    then read all returns:

        scores.write(generation, index, half, gained, length, seen)  # each half of one's pairs
        scores.finish(rank, generation)
        link.wait("returns", lambda: scores.complete(generation))
        returns = scores.returns(generation)
        scores.go_on(generation)

    Each entry has one writer. Two generations are kept, which is enough: nobody finishes one before
    everybody has finished the one before it. x86 keeps stores in order, so that who sees `complete`
    sees every return. Where a worker has been replaced, the same values are written again. Nothing
    here waits.

    generation: the number of the first one. env_steps: those made before it. rows, shape: how many
    observations of which shape may be written beside each return, for a policy that normalises
    them; 0: none.
    """

    def __init__(
        self,
        pairs: int,
        workers: int,
        *,
        generation: int = 0,
        env_steps: int = 0,
        rows: int = 0,
        shape: tuple[int, ...] = (),
    ) -> None:
        self.pairs, self.workers, self.rows = pairs, workers, rows
        self._seen = Shared((2, pairs, 2, rows, *shape), np.float32)
        self._rows = Shared((2, pairs, 2), np.int64)
        self._returns = Shared((2, pairs, 2), np.float64)
        self._lengths = Shared((2, pairs, 2), np.int64)
        self._finished = Shared((workers, 8), np.int64)  # generations; a cache line each
        self._totals = Shared((2, 2), np.int64)  # env steps, bytes
        self._finished.array[:] = generation
        self._totals.array[generation % 2, 0] = env_steps

    @property
    def bytes_moved(self) -> int:
        """Bytes of the returns, lengths and observations of all generations gone on from."""
        return int(self._totals.array[:, 1].max())

    def share(self, rank: int) -> range:
        """The pairs that worker `rank` plays."""
        return range(rank, self.pairs, self.workers)

    def write(
        self,
        generation: int,
        index: int,
        half: int,
        gained: float,
        length: int,
        seen: np.ndarray | None = None,
    ) -> None:
        """What half 0 or 1 of pair `index` has come to: its return, its env steps, and observations
        float32 [n, *shape], n <= rows."""
        at = (generation % 2, index, half)
        self._returns.array[at], self._lengths.array[at] = gained, length
        if seen is not None:
            self._rows.array[at] = len(seen)
            self._seen.array[at][: len(seen)] = seen

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

    def observations(self, generation: int) -> np.ndarray:
        """Those written in a generation, float32 [N, *shape], in the order of pairs and halves; as
        of `returns`, but a copy."""
        rows = self._rows.array[generation % 2].ravel()
        blocks = self._seen.array[generation % 2].reshape(len(rows), *self._seen.shape[3:])
        return np.concatenate([block[:n] for block, n in zip(blocks, rows, strict=True)])

    def env_steps(self, generation: int) -> int:
        """Env steps of all generations before this one."""
        return int(self._totals.array[generation % 2, 0])

    def go_on(self, generation: int) -> None:
        """Counts the env steps and bytes of a generation that is complete. Every worker does, and
        all write the same numbers."""
        rows = int(self._rows.array[generation % 2].sum())
        row = 4 * int(np.prod(self._seen.shape[4:], dtype=np.int64))
        counted = int(self.lengths(generation).sum()), 2 * self.pairs * (8 + 8) + rows * row
        now, after = self._totals.array[generation % 2], self._totals.array[(generation + 1) % 2]
        after[:] = now + counted
