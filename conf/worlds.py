"""The env that evaluates, those that workers step, and the agent: built, and compared with each
other."""

from __future__ import annotations

from typing import Any

from conf import population
from conf.compose import Setup
from conf.nodes import agent_of, made
from conf.sentences import Wrong, line


def build(setup: Setup, needs: frozenset[str]) -> None:
    """Builds all of them, and the agent, which asks for what it `needs`. Raises Wrong."""
    from envs.make import describe
    from paradigms.experience import shift

    world = setup.values["env"]
    make = made(world["make"], "env.make")
    try:
        for rank in (None, *range(max(1, len(world.get("per_worker") or ())))):
            env = make(num_envs=1, seed=0, rank=rank)
            env.close()
        spec = describe(make, threshold=world["threshold"])
    except ValueError as error:
        raise Wrong(line(error)) from error
    except MemoryError:
        raise
    except Exception as error:  # an env is anybody's code
        raise Wrong(
            f"env.id={world['id']} cannot be built: {type(error).__name__}: {line(error)}"
        ) from error
    suits(setup, env.single_observation_space, env.single_action_space, needs)
    try:
        shift.check(spec, setup.values["replay"].get("shift", 0))
        make_agent = made(agent_of(setup.values), "agent")
        make_agent(spec, seed=0, device="cpu")
        population.fits(setup.values, make_agent, spec)
    except (ValueError, AssertionError) as error:
        raise Wrong(line(error)) from error


def seen(setup: Setup, obs: Any, needs: frozenset[str]) -> frozenset[str]:
    """What an agent needs with the encoder that is chosen. Raises Wrong if another one would do."""
    agent, env = setup.values["agent"], setup.choices.get("env")
    image = obs.dtype == "uint8"  # an image, or bytes of which some are images
    if agent.get("encoder") is None:
        if image and "encoder" in agent and "vector" in needs:
            raise Wrong(f"env={env} has images as observations ({obs}): add agent.encoder=conv")
        return needs
    if not image:
        raise Wrong(
            f"agent.encoder={agent['encoder']} reads images, but env={env} has vectors as"
            f" observations ({obs}): set agent.encoder=null"
        )
    return needs - {"vector"} | {"image"}


def suits(setup: Setup, obs: Any, action: Any, needs: frozenset[str]) -> None:
    """Whether the agent takes an env's spaces. Raises Wrong."""
    from gymnasium.spaces import Box, Discrete, MultiDiscrete

    needs = seen(setup, obs, needs)
    kinds = {"image" if obs.dtype == "uint8" else "vector": obs}
    if isinstance(action, Box) and len(action.shape) == 1:
        kinds["box"] = action
    elif isinstance(action, Discrete):
        kinds["discrete"] = action
    elif isinstance(action, MultiDiscrete):
        kinds["several"] = action
    said = {"vector": "vectors as observations", "image": "images as observations"}
    said |= {"box": "continuous actions", "discrete": "discrete actions"}
    said |= {"several": "several choices at once as actions, which ppo and actor_critic make"}
    for need in sorted(needs & said.keys() - kinds.keys()):
        has = obs if need in ("vector", "image") else action
        kind = next((said[k] for k, space in kinds.items() if space is has), "other actions")
        examples = {"box": "lander", "discrete": "cartpole", "vector": "pendulum"}
        raise Wrong(
            f"agent={setup.choices.get('agent')} needs {said[need]}, but"
            f" env={setup.choices.get('env')} has {kind} ({has});"
            f" try env={examples.get(need, 'gym')}"
        )
