"""Learn-to-Race: cars on real and made circuits.

`import envs.racing` registers paceline/Race-v0 with Gymnasium: `gymnasium.make` gives one car,
`gymnasium.make_vec` many side by side. The keywords are those of world.Race.
"""

from __future__ import annotations

import gymnasium as gym

gym.register(
    "paceline/Race-v0",
    entry_point="envs.racing.single:RaceEnv",
    vector_entry_point="envs.racing.world:Race",
)
