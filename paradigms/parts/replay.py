"""What is remembered and drawn: a ring of packed rows for every env slot, in shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from agents.base import Batch, Spec
from paradigms.parts.memory import Shared
from paradigms.parts.rows import Fragment, Rows

KEPT = ("obs", "action", "version")


class Uniform:
    """The last `capacity` rows of all writers, drawn with equal probability and replacement.

    Each env slot of each writer is a stream with a ring and a head of its own, so that nobody waits
    for anybody: one process writes a stream, any number read. A row's next observation is the next
    row of its stream; at an episode's end it is that episode's last observation, stored apart.
    n-step rewards stop at the episode's end and at the write head (Sutton and Barto, section 7.1).

        replay.add(fragment)                      # in the one process that writes this rank
        batch = replay.sample(256, generator)     # anywhere
    """

    kind = "uniform"

    def __init__(
        self,
        spec: Spec,
        *,
        capacity: int,
        writers: int,
        envs: int,
        turn: int,
        n_step: int = 1,
        gamma: float = 0.99,
        device: str = "cpu",
    ) -> None:
        self.rows = Rows(spec, turn, envs)
        self.writers, self.envs, self.n_step, self.gamma = writers, envs, n_step, gamma
        self.device = device
        self.streams = writers * envs
        self.margin = 4 * (turn + 1)
        self.window = max(1, capacity // self.streams)
        self.length = self.window + self.margin
        width = self.rows.row.itemsize
        self._ring = Shared((self.streams * self.length, width), np.uint8)
        self._last = Shared((self.streams * self.length, self.rows.obs.itemsize), np.uint8)
        self._heads = Shared((self.streams, 8), np.int64)  # a cache line a stream
        self._floors = Shared((self.streams, 8), np.int64)
        self._next_number = Shared(writers, np.int64)
        self.extras = [k for k in self.rows.extras if k not in (*KEPT, "reward", "is_first")]
        self._torn = Shared(1, np.int64)  # a rare count that two at once may get wrong by one
        self._duplicated = Shared(writers, np.int64)

    @property
    def torn(self) -> int:
        """Batches drawn again, over all processes, because a writer came round."""
        return int(self._torn.array[0])

    @property
    def duplicated(self) -> int:
        """Rows dropped, over all processes, because they had been stored before."""
        return int(self._duplicated.array.sum())

    @property
    def nbytes(self) -> int:
        """Bytes that a full replay takes."""
        return self._ring.nbytes

    def __len__(self) -> int:
        return int(np.minimum(self.heads(), self.window).sum())

    def heads(self) -> np.ndarray:
        """How many rows each stream has ever held: what a reader may see, [streams]."""
        return self._heads.array[:, 0].copy()

    def add(self, fragment: Fragment) -> int:
        """Stores the valid rows once and returns their number; one seen before is dropped."""
        if fragment.number < self._next_number.array[fragment.rank]:
            self._duplicated.array[fragment.rank] += fragment.steps
            return 0
        ring, last = self._arrays()
        added = 0
        for slot in range(self.envs):
            stream = fragment.rank * self.envs + slot
            rows = fragment.rows[:, slot]
            kept = np.flatnonzero(rows["valid"])
            head, base = int(self._heads.array[stream, 0]), stream * self.length
            self._floors.array[stream, 0] = head + len(kept) + 1 - self.length
            at = base + (head + np.arange(len(kept))) % self.length
            end = base + (head + len(kept)) % self.length
            if head and len(kept) and rows["is_first"][kept[0]]:
                self._close(base + (head - 1) % self.length, base + head % self.length)
            ring[at] = rows[kept]
            ended = kept[rows["terminated"][kept] | rows["truncated"][kept]]
            last[at[np.searchsorted(kept, ended)]] = fragment.final_obs[ended, slot]
            ring["obs"][end] = fragment.next_obs[slot]
            self._heads.array[stream, 0] = head + len(kept)
            added += len(kept)
        self._next_number.array[fragment.rank] = fragment.number + 1
        return added

    def sample(
        self,
        size: int,
        generator: torch.Generator,
        *,
        heads: np.ndarray | None = None,
        ranks: Sequence[int] | None = None,
    ) -> Batch:
        """`size` rows as a Batch: obs action reward discount next_obs weight index version.

        `heads` names what may be seen (default: everything up to now), `ranks` whose rows.
        `index` = serial number in the stream x streams + stream.
        """
        heads = self.heads() if heads is None else heads
        sizes = np.minimum(heads, self.window)
        if ranks is not None:
            mine = np.isin(np.arange(self.streams) // self.envs, ranks)
            sizes = np.where(mine, sizes, 0)
        ends = np.cumsum(sizes)
        while True:
            drawn = torch.randint(int(ends[-1]), (size,), generator=generator).numpy()
            stream = np.searchsorted(ends, drawn, side="right")
            serial = (heads - ends)[stream] + drawn
            batch = self._gather(stream, serial, heads[stream])
            if (serial >= self._floors.array[stream, 0]).all():
                return batch
            self._torn.array[0] += 1  # a writer came round while we read: draw again

    def _gather(self, stream: np.ndarray, serial: np.ndarray, head: np.ndarray) -> Batch:
        ring, last = self._arrays()
        base = stream * self.length
        at = base + serial % self.length
        reward, terminated = ring["reward"][at], ring["terminated"][at]
        ended = terminated | ring["truncated"][at]
        end, steps = at, np.ones(len(serial), np.int64)
        for k in range(1, self.n_step):
            more = ~ended & (serial + k < head)
            if not more.any():
                break
            following = np.where(more, base + (serial + k) % self.length, end)
            reward += np.where(more, np.float32(self.gamma**k) * ring["reward"][following], 0)
            terminated = ring["terminated"][following]
            ended = terminated | ring["truncated"][following]
            end = following
            steps += more
        next_obs = ring["obs"][base + (serial + steps) % self.length]
        over = np.flatnonzero(ended)
        next_obs[over] = last[end[over]]
        discount = np.where(terminated, 0, self.gamma**steps).astype(np.float32)
        row = ring[at]
        columns: dict[str, Any] = {name: row[name] for name in (*KEPT, *self.extras)}
        columns |= {"reward": reward, "discount": discount, "next_obs": next_obs}
        columns |= {"index": serial * self.streams + stream}
        batch = Batch({k: torch.from_numpy(v).to(self.device) for k, v in columns.items()})
        batch["weight"] = torch.ones(len(serial), device=self.device)
        return batch

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        ring = self._ring.array.view(self.rows.row)[:, 0]
        obs = np.dtype((self.rows.obs.base, self.rows.obs.shape))
        last = self._last.array.view(obs.base).reshape(-1, *obs.shape)
        return ring, last

    def _close(self, previous: int, head: int) -> None:
        """An episode that its actor gave up counts as truncated at what it last saw."""
        ring, last = self._arrays()
        if not (ring["terminated"][previous] or ring["truncated"][previous]):
            last[previous] = ring["obs"][head]
            ring["truncated"][previous] = True

    def save(self) -> dict[str, Any]:
        """The filled part of every stream, and the counters."""
        heads = self.heads()
        parts = []
        for stream, head in enumerate(heads):
            first = max(0, head - self.window)
            serials = np.arange(first, head + 1)
            at = stream * self.length + serials % self.length
            parts.append((self._ring.array[at], self._last.array[at]))
        return {
            "heads": heads,
            "numbers": self._next_number.array.copy(),
            "rows": [torch.from_numpy(rows) for rows, _ in parts],
            "last": [torch.from_numpy(obs) for _, obs in parts],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what `save` returned, from a replay of the same streams."""
        if len(state["heads"]) != self.streams:
            raise ValueError(
                f"the checkpoint's replay has {len(state['heads'])} streams, this run"
                f" {self.streams}: resume with the same workers and envs"
            )
        for stream, head in enumerate(np.asarray(state["heads"])):
            rows = np.asarray(state["rows"][stream])[-(self.window + 1) :]
            obs = np.asarray(state["last"][stream])[-(self.window + 1) :]
            if len(rows) <= self.window:  # a smaller replay had forgotten what came before
                head = len(rows) - 1
            at = stream * self.length + np.arange(head + 1 - len(rows), head + 1) % self.length
            self._ring.array[at], self._last.array[at] = rows, obs
            self._heads.array[stream, 0] = head
            self._floors.array[stream, 0] = head + 1 - self.length
        self._next_number.array[:] = np.asarray(state["numbers"])
