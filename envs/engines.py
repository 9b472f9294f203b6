"""EnvPool's envs, which step in C++ (Weng et al. 2022, arXiv:2206.10558), as a vector env.

EnvPool's envs are rewritten: close to Gymnasium's, not the same bits. Policies are therefore always
evaluated in Gymnasium's (rank None of `make_env`), and results of the two engines are not mixed.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from envs.racing.arrival import simulator
from envs.wrappers import onto, standard

ENGINES = ("gymnasium", "envpool", "vector", "arrival")
REFERENCE: Mapping[str, Any] = {
    "envpool": "gymnasium",
    "arrival": "vector",
}  # where policies are evaluated instead
INSTEAD = "choose env.engine=gymnasium"


class Pool(VectorEnv):
    """A pool of EnvPool's that the Actor cannot tell from Gymnasium's vector env.

    `like` is one bare Gymnasium env: its id, keywords, time limit and spaces are what the pool has
    to have, and it is closed. `seeds` is [num_envs, 2] as `make.spread` gives them. What EnvPool
    (1.2.5) does in its own way, and what becomes of it:
    - the bounds of Box2D observations leave out negative numbers: the spaces are `like`'s;
    - Box actions have the world's own bounds: they come in [-1, 1] and are clipped;
    - seeds belong to the pool: `reset(seed=...)` builds a new one;
    - NEXT_STEP is all it knows, as Gymnasium means it (reward 0, action ignored): the other modes
      are made of resets of single slots;
    - rewards are float32: they become float64; its infos number slots: they are left out;
    - it knows no repeated actions: slots whose episodes go on are stepped again;
    - an episode that terminates on the last step of its time limit says only that it was truncated:
      that stays, and the value of such a state is bootstrapped.
    Raises ValueError, in one sentence, if there is no such pool.
    """

    def __init__(
        self,
        like: gym.Env,
        *,
        seeds: np.ndarray,
        action_repeat: int = 1,
        autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP,
        threads: int = 1,
    ) -> None:
        id, options = known_as(like)
        limit = like.spec.max_episode_steps if like.spec is not None else None
        self._build = partial(build, id, options, limit=limit, threads=threads)
        self.seeds = [int(seed) for seed in seeds[:, 0]]
        self.pool = self._build(self.seeds)
        compare(id, like, self.pool)
        taken, seen = like.action_space, standard(like)
        self._onto = onto(taken)
        self.spec, self.num_envs, self.mode = like.spec, len(seeds), autoreset_mode
        self.repeat, self.over = action_repeat, np.zeros(len(seeds), bool)
        said = {"autoreset_mode": autoreset_mode, "action_repeat": action_repeat}
        self.metadata = {**like.metadata, **said}
        self.single_observation_space = seen.observation_space
        self.single_action_space = seen.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space.seed(int(seeds[0, 1]))
        self.action_space.seed(int(seeds[0, 1]))
        like.close()

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Obs [num_envs, ...]; new episodes in all slots, or in those of options["reset_mask"]."""
        if seed is not None:
            given = range(seed, seed + self.num_envs) if isinstance(seed, int) else seed
            both = zip(given, self.seeds, strict=True)
            self.seeds = [old if new is None else new for new, old in both]
            self.pool = self._build(self.seeds)
        if options and options.get("reset_mask") is not None:
            self._restart(options["reset_mask"])
        else:
            self.obs = self._seen(self.pool.reset()[0])
            self.over[:] = False
        return self.obs, {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        obs, reward, terminated, truncated = self._play(self._onto(actions))
        self.obs, info, over = self._seen(obs), {}, terminated | truncated
        self.over = over.copy()
        if self.mode == AutoresetMode.SAME_STEP and over.any():
            info = {"final_obs": self.obs, "_final_obs": over}
            self._restart(over)
        return self.obs, reward, terminated, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        self.pool.close()

    def _play(self, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Obs, reward, terminated and truncated of an action, which is repeated in the slots whose
        episodes go on: not in those that it ends, nor in those where it only begins another."""
        obs, reward, terminated, truncated = map(np.array, self.pool.step(actions)[:4])
        reward, going = reward.astype(np.float64), ~self.over
        for _ in range(self.repeat - 1):
            going &= ~(terminated | truncated)
            slots = np.flatnonzero(going).astype(np.int32)
            if not len(slots):
                break
            obs[slots], more, terminated[slots], truncated[slots], _ = self.pool.step(
                actions[slots], slots
            )
            reward[slots] += more
        return obs, reward, terminated, truncated

    def _restart(self, mask: np.ndarray) -> None:
        """New episodes in some slots, for which alone EnvPool answers; what others show stays."""
        self.obs, self.over = self.obs.copy(), self.over & ~mask
        self.obs[mask] = self._seen(self.pool.reset(np.flatnonzero(mask).astype(np.int32))[0])

    def _seen(self, obs: np.ndarray) -> np.ndarray:
        space = self.single_observation_space
        return obs.reshape(len(obs), *(space.shape or ())).astype(space.dtype, copy=False)


def check(engine: str, id: str) -> None:
    """Raises ValueError, in one sentence, for an engine that is not there, or not for an env of
    that id; imports nothing."""
    if engine not in ENGINES:
        raise ValueError(f"env.engine={engine!r} is not one of {', '.join(ENGINES)}")
    if engine == "envpool" and importlib.util.find_spec("envpool") is None:
        raise ValueError(
            "env.engine=envpool needs a package that is missing:"
            f" pip install 'paceline[envpool]', or {INSTEAD}"
        )
    if engine == "arrival":
        if id != "paceline/Race-v0":
            raise ValueError(f"env.engine=arrival: {id} is no race; choose env=race, or {INSTEAD}")
        simulator.check()


def vector_class(spec: gym.envs.registration.EnvSpec) -> Any:
    """The VectorEnv that an id has of its own. Raises ValueError if it has none, or one of which
    the Actor cannot ask a mode of autoreset."""
    entry: Any = spec.vector_entry_point
    if isinstance(entry, str):
        entry = gym.envs.registration.load_env_creator(entry)
    if entry is None or "autoreset_mode" not in inspect.signature(entry).parameters:
        raise ValueError(
            f"env.engine=vector: {spec.id} has no vector env of its own that takes autoreset_mode;"
            f" {INSTEAD}"
        )
    return entry


def arrival_class() -> Any:
    """The race whose car is that of a running Arrival simulator."""
    from envs.racing.arrival.race import ArrivalRace

    return ArrivalRace


def known_as(env: gym.Env) -> tuple[str, dict[str, Any]]:
    """The id under which EnvPool may know an env, and the keywords that are left for it.

    EnvPool has an id of its own for what Gymnasium can also make by a keyword: LunarLander-v3 with
    continuous=True is its LunarLanderContinuous-v3. Gymnasium registers those ids too.
    """
    spec = env.spec
    assert spec is not None, "an env that is made by an id has a spec"
    own = gym.registry[spec.id]
    for twin in (own, *gym.registry.values()):
        if twin.entry_point == spec.entry_point and twin.kwargs == spec.kwargs:
            return twin.id, {}
    return spec.id, {k: v for k, v in spec.kwargs.items() if (k, v) not in own.kwargs.items()}


def build(
    id: str, options: Mapping[str, Any], seeds: list[int], *, limit: int | None, threads: int
) -> Any:
    """EnvPool's own object. Raises ValueError for an id or options that it does not have."""
    import envpool  # takes seconds: it imports what all its worlds draw with

    known = envpool.list_all_envs()
    if id not in known:
        close = difflib.get_close_matches(id, known, n=3, cutoff=0.7)
        there = f" (it has {', '.join(close)})" if close else ""
        raise ValueError(f"env.engine=envpool has no {id}{there}; {INSTEAD}")
    limits = {} if limit is None else {"max_episode_steps": limit}
    sizes = {"num_envs": len(seeds), "num_threads": threads}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its spaces warn of their bounds when first asked for
            pool = envpool.make(
                id, env_type="gymnasium", seed=seeds, **sizes, **limits, **dict(options)
            )
            _ = pool.observation_space, pool.action_space
    except TypeError as error:
        raise ValueError(
            f"env.engine=envpool cannot make {id} with env.kwargs={dict(options)}; {INSTEAD}"
        ) from error
    return pool


def compare(id: str, like: gym.Env, pool: Any) -> None:
    """Raises ValueError where EnvPool's world shows or takes something else than Gymnasium's."""
    worlds = [(form(w.observation_space), form(w.action_space)) for w in (like, pool)]
    if worlds[0] != worlds[1]:
        wanted, found = (" and takes ".join(world) for world in worlds)
        raise ValueError(f"{id} of env.engine=envpool shows {found}, not {wanted}; {INSTEAD}")
    if not isinstance(like.observation_space, spaces.Box):
        raise ValueError(f"env.engine=envpool makes no vectors of {worlds[0][0]} ({id}); {INSTEAD}")


def form(space: gym.Space) -> str:
    """What has to be equal of two spaces, on one line: "Discrete(4)", "Box(8,)"."""
    if isinstance(space, spaces.Discrete):
        return str(space)  # with `start=`, where it is not 0
    return f"{type(space).__name__}{space.shape}"
