"""What may be searched for: settings with their ranges, drawn and perturbed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from agents.base import Agent, Spec
from agents.parts.vector import Vector


class Space:
    """Settings by name, each {low, high}, with log: true for a logarithmic scale, or {choices}.

    A point is a float64 vector [settings]: the value itself, or the place among the choices. Ranges
    between two whole numbers give whole numbers; choices are numbers, words, true, false, null and
    lists of them. Raises ValueError, with the key, for another form.
    """

    def __init__(self, search: Mapping[str, Mapping[str, Any]], key: str) -> None:
        for name, said in search.items():
            if not isinstance(said, Mapping) or not (_has_choices(said) or _has_range(said)):
                raise ValueError(
                    f"{key}.{name}={said} must be {{low, high}} with low < high, and above 0 with"
                    " log: true, or {choices: [...]} of numbers and words"
                )
        self.search, self.key = {name: dict(said) for name, said in search.items()}, key

    def ends(self, name: str) -> list[Any]:
        """Of a setting the lowest and the highest value, or all choices."""
        said = self.search[name]
        return list(said["choices"]) if "choices" in said else [said["low"], said["high"]]

    def check(self, make_agent: Callable[..., Agent], spec: Spec) -> None:
        """Builds an agent with each end of each setting, the others at their first. Raises
        ValueError, in a sentence that names the setting, where there is no such setting, where the
        agent refuses the value, and where it has other tensors with it than with the value that is
        not searched: whole vectors are copied between agents of different points."""
        like = _shapes(make_agent(spec, seed=0, device="cpu"))
        first = {name: self.ends(name)[0] for name in self.search}
        for name in self.search:
            for value in self.ends(name):
                point = {**first, name: value}
                try:
                    Vector(agent := make_agent(spec, seed=0, device="cpu", **point))
                except (TypeError, ValueError, AssertionError) as error:
                    words = ", ".join(f"{key}={said}" for key, said in point.items())
                    raise ValueError(
                        f"{self.key} must name settings of the agent, with values that it takes,"
                        f" not {words}: {error}"
                    ) from error
                if _shapes(agent) != like:
                    raise ValueError(
                        f"{self.key}.{name}={value} gives the agent tensors or columns of other"
                        " shapes, and members copy each other's: leave it out, and compare such"
                        f" runs by -m agent.{name}=..."
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
                    moved = math.ceil(moved) if moved > out[i] else math.floor(moved)
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
        low, high, whole = said["low"], said["high"], self._whole(said)
        end = high + 1 if whole else high  # each whole number has an interval of its own
        if said.get("log"):
            number = math.exp(math.log(low) + dice * (math.log(end) - math.log(low)))
        else:
            number = low + dice * (end - low)
        return float(min(max(math.floor(number) if whole else number, low), high))


def _has_range(said: Mapping[str, Any]) -> bool:
    low: Any = said.get("low")
    high: Any = said.get("high")
    log = said.get("log", False)
    if not {"low", "high"} <= {*said} <= {"low", "high", "log"} or not isinstance(log, bool):
        return False
    if not all(type(end) in (int, float) and math.isfinite(end) for end in (low, high)):
        return False
    return bool(low < high and (low > 0 or not log))


def _has_choices(said: Mapping[str, Any]) -> bool:
    choices: Any = said.get("choices")
    return {*said} == {"choices"} and _is_list(choices) and len(choices) > 0 and _plain(choices)


def _plain(value: Any) -> bool:
    if _is_list(value):
        return all(_plain(one) for one in value)
    return value is None or isinstance(value, bool | int | float | str)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _shapes(agent: Agent) -> Any:
    """What has to be the same where an agent takes another one's whole vector, and goes on with
    its own transitions."""
    tensors = {name: group.tensors for name, group in agent.groups.items()} | agent.slow
    shapes = {name: [tuple(t.shape) for t in of_one] for name, of_one in tensors.items()}
    return list(shapes.items()), agent.parts, agent.extras
