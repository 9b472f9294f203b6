"""Learn-to-Race as one vector env: many cars, each alone on a road, ten control steps a second."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.racing import rules
from envs.racing.car import MOST_SUBSTEP, Cars, Vehicle
from envs.racing.circuits import chosen
from envs.racing.metrics import Trace, measure
from envs.racing.picture import picture
from envs.racing.referee import Referee
from envs.racing.road import Place, Roads
from envs.racing.screen import Screen
from envs.racing.senses import OBSERVATIONS, sense
from envs.racing.starts import STARTS, start_of
from envs.racing.tape import Tape

Stepped = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]
SECONDS = 0.1  # of a control step, simulated


class Race(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """`num_envs` cars that do not see each other, each on a track of its own.

    track: thruxton, anglesey, oval, chicane or random, also with "_mirrored", or a list of them;
    circuits: the seeds of the random circuits, from the first to before the second. A slot goes on
    to the next track with every episode, from the slot's own number on. start: "grid", at rest on
    the start line (slot 0 exactly, the others within 1 m and about 1 degree), or "anywhere": one in
    five on the grid, the others spread over the track at up to 1.2 times the speed that the bends
    allow. seconds: of simulated time, after which an episode is truncated; max_episode_steps, if
    given, is the same in env steps. laps: the episode terminates after so many; None: it goes on.

    observation: "vector", "pose" or "camera", see senses.py; view_height, rays: see camera.Camera;
    encoder: a file of vae.py, whose latents are then shown. action: "assisted" or "source", and
    reward: "progress", "granturismo" or "custom", see rules.py. An episode terminates when more
    than one corner of the car is outside the road, and when it has moved less than 2 m in 5 s.
    metrics: `info["metrics"]` has the metrics of metrics.py, float64 [num_envs] each, where
    `info["_metrics"]` is True: in the slots whose episodes end. vehicle: numbers of devbot.yaml to
    change. substep: see car.Cars. arrival: where the simulator is that env.engine=arrival drives
    instead, see arrival.simulator. action_repeat: control steps of an action; rewards are summed.

    All three autoreset modes of Gymnasium are there. Raises ValueError for values that are not.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        track: str | Sequence[str] = "chicane",
        circuits: Sequence[int] = (0, 24),
        start: str = "anywhere",
        seconds: float = 40.0,
        laps: int | None = None,
        observation: str = "vector",
        encoder: str | None = None,
        view_height: int = 42,
        rays: int = 1,
        action: str = "assisted",
        reward: str = "progress",
        metrics: bool = False,
        vehicle: Mapping[str, float] | None = None,
        arrival: Mapping[str, Any] | None = None,
        substep: float = MOST_SUBSTEP,
        action_repeat: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        for key, value, known in (
            ("start", start, STARTS),
            ("observation", observation, OBSERVATIONS),
            ("action", action, rules.ACTIONS),
            ("reward", reward, rules.REWARDS),
        ):
            if value not in known:
                raise ValueError(f"{key}={value!r} is not one of {', '.join(known)}")
        rules.lasts(seconds, laps)
        self.num_envs, self.mode, self.render_mode = num_envs, autoreset_mode, render_mode
        self.start, self.laps, self.observation = start, laps, observation
        self.action, self.reward, self.repeat = action, reward, action_repeat
        self.vehicle = Vehicle.load(vehicle)
        self.tracks = chosen(track, circuits)
        self.roads = Roads(self.tracks, self.vehicle)
        self.cars = Cars(self.vehicle, num_envs, substep=substep)
        self.limit = max_episode_steps or max(1, round(seconds / SECONDS))
        self.metadata = {
            "render_modes": ["rgb_array"],
            "render_fps": round(1 / SECONDS),
            "autoreset_mode": autoreset_mode,
            "action_repeat": action_repeat,
        }
        self.spec = described(self.limit)
        self.sense = sense(
            observation, self.roads, encoder=encoder, view_height=view_height, rays=rays
        )
        self.single_observation_space = self.sense.space
        self.single_action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.referee = Referee(self.roads, self.vehicle, num_envs, seconds=SECONDS)
        self.rngs = [np.random.default_rng() for _ in range(num_envs)]
        self.turn = np.arange(num_envs) - 1  # the number of each slot's episode, from its own on
        self.steps, self.ended = np.zeros(num_envs, np.int64), np.zeros(num_envs, bool)
        self.tape = Tape(self.limit, num_envs) if metrics or render_mode else None
        self._screen = Screen(self.vehicle)

    @property
    def which(self) -> np.ndarray:
        """The number of each car's track: int64 [num_envs]."""
        return self.referee.which

    @property
    def index(self) -> np.ndarray:
        """The nearest sample of each car's centreline: int64 [num_envs]."""
        return self.referee.place.sample

    @property
    def lateral(self) -> np.ndarray:
        """Metres to the left of the centreline: float64 [num_envs]."""
        return self.referee.place.lateral

    @property
    def clock(self) -> np.ndarray:
        """Simulated seconds since each slot's episode began: float64 [num_envs]."""
        return self.steps * SECONDS

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """New episodes in all slots, or in those of options["reset_mask"]. A seed, or a list of
        one for each slot, makes what follows the same every time."""
        mask = np.ones(self.num_envs, bool)
        if options and options.get("reset_mask") is not None:
            mask = np.asarray(options["reset_mask"], bool)
        if seed is not None:
            seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
            for slot, own in enumerate(seeds):
                if own is not None and mask[slot]:
                    self.rngs[slot] = np.random.default_rng(own)
                    self.turn[slot] = slot - 1
        self._begin(np.flatnonzero(mask))
        return self.observe(), {}

    def step(self, actions: np.ndarray) -> Stepped:
        """One action for every slot, [num_envs, 2] in [-1, 1]: steering, positive to the left, and
        pedals, positive to drive."""
        idle = self.ended if self.mode == AutoresetMode.NEXT_STEP else np.zeros_like(self.ended)
        reward, terminated, truncated = self._play(actions, idle)
        if idle.any():
            self._begin(np.flatnonzero(idle))
        self.ended = terminated | truncated
        info: dict[str, Any] = {}
        if self.ended.any():
            over = self.ended.copy()
            if self.tape is not None:
                info["metrics"], info["_metrics"] = self._measured(np.flatnonzero(over)), over
            if self.mode == AutoresetMode.SAME_STEP:
                obs = info["final_obs"] = self.observe()
                info["_final_obs"], slots = over, np.flatnonzero(over)
                self._begin(slots)
                obs = obs.copy()
                obs[slots] = self.sense.observe(self.cars, self.referee, slots)
                return obs, reward, terminated, truncated, info
        return self.observe(), reward, terminated, truncated, info

    def observe(self) -> np.ndarray:
        """What every slot shows now."""
        return self.sense.observe(self.cars, self.referee)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """A picture of each car, uint8 [540, 960, 3], see view.Frames; None without a render mode.
        Raises ModuleNotFoundError without pygame."""
        if self.render_mode is None:
            return None
        clocks = self.referee.lap_clock(self.steps)
        return tuple(
            self._screen.frame(
                slot, self.tracks[self.which[slot]], self.cars, self.trace(slot), clocks[slot]
            )
            for slot in range(self.num_envs)
        )

    def picture(self, path: Path) -> None:
        """Draws the fastest lap of slot 0, as PNG or SVG: see picture.picture."""
        picture(self.tracks[self.which[0]], [self.trace(0)], path)

    def trace(self, slot: int) -> Trace:
        """The episode of a slot so far; the env has to be made with metrics or a render mode."""
        assert self.tape is not None, "no episode is kept: make the env with metrics=True"
        referee = self.referee
        return self.tape.trace(
            slot,
            int(self.steps[slot]),
            dt=SECONDS,
            laps=int(referee.laps[slot]),
            lap_times=tuple(referee.lap_times[slot]),
            infractions=int(referee.outside[slot] > 1),
        )

    def _play(
        self, actions: np.ndarray, idle: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reward, terminated and truncated of an action, which is held for `repeat` control steps
        or to the episode's end. Slots of `idle` have no episode: their reward is 0."""
        total, over = np.zeros(self.num_envs), idle.copy()
        terminated, truncated = np.zeros((2, self.num_envs), bool)
        for _ in range(self.repeat):
            reward, ends, expires = self._control_step(actions, over)
            total += reward
            terminated |= ends
            truncated |= expires & ~ends
            over |= terminated | truncated
        return total, terminated, truncated

    def _control_step(
        self, actions: np.ndarray, over: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """0.1 s: reward, terminated and truncated. The slots of `over` stand still meanwhile."""
        held, referee = np.flatnonzero(over), self.referee
        state = self.cars.state[:, held].copy()
        speed = self.cars.speed
        self._drive(actions)
        self.cars.state[:, held] = state
        self.steps += ~over
        moved = referee.follow(self.cars, self.steps)
        if self.tape is not None:
            self.tape.note(self.steps, self.cars, referee)
        crashed, stuck = (referee.outside > 1) & ~over, referee.stuck(self.steps) & ~over
        done = over & False if self.laps is None else (referee.laps >= self.laps) & ~over
        reward = rules.reward(
            self.reward, moved, speed, referee.place.lateral, crashed, stuck & ~crashed
        )
        reward[held] = 0.0
        return reward, crashed | stuck | done, (self.steps >= self.limit) & ~over

    def _drive(self, actions: np.ndarray) -> None:
        """Moves the cars by one control step."""
        asked = rules.asked(self.action, actions, self.cars.speed, self.vehicle)
        self.cars.step(*asked, SECONDS)

    def _begin(self, slots: np.ndarray) -> None:
        """New episodes in some slots."""
        self.turn[slots] += 1
        which = self.turn[slots] % len(self.tracks)
        drawn = np.array(
            [
                start_of(self.start, self.rngs[slot], slot, int(track), self.roads)
                for slot, track in zip(slots, which, strict=True)
            ]
        )
        index, lateral, angle, speed, grid = drawn.T
        index = index.astype(np.int64)
        at, roads = self.roads.offset[which] + index, self.roads
        self._place(
            slots,
            roads.x[at] - lateral * roads.sin[at],
            roads.y[at] + lateral * roads.cos[at],
            roads.heading[at] + angle,
            speed * roads.profile[at],
        )
        place = Place(index, np.zeros(len(slots)), lateral)
        self.referee.begin(slots, which, place, grid.astype(bool))
        self.steps[slots], self.ended[slots] = 0, False
        if self.tape is not None:
            self.tape.note(self.steps, self.cars, self.referee)

    def _place(
        self, slots: np.ndarray, x: np.ndarray, y: np.ndarray, yaw: np.ndarray, speed: np.ndarray
    ) -> None:
        """Puts cars where their episodes begin."""
        self.cars.place(slots, x, y, yaw, speed)

    def _measured(self, slots: np.ndarray) -> dict[str, np.ndarray]:
        """The metrics of the episodes that have ended in some slots; NaN in the others."""
        rows = [measure(self.trace(s), self.tracks[self.referee.which[s]]) for s in slots]
        columns = {name: np.full(self.num_envs, np.nan) for name in rows[0]}
        for slot, row in zip(slots, rows, strict=True):
            for name, value in row.items():
                columns[name][slot] = value
        return columns


def described(limit: int) -> gym.envs.registration.EnvSpec:
    """The registered entry, with the time limit that an env has."""
    spec = copy.copy(gym.spec("paceline/Race-v0"))
    spec.max_episode_steps = limit
    return spec
