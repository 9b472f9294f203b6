"""Counter-based draws: the generator of a piece of work depends on its names and number, never on
timing."""

from __future__ import annotations

import torch

_MASK = (1 << 64) - 1


def key(*words: int | str) -> int:
    """A 64-bit number from names and numbers, the same in every process (FNV-1a, then
    splitmix64)."""
    h = 0xCBF29CE484222325
    for word in words:
        data = (
            word.encode() if isinstance(word, str) else int(word).to_bytes(8, "little", signed=True)
        )
        for byte in data:
            h = ((h ^ byte) * 0x100000001B3) & _MASK
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & _MASK
    return h ^ (h >> 31)


def reseed(generator: torch.Generator, *words: int | str) -> torch.Generator:
    """Puts a generator where the draws of (seed, role, rank, counter) begin."""
    return generator.manual_seed(key(*words) >> 1)
