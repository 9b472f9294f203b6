"""Learn-to-Race as one vector env: many cars, each alone on a road, ten control steps a second."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.racing import rules, sight
from envs.racing.car import MOST_SUBSTEP, Cars, Vehicle
from envs.racing.circuits import named
from envs.racing.metrics import Trace, measure
from envs.racing.referee import Referee
from envs.racing.road import Place, Roads
from envs.racing.tape import Tape
from envs.racing.track import Track

Stepped = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]
SECONDS = 0.1  # of a control step, simulated
OBSERVATIONS = ("vector",)
STARTS = ("anywhere", "grid")
GRID_SHARE = 0.2  # of the episodes that may begin anywhere


class Race(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """`num_envs` cars that do not see each other, each on a track of its own.

    track: thruxton, anglesey, oval, chicane or random, or a list of them; circuits: the seeds of
    the random circuits, from the first to before the second. A slot goes on to the next track with
    every episode, from the slot's own number on. start: "grid", at rest on the start line (slot 0
    exactly, the others within 1 m and about 1 degree), or "anywhere": one in five on the grid, the
    others spread over the track at up to 1.2 times the speed that the bends allow. seconds: of
    simulated time, after which an episode is truncated; max_episode_steps, if given, is the same in
    env steps. laps: the episode terminates after so many; None: it goes on.

    observation: "vector", see sight.py. action: "assisted" or "source", and reward: "progress",
    "granturismo" or "custom", see rules.py. An episode terminates when more than one corner of the
    car is outside the road, and when it has moved less than 2 m in 5 s. metrics: `info["metrics"]`
    has the metrics of metrics.py, float64 [num_envs] each, where `info["_metrics"]` is True: in the
    slots whose episodes end. vehicle: numbers of devbot.yaml to change. substep: see car.Cars.
    action_repeat: control steps of an action; rewards are summed.

    All three autoreset modes of Gymnasium are there. Raises ValueError, in one sentence, for values
    that are not there.
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
        action: str = "assisted",
        reward: str = "progress",
        metrics: bool = False,
        vehicle: Mapping[str, float] | None = None,
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
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (sight.SIZE,), np.float32)
        self.single_action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.referee = Referee(self.roads, self.vehicle, num_envs, seconds=SECONDS)
        self.rngs = [np.random.default_rng() for _ in range(num_envs)]
        self.turn = np.arange(num_envs) - 1  # the number of each slot's episode, from its own on
        self.steps, self.ended = np.zeros(num_envs, np.int64), np.zeros(num_envs, bool)
        self.tape = Tape(self.limit, num_envs) if metrics or render_mode else None

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
                info["final_obs"], info["_final_obs"] = self.observe(), over
                self._begin(np.flatnonzero(over))
        return self.observe(), reward, terminated, truncated, info

    def observe(self) -> np.ndarray:
        """What every slot shows now."""
        return sight.vector(self.cars, self.roads, self.referee.which, self.referee.place)

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
        drawn = np.array([self._start(s, int(w)) for s, w in zip(slots, which, strict=True)])
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

    def _start(self, slot: int, which: int) -> tuple[float, ...]:
        """Where an episode begins: (sample, metres to the left, radians off the road's direction,
        share of the speed that the bends allow, 1 on the grid)."""
        rng = self.rngs[slot]
        if self.start == "grid" or rng.random() < GRID_SHARE:
            if self.start == "grid" and slot == 0:
                return 0, 0.0, 0.0, 0.0, 1
            return 0, rng.uniform(-1.0, 1.0), math.radians(rng.normal()), 0.0, 1
        index = int(rng.integers(self.roads.size[which]))
        left, right = self.roads.edges(np.array(which), np.array(index))
        room = 0.8 * float(min(left, right) - 0.5 * self.vehicle.width)
        return index, rng.uniform(-room, room), rng.normal(0.0, 0.08), rng.uniform(0.0, 1.2), 0

    def _measured(self, slots: np.ndarray) -> dict[str, np.ndarray]:
        """The metrics of the episodes that have ended in some slots; NaN in the others."""
        rows = [measure(self.trace(s), self.tracks[self.referee.which[s]]) for s in slots]
        columns = {name: np.full(self.num_envs, np.nan) for name in rows[0]}
        for slot, row in zip(slots, rows, strict=True):
            for name, value in row.items():
                columns[name][slot] = value
        return columns


def chosen(track: str | Sequence[str], circuits: Sequence[int]) -> list[Track]:
    """The tracks that names stand for; "random" for as many as `circuits` has seeds."""
    if len(circuits) != 2 or not 0 <= circuits[0] < circuits[1]:
        raise ValueError(f"circuits={[*circuits]} must be two seeds, the first and one beyond")
    tracks = []
    for name in [track] if isinstance(track, str) else track:
        seeds = range(*circuits) if name == "random" else range(1)
        tracks += [named(name, seed) for seed in seeds]
    if not tracks:
        raise ValueError("track=[] must name a track")
    return tracks


def described(limit: int) -> gym.envs.registration.EnvSpec:
    """The registered entry, with the time limit that an env has."""
    spec = copy.copy(gym.spec("paceline/Race-v0"))
    spec.max_episode_steps = limit
    return spec
