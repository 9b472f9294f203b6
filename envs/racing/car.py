"""A car as a dynamic bicycle, many of them side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

GRAVITY = 9.81


@dataclass(frozen=True)
class Vehicle:
    """The numbers of a car, in SI units; devbot.yaml has them, with their sources."""

    mass: float
    yaw_inertia: float
    front: float
    rear: float
    height: float
    drag: float
    downforce_front: float
    downforce_rear: float
    rolling_resistance: float
    power: float
    drive_force: float
    brake: float
    brake_front: float
    steering: float
    steering_lag: float
    steering_rate: float
    pedal_lag: float
    stiffness_front: float
    stiffness_rear: float
    shape: float
    friction_front: float
    friction_rear: float
    nominal_load: float
    load_dependence: float
    brake_share: float
    length: float
    width: float

    @classmethod
    def load(cls, changes: Mapping[str, float] | None = None) -> Vehicle:
        """The DevBot 2.0, with some of its numbers changed. Raises ValueError for a name that it
        does not have and for a value that is no positive number."""
        text = Path(__file__).with_name("devbot.yaml").read_text("utf-8")
        numbers = {name: float(value) for name, value in yaml.safe_load(text).items()}
        for name, value in (changes or {}).items():
            if name not in numbers:
                known = ", ".join(f.name for f in fields(cls))
                raise ValueError(f"vehicle.{name} is no number of a car; it has {known}")
            if not isinstance(value, int | float) or not (value > 0 or name == "load_dependence"):
                raise ValueError(f"vehicle.{name}={value} must be a positive number")
            numbers[name] = float(value)
        return cls(**numbers)

    @property
    def wheelbase(self) -> float:
        """Metres between the axles."""
        return self.front + self.rear
