"""Games of the Arcade Learning Environment (Bellemare et al. 2013, arXiv:1207.4708) as pictures,
prepared as in Mnih et al. 2015, "Human-level control through deep reinforcement learning".

Needs ale-py, which is under GPL-2.0: pip install 'paceline[atari]'.
"""

from __future__ import annotations

import difflib
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from envs.toys import counts


class Atari(gym.Env):
    """One game. A step is a frame of 1/60 s; obs uint8 [size, size, 1], or 3 channels if not
    `grey`; the reward is the score.

    game: the name of a ROM, as "breakout" or "ms_pacman". noops: a game begins with 1 to `noops`
    frames of doing nothing, or with none if it is 0. fire: where the game has that button, the
    first frame of a game and the first after a life is lost play FIRE, whatever the action, so that
    a policy need not learn to serve. life_loss: a lost life terminates the episode; the next one
    goes on with the same game, unless it is reset with a seed. sticky: the probability with which
    the emulator repeats the last action instead (Machado et al. 2018, arXiv:1709.06009).

    `left` is set by ActionRepeat (envs/wrappers.py): how many steps of the same action follow this
    one. A step that others follow shows the picture from before; the last one shows the maximum of
    the action's last two frames, as sprites flicker. An action that ends an episode within shows
    its last frame. Pictures are shrunk by areas, as OpenCV's INTER_AREA does.

    Raises DependencyNotInstalled without ale-py, ValueError for a game that there is not.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 60}  # noqa: RUF012  (Gymnasium's own)

    def __init__(
        self,
        game: str,
        size: int = 84,
        grey: bool = True,
        noops: int = 30,
        fire: bool = False,
        life_loss: bool = False,
        sticky: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        counts(size=size)
        counts(0, noops=noops)
        if not 0 <= sticky <= 1:
            raise ValueError(f"env.kwargs.sticky={sticky} must lie in [0, 1], a probability")
        self.emulator = emulator(game, "grayscale" if grey else "rgb", sticky, render_mode)
        self.ale, self.render_mode = self.emulator.ale, render_mode
        self.noops, self.life_loss = noops, life_loss
        self.buttons = [*self.ale.getMinimalActionSet()]
        names = self.emulator.get_action_meanings()
        self.fire = self.buttons[names.index("FIRE")] if fire and "FIRE" in names else None
        shape = self.emulator.observation_space.shape
        assert shape is not None
        self.frames = np.zeros((2, *shape), np.uint8)  # the last one, and the one before
        self.read = self.ale.getScreenGrayscale if grey else self.ale.getScreenRGB
        self.down, self.across = shares(shape[0], size), shares(shape[1], size).T
        self.observation_space = spaces.Box(0, 255, (size, size, 1 if grey else 3), np.uint8)
        self.action_space = spaces.Discrete(len(self.buttons))
        self.left = self.lives = 0
        self.goes_on = self.serves = self.flickers = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new game, or after a lost life one frame of doing nothing. Without a seed the random
        stream goes on."""
        super().reset(seed=seed)
        if self.goes_on and seed is None:
            self.ale.act(self.buttons[0])
        if not self.goes_on or seed is not None or self.ale.game_over():
            self._begin(seed)
        self.goes_on, self.serves, self.lives = False, True, self.ale.lives()
        return self.look(), {"lives": self.lives}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        serving, self.serves = self.serves and self.fire is not None, False
        reward = self.ale.act(self.fire if serving else self.buttons[int(action)])
        over, lives = self.ale.game_over(), self.ale.lives()
        self.serves = 0 < lives < self.lives  # 0: some games go on for a few frames
        self.goes_on, self.lives = self.serves and self.life_loss and not over, lives
        if self.left == 1:
            self.read(self.frames[1])
            self.flickers = True
        elif not self.left:
            self.look()
        return self.shown, float(reward), over or self.goes_on, False, {"lives": lives}

    def look(self) -> np.ndarray:
        """The picture as it is now, an array of its own."""
        self.read(self.frames[0])
        frame = self.frames.max(0) if self.flickers else self.frames[0]
        self.flickers = False
        planes = np.moveaxis(np.atleast_3d(frame), -1, 0).astype(np.float32)
        small = np.rint(self.down @ planes @ self.across).astype(np.uint8)
        self.shown = np.ascontiguousarray(np.moveaxis(small, 0, -1))
        return self.shown

    def render(self) -> Any:
        return self.emulator.render()

    def close(self) -> None:
        self.emulator.close()

    def _begin(self, seed: int | None) -> None:
        self.emulator.reset(seed=seed)
        count = int(self.np_random.integers(1, self.noops + 1)) if self.noops else 0
        for _ in range(count):
            self.ale.act(self.buttons[0])
            if self.ale.game_over():
                self.emulator.reset()


def emulator(game: str, obs_type: str, sticky: float, render_mode: str | None) -> Any:
    """ale-py's own env, one frame a step. Raises as Atari does."""
    try:
        from ale_py import ALEInterface, LoggerMode, roms
        from ale_py.env import AtariEnv
    except ImportError as error:
        raise gym.error.DependencyNotInstalled(
            "pip install 'paceline[atari]' (ale-py, which is under GPL-2.0)"
        ) from error
    known = roms.get_all_rom_ids()
    if game not in known:
        close = difflib.get_close_matches(game.lower().replace("-", "_"), known, n=3, cutoff=0.5)
        raise ValueError(f"env.kwargs.game={game!r} is none of ale-py's; {or_(close)}")
    ALEInterface.setLoggerMode(LoggerMode.Error)  # or each env says which version it is
    return AtariEnv(
        game,
        obs_type=obs_type,
        frameskip=1,
        repeat_action_probability=sticky,
        render_mode=render_mode,
    )


def or_(close: list[str]) -> str:
    if not close:
        return "they are written as breakout or ms_pacman"
    return f"did you mean {' or '.join(close)}?"


def shares(size: int, smaller: int) -> np.ndarray:
    """Which share of each of `size` pixels lies in each of `smaller` ones: float32 [smaller, size],
    rows that sum to 1."""
    edges = np.arange(smaller + 1) * (size / smaller)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(size)
    inside = np.minimum(high, pixel + 1) - np.maximum(low, pixel)
    return (np.maximum(inside, 0) * (smaller / size)).astype(np.float32)
