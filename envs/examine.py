"""What is wrong with an environment of one's own, in sentences: played for a few hundred steps.

    for sentence in examine(lambda: gym.make("mine:World-v0")): print(sentence)

Some of it is Gymnasium's own check, some of it what no check of single steps can see.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from envs.played import Played, flat, play, same
from envs.wrappers import arrays, dotted, is_image, left_out

STEPS = 2000  # of play at the most
SLOW = 2000.0  # steps a second, above which an env is seldom what a run waits for
LARGE = 100.0  # of an observation or reward, beyond which networks learn badly
ALIKE = 5  # episodes of one length that make a time limit likely


def examine(make: Callable[[], gym.Env], steps: int = STEPS) -> Iterator[str]:
    """Sentences on what is wrong or unwise about an env, then one on its speed. What the env itself
    raises is passed on."""
    env = make()
    yield from of_spaces(env)
    yield from said_by_gymnasium(make())
    yield from of_seeds(make)
    played = play(env, steps)
    yield from played.wrong.values()
    yield from of_ends(env, played)
    yield from of_sizes(played)
    yield of_speed(played)
    env.close()


def of_spaces(env: gym.Env) -> Iterator[str]:
    """What the spaces say before anything is played."""
    shown, taken = env.observation_space, env.action_space
    for path, part in arrays(shown):
        if not isinstance(part, spaces.Box):
            continue
        floats, axes = np.issubdtype(part.dtype, np.floating), len(part.shape)
        pictures = f"pictures of {dotted(path)}" if path else "pictures"
        if floats and axes in (2, 3) and min(sorted(part.shape)[-2:]) >= 8:
            yield (
                f"{pictures} {part.shape} are {part.dtype}, so they are laid out as a vector of"
                f" {part.low.size:,} numbers: show uint8 from 0 to 255 [height, width, channels]"
            )
        if is_image(part) and (axes == 2 or part.shape[-1] > 16):
            yield (
                f"{pictures} have the shape {part.shape}, and [height, width, channels] is what is"
                " read: put the channels last, one for grey"
            )
    if gone := left_out(shown):
        yield (
            f"{', '.join(gone)} of the observations cannot be laid out as numbers: agents do not"
            " see it"
        )
    if isinstance(taken, spaces.Box) and not taken.is_bounded():
        yield "actions have no bounds, which agents need to be scaled to: give the Box finite ones"
    elif not isinstance(
        taken, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    ):
        yield f"no agent acts in {taken}: choose a Box, Discrete, MultiDiscrete or MultiBinary one"


def said_by_gymnasium(env: gym.Env) -> Iterator[str]:
    """Gymnasium's own check, whose first error ends it."""
    gym.logger.min_level, before = gym.logger.WARN, gym.logger.min_level
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_env(env.unwrapped, skip_render_check=True)
    except Exception as error:  # it raises assertions of its own, and what the env raises
        yield f"Gymnasium's check stops: {plain(str(error)) or type(error).__name__}"
    finally:
        gym.logger.min_level = before
        env.close()
    yield from dict.fromkeys(
        f"Gymnasium's check: {plain(str(w.message))}" for w in caught if advises(str(w.message))
    )


def advises(text: str) -> bool:
    """Whether a warning of Gymnasium's asks for something: not for what is scaled or flattened
    here, and not for a wrapper to be taken off."""
    return not any(
        word in text
        for word in ("we recommend", "is different from the unwrapped", "infinity", "render")
    )


def of_seeds(make: Callable[[], gym.Env]) -> Iterator[str]:
    """Whether a seed determines an episode, in two envs and twice in one."""
    one, other = make(), make()
    one.action_space.seed(0)
    actions = [one.action_space.sample() for _ in range(20)]
    first, apart, again = (trace(env, actions, seed=7) for env in (one, other, one))
    another = trace(other, actions, seed=8)
    if not same(first[:1], again[:1]) or not same(first[:1], apart[:1]):
        yield (
            "reset(seed=7) begins differently each time: draw from self.np_random alone, after"
            + (" super().reset(seed=seed)")
        )
    elif not same(first, again) or not same(first, apart):
        yield (
            "after the same seed the same actions lead elsewhere: draw from self.np_random alone,"
            " and set everything anew in reset"
        )
    elif same(first, another) and one.unwrapped._np_random is None:
        yield (
            "every episode is the same, whatever the seed: where that is not meant, begin reset"
            " with super().reset(seed=seed)"
        )
    for env in (one, other):
        env.close()


def trace(env: gym.Env, actions: list[Any], seed: int) -> list[Any]:
    """Observations and rewards of an episode's first steps."""
    seen: list[Any] = [flat(env.observation_space, env.reset(seed=seed)[0])]
    for action in actions:
        obs, reward, terminated, truncated, _ = env.step(action)
        seen += [flat(env.observation_space, obs), np.array(reward)]
        if terminated or truncated:
            break
    return seen


def of_ends(env: gym.Env, played: Played) -> Iterator[str]:
    """How episodes end."""
    limit = env.spec.max_episode_steps if env.spec is not None else None
    if not played.lengths:
        if limit is None:
            yield (
                f"no episode ended in {played.steps:,} random steps, and there is no time limit:"
                " set env.max_episode_steps, which truncates"
            )
        return
    if len(played.lengths) > ALIKE and played.lengths[0] > 1 == max(played.lengths[1:]):
        yield (
            "every episode but the first ended with its first step: reset has to set everything"
            " anew, the count of steps too"
        )
        return
    longest = max(played.lengths)
    alike = [end for n, end in zip(played.lengths, played.ends, strict=True) if n == longest]
    if len(alike) >= ALIKE and all(alike) and longest > 1:
        yield (
            f"{len(alike)} of {len(played.lengths)} episodes were terminated after exactly"
            f" {longest} steps: if that is a time limit, return truncated=True instead, or set"
            " env.max_episode_steps; values are bootstrapped there"
        )


def of_sizes(played: Played) -> Iterator[str]:
    """Numbers that are large, and rewards that are none."""
    if played.largest["obs"] > LARGE:
        yield (
            f"observations are as large as {played.largest['obs']:.3g}: scale them to about 1, or,"
            " without images, set agent.normalise=true where the agent has it"
        )
    if played.largest["reward"] > LARGE:
        yield (
            f"rewards are as large as {played.largest['reward']:.3g}: scale them to about 1"
            " (agent.scale_reward=true in ppo)"
        )
    if played.largest["reward"] == 0:
        yield "random actions saw no reward but 0: what is to be learned has to be found by chance"


def of_speed(played: Played) -> str:
    """What a step and a reset cost."""
    step = played.seconds["step"] / max(1, played.steps)
    reset = played.seconds["reset"] / (1 + len(played.lengths))
    text = f"{1 / step:,.0f} steps a second in one process, and {1e3 * reset:.2g} ms a reset"
    if 1 / step < SLOW:
        text += ": steps are slow, so workers that only collect pay (paradigm=dcollect)"
    return text


def plain(text: str) -> str:
    """Without Gymnasium's colours and its word of warning, on one line."""
    for mark in ("\x1b[33m", "\x1b[31m", "\x1b[0m", "WARN: "):
        text = text.replace(mark, "")
    return " ".join(text.split())
