"""From an id to a vector of envs, each with its own random stream; and from an env to a Spec."""

from __future__ import annotations

import copy as copying
import difflib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import gymnasium as gym
import numpy as np
from annotated_types import Ge, Le
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import TransformReward

import envs.racing as racing  # noqa: F401  (registers them, as the next line does)
import envs.toys as toys  # noqa: F401
from envs import engines
from envs.latents import Latents, Readers
from envs.rebuilt import Rebuilt
from envs.stack import Stack
from envs.wrappers import ActionRepeat, standard

if TYPE_CHECKING:
    from agents.base import Spec

gym.register("paceline/Atari-v0", "envs.atari:Atari")
gym.register("paceline/CarRacing-v0", "envs.carracing:CarRacing", max_episode_steps=1000)


def make_env(
    id: str,
    *,
    num_envs: int = 1,
    seed: int = 0,
    rank: int | None = 0,
    max_episode_steps: Annotated[int, Ge(1)] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    reference: Mapping[str, Any] | None = None,
    per_worker: Sequence[Mapping[str, Any]] | None = None,
    action_repeat: Annotated[int, Ge(1), Le(1000)] = 1,
    stack: Annotated[int, Ge(1), Le(64)] = 1,
    sign_rewards: bool = False,
    engine: Literal["gymnasium", "envpool", "vector", "arrival"] = "gymnasium",
    reference_engine: Literal["gymnasium", "envpool", "vector", "arrival"] | None = None,
    encoder: Readers = None,
    threads: int = 1,
    autoreset: str = "next_step",
    copy: bool = True,
) -> VectorEnv:
    """`num_envs` copies of one env, stepped one after another in this process.

    `id` may be "module:EnvId": the module is imported first. Worker `rank` gets the keywords
    `kwargs`, updated with `per_worker[rank % len(per_worker)]`. Rank None is the reference env, in
    which policies are evaluated: `kwargs` updated with `reference`, and `reference_engine`, or
    without one Gymnasium where the `engine` is envpool, and vector where it is arrival. `threads`
    are EnvPool's. The engine vector is for ids with a `vector_entry_point` of their own, whose
    copies are stepped side by side; arrival drives the one car of a running simulator.
    Each action is played for `action_repeat` steps, in the reference env too; rewards are summed.
    Images are shown as the latents that `encoder()` makes of them (envs/latents.py), and what is
    shown are the last `stack` observations side by side (envs/stack.py). With `sign_rewards`
    workers see the signs of the summed rewards, and the reference env says what they are.
    The first plain `reset()` uses the seeds of `spread(seed, rank, num_envs)`; later ones go on
    from there. With `copy=False` the observations of a step may be overwritten by the next one.
    Raises ValueError, in one sentence, for an id, a module or keywords that do not work.
    """
    spec = look_up(id)
    engines.check(engine, spec.id)
    if rank is None:
        engine = reference_engine or engines.REFERENCE.get(engine, engine)
        engines.check(engine, spec.id)
    modes = {mode.name.lower(): mode for mode in AutoresetMode}
    if autoreset not in modes:
        raise ValueError(f"env.make.autoreset={autoreset!r} is not one of {', '.join(modes)}")
    if num_envs < 1:
        raise ValueError(f"num_envs={num_envs} must be at least 1, the number of envs of a worker")
    if action_repeat < 1:
        raise ValueError(
            f"env.action_repeat={action_repeat} must be at least 1, the steps of an action"
        )
    if stack < 1:
        raise ValueError(f"env.stack={stack} must be at least 1, the observations shown at once")
    arguments = dict(kwargs or {})
    if rank is None:
        arguments.update(reference or {})
    elif per_worker:
        arguments.update(per_worker[rank % len(per_worker)])
    if engine == "arrival" and num_envs > 1:
        raise ValueError(
            f"num_envs={num_envs} must be 1 with env.engine=arrival: a simulator has one car"
        )
    if engine == "arrival" and rank and rank >= len(per_worker or ()):
        raise ValueError(
            "env.engine=arrival: a simulator has one car: set workers=1, or name a simulator for"
            " each worker by env.per_worker=[{arrival: {host: NAME}}, ...]"
        )
    seeds, mode = spread(seed, rank, num_envs), modes[autoreset]

    def bare() -> gym.Env:
        return build_one(spec, arguments, max_episode_steps)

    def one() -> gym.Env:
        return standard(bare() if action_repeat == 1 else ActionRepeat(bare(), action_repeat))

    made: VectorEnv
    if engine in ("vector", "arrival"):
        own = engines.vector_class(spec) if engine == "vector" else engines.arrival_class()
        arguments |= {"action_repeat": action_repeat, "autoreset_mode": mode}
        with refusals(spec, spec.vector_entry_point, arguments):
            made = SeededVector(
                own(num_envs=num_envs, max_episode_steps=max_episode_steps, **arguments), seeds
            )
    elif engine == "envpool":
        made = engines.Pool(
            bare(), seeds=seeds, action_repeat=action_repeat, autoreset_mode=mode, threads=threads
        )
    else:
        copy = copy and stack == 1 and encoder is None  # stacks and latents are copies themselves
        made = SeededVectorEnv([one] * num_envs, seeds=seeds, copy=copy, autoreset_mode=mode)
        made.metadata = {**made.metadata, "action_repeat": action_repeat}
    if sign_rewards and rank is not None:
        made = TransformReward(made, np.sign)
    if encoder is not None:
        made = Latents(made, encoder())
    return made if stack == 1 else Stack(made, stack)


class SeededVector(VectorWrapper):
    """A vector env whose first `reset()` without a seed uses the seeds it was given, [num_envs, 2]:
    each slot's own, and its spaces'."""

    def __init__(self, env: VectorEnv, seeds: np.ndarray) -> None:
        super().__init__(env)
        self._seeds: list[int] | None = [int(seed) for seed in seeds[:, 0]]
        for space in (env.action_space, env.observation_space):
            space.seed(int(seeds[0, 1]))

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        seed, self._seeds = self._seeds if seed is None else seed, None
        return self.env.reset(seed=seed, options=options)


class SeededVectorEnv(SyncVectorEnv):
    """Gymnasium's SyncVectorEnv whose first `reset()` without a seed uses the seeds it was given,
    and of which an env that raises is rebuilt alone (see `Rebuilt`).

    `seeds` is [num_envs, 2]: each env's own seed, and its spaces'. What the vector costs beside
    its envs was measured as 9, 3 and 2 us an env step for 1, 4 and 8 envs.
    """

    def __init__(
        self, env_fns: Sequence[Callable[[], gym.Env]], *, seeds: np.ndarray, **options: Any
    ) -> None:
        super().__init__([partial(Rebuilt, make) for make in env_fns], **options)
        self.spec = self.envs[0].spec
        self._seeds: list[int | None] | None = [int(seed) for seed in seeds[:, 0]]
        for env, (_, seed) in zip(self.envs, seeds, strict=True):
            env.action_space.seed(int(seed))
            env.observation_space.seed(int(seed))
        self.action_space.seed(int(seeds[0, 1]))
        self.observation_space.seed(int(seeds[0, 1]))

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        if seed is None:
            seed = self._seeds
        self._seeds = None
        return super().reset(seed=seed, options=options)


def spread(seed: int, rank: int | None, num_envs: int) -> np.ndarray:
    """Seeds [num_envs, 2] below 2^31 (some engines want int32): each env's own, and its spaces'.

    They differ for every (seed, rank, slot); a slot's do not depend on how many there are.
    """
    key = 0 if rank is None else rank + 1
    words = np.random.SeedSequence(seed, spawn_key=(key,)).generate_state(2 * num_envs)
    return (words >> 1).reshape(num_envs, 2)


def look_up(id: str) -> gym.envs.registration.EnvSpec:
    """The registered entry of an id, without Gymnasium's order-enforcing wrapper."""
    module, _, name = id.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ValueError(
                f"env.id={id!r}: the module {module!r} cannot be imported ({error}); "
                "install the package that has it, or correct env.id"
            ) from error
    if name not in gym.registry:
        known = {key.lower(): key for key in gym.registry}
        close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        hint = 'ids of other packages are written as "module:EnvId"'
        if close:
            hint = f"did you mean {' or '.join(known[key] for key in close)}?"
        raise ValueError(f"env.id={id!r} is not registered in Gymnasium; {hint}")
    spec = copying.copy(gym.registry[name])
    spec.order_enforce = False
    return spec


def build_one(
    spec: gym.envs.registration.EnvSpec, kwargs: dict[str, Any], max_episode_steps: int | None
) -> gym.Env:
    """One bare env with its time limit, without Gymnasium's checking wrappers."""
    with refusals(spec, spec.entry_point, kwargs):
        return gym.make(
            spec, max_episode_steps=max_episode_steps, disable_env_checker=True, **kwargs
        )
    raise AssertionError("refusals raises")


@contextmanager
def refusals(
    spec: gym.envs.registration.EnvSpec, creator: Any, kwargs: Mapping[str, Any]
) -> Iterator[None]:
    """Raises ValueError, in one sentence, for what an env's constructor raises in the block."""
    try:
        yield
    except (gym.error.DependencyNotInstalled, ImportError) as error:
        raise ValueError(f"env.id={spec.id} needs a package that is missing: {error}") from error
    except (TypeError, ValueError, AssertionError) as error:
        reason = str(error).split(" was raised from the environment creator")[0]
        raise ValueError(
            f"{spec.id} refuses env.kwargs={dict(kwargs)}: {reason};"
            f" it takes {', '.join(takes(creator))}"
        ) from error


def takes(creator: Any) -> list[str]:
    """The keywords of an env's constructor, which may be given as "module:name"."""
    if isinstance(creator, str):
        creator = gym.envs.registration.load_env_creator(creator)
    return list(inspect.signature(creator).parameters) if creator else []


def describe(make_env: Callable[..., VectorEnv], threshold: float | None = None) -> Spec:
    """What the reference env of a factory says of itself; builds one env and closes it."""
    from agents.base import ROW, Key, Spec  # imports torch, which composing a config does not need

    env = make_env(num_envs=1, seed=0, rank=None)
    try:
        spaces = {"obs": env.single_observation_space, "action": env.single_action_space}
        for what, space in spaces.items():
            if 0 in (space.shape or ()):
                raise ValueError(f"its {what} has no numbers ({space}): see env.kwargs")
        keys = {
            key: Key(shape=tuple(space.shape or ()), dtype=np.dtype(space.dtype).name)
            for key, space in spaces.items()
        }
        limit = env.spec.max_episode_steps if env.spec is not None else None
        repeat, stack = (env.metadata.get(key, 1) for key in ("action_repeat", "stack"))
    finally:
        env.close()
    return Spec(
        observation_space=spaces["obs"],
        action_space=spaces["action"],
        threshold=threshold,
        max_episode_steps=limit,
        action_repeat=repeat,
        stack=stack,
        keys={**ROW, **keys},
    )
