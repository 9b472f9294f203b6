"""From plain values to objects: a run's job and paradigm, or a stored policy's agent and env."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from conf import check, limits, schema, trust
from conf.compose import flatten
from conf.nodes import agent_of, begun, made
from conf.sentences import Wrong, line

if TYPE_CHECKING:
    from paradigms.base import Job, Paradigm
    from paradigms.session.evaluation_worker import Plan
    from paradigms.settings import RunSettings


def assemble(v: Mapping[str, Any], **others: Any) -> tuple[Job, Paradigm]:
    """The job and the paradigm that plain values describe; `others` are fields of Job. Raises Wrong
    for values that explore, lr_schedule, env or paradigm refuse."""
    from envs.make import describe
    from paradigms.base import Job

    config: schema.Config = schema.build(schema.Config, v)
    replay = {name: value for name, value in v["replay"].items() if name != "batch_size"}
    make_env, paradigm = made(v["env"]["make"], "env.make"), made(v["paradigm"], "paradigm")
    fields: dict[str, Any] = {
        "spec": describe(make_env, threshold=v["env"]["threshold"]),
        "make_agent": made(agent_of(v), "agent"),
        "make_env": make_env,
        "make_replay": made(replay, "replay"),
        "explore": made(v["explore"], "explore"),
        "lr_schedule": made(v["lr_schedule"], "lr_schedule"),
        "batch_size": v["replay"]["batch_size"],
        "workers": paradigm.workers or config.workers,
    }
    same = {field.name for field in dataclasses.fields(Job)} & {*vars(config)} - {
        "resume",
        "journal",
    }
    return Job(**{**{name: getattr(config, name) for name in same}, **fields, **others}), paradigm


def fits(v: Mapping[str, Any]) -> None:
    """Raises Wrong where this machine has no room for a run of these values."""
    from paradigms.session import room

    try:
        room.check(*assemble(v))
    except ValueError as error:
        raise Wrong(line(error)) from error


def settings(v: Mapping[str, Any]) -> RunSettings:
    """The settings of everything beside the job, from checked values."""
    from paradigms.settings import RunSettings

    made_of: RunSettings = schema.build(RunSettings, v)
    return made_of


def rebuild(
    about: Mapping[str, Any],
    *,
    floats: int,
    slots: int,
    seed: int,
    kwargs: Mapping[str, Any] | None = None,
    engine: str | None = None,
    trusted: Collection[str] = (),
) -> Plan:
    """Agent and env of a stored policy as its run had them; floats: how many numbers it has;
    kwargs: keywords of the env's constructor that are to be others; engine: another one than the
    run evaluated with.

    Raises Wrong for what is no policy of ours, for one that would run other code than ours and
    that of the `trusted` modules, and for what takes more memory than goes with its size.
    """
    from envs.make import describe
    from paradigms.session.evaluation_worker import Plan

    for name, places in (("agent", ()), ("env", ("make",))):
        node = about.get(name)
        for place in places:
            node = node.get(place) if isinstance(node, dict) else None
        if not schema.is_node(node):
            raise Wrong(f"it has no {'.'.join((name, *places))} with a _target_")
    agent, env = about["agent"], about["env"]
    trust.check(about, trusted)
    check.node("agent", agent)
    schema.check(schema.Env, {**env, "_partial_": True}, "env", beside=["make"])
    check.node("env.make", env["make"])
    _fits_into(agent, floats)
    reference = {**(env["make"].get("reference") or {}), **(kwargs or {})}
    changed: dict[str, Any] = {"reference": reference, "_partial_": True}
    if engine is not None:
        changed["reference_engine"] = engine
    make_env = made({**env["make"], **changed}, "env.make")
    most = limits.usual() if trusted else limits.FOR_A_FILE + 80 * floats
    try:
        with limits.memory(most, "its agent or env takes"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an env has about its keywords
            spec = describe(make_env, threshold=env.get("threshold"))
            plan = Plan(
                made({**begun(agent), "_partial_": True}, "agent"),
                make_env,
                spec,
                slots=slots,
                seed=seed,
            )
            built, world = plan.build()
            world.close()
    except Wrong:
        raise
    except Exception as error:  # whatever an env or an agent says to values from elsewhere
        raise Wrong(f"its agent or env cannot be built: {line(error)}") from error
    if (size := built.vector.size("evaluate")) != floats:
        raise Wrong(f"it has {floats} numbers, and its agent has {size}")
    return plan


def _fits_into(agent: Mapping[str, Any], floats: int) -> None:
    """Refuses layers that are larger than all weights of the policy, before they are built."""
    sizes = [size for size in agent.get("hidden_sizes") or () if isinstance(size, int)]
    products = sum(a * b for a, b in pairwise(sizes))
    units = sum(value for key, value in flatten(dict(agent)) if key == "lstm" and value)
    if max(products, sum(sizes), 4 * units * units) > floats:
        raise Wrong(f"it has {floats} numbers, too few for agent.hidden_sizes={sizes}")
