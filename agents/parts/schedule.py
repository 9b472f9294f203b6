"""What a learning rate is multiplied by as a run goes on."""

from __future__ import annotations

from dataclasses import dataclass

from agents.base import at_least


@dataclass(frozen=True)
class Line:
    """1 up to the share `hold` of the budget, `final` from the share `end` on, straight between."""

    hold: float = 0.0
    final: float = 1.0
    end: float = 1.0

    def __post_init__(self) -> None:
        at_least(0, "lr_schedule", final=self.final)
        if not 0 <= self.hold <= self.end:
            raise ValueError(
                f"lr_schedule.hold={self.hold} must lie in [0, lr_schedule.end={self.end}]"
            )

    def __call__(self, share: float) -> float:
        """share: of the env-step budget that is done, 0..1."""
        if share <= self.hold or self.final == 1:
            return 1.0
        along = (share - self.hold) / max(1e-9, self.end - self.hold)
        return 1 + (self.final - 1) * min(1.0, along)
