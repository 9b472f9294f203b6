"""Settings that contradict each other, whatever the parts are. Everything here raises Wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from conf.sentences import Wrong, shown

LARGEST = 2**63


def crossed(v: Mapping[str, Any]) -> None:
    """Checks the run's settings against each other."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", v["device"]):
        raise Wrong(f"device={v['device']} must be cpu, cuda or cuda:0, cuda:1 ...")
    if v["resume"] is not None and not v["resume"].strip():
        raise Wrong("resume= names no folder; give a run's, such as outputs/DATE/TIME_NAME")
    for key, value in numbers(v):
        if abs(value) >= LARGEST:
            raise Wrong(f"{key}={value:g} must be below 2^63, which counters can hold")
    ratio, steps = v["updates_per_env_step"], v["budget"]["env_steps"]
    if ratio is not None and ratio * steps >= LARGEST:
        raise Wrong(f"updates_per_env_step={ratio:g} makes more updates than counters can hold")
    members, ready = (v["paradigm"].get(name) for name in ("members", "ready"))
    if members and ready > (share := math.ceil(steps / members)):
        raise Wrong(
            f"paradigm.ready={ready} leaves no selection, as each of paradigm.members={members} has"
            f" {share} env steps: choose less, or a larger budget.env_steps"
        )
    evaluation = v["evaluation"]
    if v["policy_lag"] and v["max_ahead"]:
        raise Wrong(f"policy_lag={v['policy_lag']} is for lockstep: add max_ahead=0")
    for key, wanted in (("stop_when_solved", True), ("score", "seconds")):
        if v[key] == wanted and v["env"]["threshold"] is None:
            raise Wrong(
                f"{key}={shown(wanted)} needs a threshold, and env.threshold=null: add"
                " env.threshold=NUMBER"
            )
        if v[key] == wanted and (
            evaluation["every_seconds"] is None or evaluation["where"] == "worker"
        ):
            raise Wrong(
                f"{key}={shown(wanted)} needs evaluations while training: set"
                " evaluation.every_seconds=1 and evaluation.where=process"
            )


def there(device: str) -> None:
    """Checks that torch finds the device; imports torch."""
    if device == "cpu":
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise Wrong(f"device={device} needs a CUDA device, and torch finds none: use cpu")
    if int(device.partition(":")[2] or 0) >= count:
        raise Wrong(f"device={device} is not there: choose cpu or cuda:0 up to cuda:{count - 1}")


def numbers(node: Any, key: str = "") -> Iterator[tuple[str, int]]:
    """(dotted key, value) of every whole number."""
    children: Iterable[tuple[Any, Any]] = ()
    if isinstance(node, dict):
        children = node.items()
    elif isinstance(node, list):
        children = enumerate(node)
    elif isinstance(node, int) and not isinstance(node, bool):
        yield key, node
    for name, child in children:
        yield from numbers(child, f"{key}.{name}" if key else str(name))


def without_effect(typed: Collection[str], ignores: Collection[str], chosen: str) -> None:
    """Checks that nobody has typed what the paradigm declares that it ignores."""
    for key in typed:
        if key in ignores or key.partition(".")[0] in ignores:
            raise Wrong(f"{key} has no effect with {chosen}: leave it out")


def learns(v: Mapping[str, Any]) -> None:
    """Checks that something is learned before the budget is spent."""
    steps, warmup = v["budget"]["env_steps"], v["warmup"]
    if warmup >= steps:
        raise Wrong(
            f"warmup={warmup} lasts for the whole budget.env_steps={steps}, so nothing would be"
            " learned; make one smaller or the other larger"
        )
    ratio = v["updates_per_env_step"]
    if ratio is not None and math.floor(ratio * (steps - warmup)) == 0:
        raise Wrong(
            f"updates_per_env_step={ratio:g} makes no update of the {steps - warmup} env steps that"
            " follow the warmup: make it larger, or budget.env_steps"
        )


def one_car(v: Mapping[str, Any], workers: int) -> None:
    """Checks that nobody shares the car of a running simulator."""
    if v["env"]["engine"] != "arrival":
        return
    if v["num_envs"] > 1:
        raise Wrong(
            f"num_envs={v['num_envs']} must be 1 with env.engine=arrival: a simulator has one car"
        )
    if workers > max(1, len(v["env"]["per_worker"] or ())):
        raise Wrong(
            f"workers={workers}: a simulator of env.engine=arrival has one car: set workers=1, or"
            " name a simulator for each worker by env.per_worker=[{arrival: {host: NAME}}, ...]"
        )


def kept(v: Mapping[str, Any], chosen: str) -> None:
    """Checks the settings that go with a replay that keeps its transitions."""
    if v["updates_per_env_step"] is None:
        raise Wrong(
            f"updates_per_env_step=null is for replay=rollout and replay=fifo, which consume"
            f" each transition once; {chosen} needs a number"
        )
    if v["replay"]["batch_size"] is None:
        raise Wrong(f"replay.batch_size=null: {chosen} needs the number of transitions of a batch")
    if v["replay"]["batch_size"] > v["replay"].get("capacity", float("inf")):
        raise Wrong(
            f"replay.batch_size={v['replay']['batch_size']} is more than the"
            f" replay.capacity={v['replay']['capacity']} that it is drawn from: make one smaller"
        )
    if v["num_envs"] * v["rollout_length"] > v["replay"].get("capacity", float("inf")):
        raise Wrong(
            f"replay.capacity={v['replay']['capacity']} must hold a fragment:"
            " rollout_length * num_envs ="
            f" {v['num_envs'] * v['rollout_length']} transitions at least"
        )


def divided(v: Mapping[str, Any], workers: int) -> None:
    """Checks that a batch which workers divide among themselves has a transition for each."""
    size = v["replay"]["batch_size"]
    if v["paradigm"].get("batch") == "split" and size is not None and size < workers:
        raise Wrong(
            f"replay.batch_size={size} cannot be divided among workers={workers}: make it larger,"
            " or set paradigm.batch=each"
        )


def consumed_once(v: Mapping[str, Any], chosen: str) -> None:
    """Checks the settings that go with a replay of whole fragments, each learned from once."""
    once = f"{chosen} consumes each transition once"
    ratio, paradigm = v["updates_per_env_step"], v["paradigm"]
    if ratio is not None:
        raise Wrong(
            f"updates_per_env_step={ratio:g} cannot be held: {once}; set updates_per_env_step=null"
        )
    if v["replay"]["batch_size"] is not None:
        raise Wrong(
            f"{once}, in whole fragments: set replay.batch_size=null, and set rollout_length and"
            " num_envs"
        )
    together, capacity = v["replay"].get("fragments") or 1, v["replay"]["capacity"]
    if not 1 <= together <= capacity:
        raise Wrong(
            f"replay.capacity={capacity} must hold a sample of replay.fragments={together} of a"
            " worker, and 1 at least"
        )
    if v["warmup"]:
        raise Wrong(f"warmup={v['warmup']} would be thrown away: {once}; set warmup=0")
    if v["rollout_length"] < 2:
        raise Wrong(
            f"rollout_length={v['rollout_length']} is too short a fragment for {chosen};"
            " set rollout_length=2"
        )
    size, parts = v["num_envs"] * v["rollout_length"] * together, v["agent"].get("minibatches", 1)
    if parts > size:
        raise Wrong(
            f"agent.minibatches={parts} is more than the {size} transitions of a batch"
            " (rollout_length * num_envs): choose fewer, or longer fragments"
        )
    if (mine := paradigm.get("sample_from")) in ("all", "learner"):
        raise Wrong(
            f"paradigm.sample_from={mine} needs a replay that keeps its transitions: {once}, by"
            " whoever collected it; set paradigm.sample_from=own"
        )
    if paradigm.get("tasks") == "by_shares":
        raise Wrong(
            f"paradigm.tasks=by_shares trains at random times: {once}; set paradigm.tasks=by_pace"
        )
