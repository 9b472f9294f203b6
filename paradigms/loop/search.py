"""What may be searched for: settings with their ranges, drawn and perturbed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


class Space:
    """Settings by name, each {low, high}, with log: true for a logarithmic scale, or {choices}.

    A point is a float64 vector [settings]: the value itself, or the place among the choices. Ranges
    between two whole numbers give whole numbers. Raises ValueError, with the key, for another form.
    """

    def __init__(self, search: Mapping[str, Mapping[str, Any]], key: str) -> None:
        self.search = {name: dict(said) for name, said in search.items()}
        for name, said in self.search.items():
            choices = said.get("choices")
            whole = {*said} == {"choices"} and isinstance(choices, list) and len(choices) > 0
            low, high = said.get("low"), said.get("high")
            numbers = all(
                isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n)
                for n in (low, high)
            )
            ranged = {"low", "high"} <= {*said} <= {"low", "high", "log"} and numbers
            if not whole and not (
                ranged and low < high and (low > 0 or not said.get("log"))  # type: ignore[operator]
            ):
                raise ValueError(
                    f"{key}.{name}={said} must be {{low, high}} with low < high, and above 0 with"
                    " log: true, or {choices: [...]}"
                )

    def draw(self, generator: torch.Generator) -> np.ndarray:
        """A point, each setting with equal probability over its range."""
        return np.array([self._one(said, generator) for said in self.search.values()])

    def perturb(
        self, point: np.ndarray, generator: torch.Generator, *, resample: float
    ) -> np.ndarray:
        """Each setting anew with the probability `resample`, else times 0.8 or 1.2 within its
        range, or a neighbour among its choices."""
        out = point.copy()
        for i, said in enumerate(self.search.values()):
            dice, side = torch.rand(2, generator=generator).tolist()
            up = side < 0.5
            if dice < resample:
                out[i] = self._one(said, generator)
            elif "choices" in said:
                out[i] = np.clip(out[i] + (1 if up else -1), 0, len(said["choices"]) - 1)
            else:
                moved = out[i] * (1.2 if up else 0.8)
                if self._whole(said):
                    moved = math.ceil(moved) if up else math.floor(moved)
                out[i] = np.clip(moved, said["low"], said["high"])
        return out

    def values(self, point: np.ndarray) -> dict[str, Any]:
        """The settings that a point stands for."""
        out = {}
        for (name, said), number in zip(self.search.items(), point.tolist(), strict=True):
            if "choices" in said:
                out[name] = said["choices"][int(number)]
            else:
                out[name] = round(number) if self._whole(said) else number
        return out

    @staticmethod
    def _whole(said: Mapping[str, Any]) -> bool:
        return isinstance(said["low"], int) and isinstance(said["high"], int)

    def _one(self, said: Mapping[str, Any], generator: torch.Generator) -> float:
        dice = float(torch.rand((), generator=generator, dtype=torch.float64))
        if "choices" in said:
            return float(int(dice * len(said["choices"])))
        low, high = said["low"], said["high"]
        if said.get("log"):
            number = math.exp(math.log(low) + dice * (math.log(high) - math.log(low)))
        else:
            number = low + dice * (high - low)
        number = min(max(number, low), high)
        return float(round(number)) if self._whole(said) else number
