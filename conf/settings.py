"""The settings that belong to no group: their types, bounds and meaning."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conf import signature
from conf.sentences import Wrong


@dataclass(frozen=True)
class Setting:
    """An annotation, the bounds of a number (`above`: exclusive), and what the value is."""

    kind: str
    meaning: str
    least: float | None = None
    above: float | None = None
    most: float | None = None

    def check(self, key: str, value: Any) -> None:
        """Raises Wrong, in one sentence, for a value of another type or out of bounds."""
        shown, annotation = "null" if value is None else value, signature.parse(self.kind)
        if not signature.fits(value, annotation):
            raise Wrong(f"{key}={shown} must be {signature.words(annotation)}: {self.meaning}")
        if value is None or isinstance(value, bool | str):
            return
        if self.least is not None and value < self.least:
            raise Wrong(f"{key}={shown} must be at least {self.least:g}: {self.meaning}")
        if self.above is not None and value <= self.above:
            raise Wrong(f"{key}={shown} must be above {self.above:g}: {self.meaning}")
        if self.most is not None and value > self.most:
            raise Wrong(f"{key}={shown} must be at most {self.most:g}: {self.meaning}")


SETTINGS: Mapping[str, Setting] = {
    "seed": Setting("int", "what all draws derive from", least=0),
    "device": Setting("str", "where the agent learns"),
    "workers": Setting("int", "the number of processes that step envs", least=1),
    "num_envs": Setting("int", "the number of env slots of a worker", least=1),
    "rollout_length": Setting("int", "the vector steps of a fragment", least=1),
    "warmup": Setting("int", "the env steps before the first update", least=0),
    "updates_per_env_step": Setting("float | None", "null lets the replay set the pace", above=0),
    "max_ahead": Setting("int", "the updates by which learning and collecting may part", least=0),
    "policy_lag": Setting("int", "by how many updates the acting weights are old", least=0),
    "budget.env_steps": Setting("int", "the env steps after which the run ends", least=1),
    "budget.seconds": Setting("float | None", "the seconds after which the run ends", above=0),
    "stop_when_solved": Setting("bool", "whether three evaluations at the threshold end the run"),
    "evaluation.where": Setting("Literal['process', 'inline', 'worker']", "who evaluates"),
    "evaluation.every_seconds": Setting("float | None", "null is never, while training", least=0),
    "evaluation.share": Setting("float", "the part of a core that it may take", above=0, most=1),
    "evaluation.episodes": Setting("int", "the episodes of an evaluation", least=1),
    "evaluation.confirm_episodes": Setting("int", "the episodes after training", least=0),
    "checkpoint.every_env_steps": Setting("int | None", "null is at the end only", least=1),
    "checkpoint.at_end": Setting("bool", "whether the end is saved, to go on from"),
    "checkpoint.keep": Setting("int", "how many checkpoints stay", least=1),
    "replay.batch_size": Setting("int | None", "the rows of a batch", least=1),
    "resume": Setting("str | None", "the folder of a run to go on with"),
    "journal": Setting("bool", "whether who did what when is recorded"),
    "tensorboard": Setting("bool", "whether TensorBoard events are written"),
    "crew": Setting("Literal['process', 'inline']", "what a role runs on"),
    "score": Setting("Literal['return', 'seconds']", "what a sweeper gets"),
}


def crossed(values: Mapping[str, Any]) -> None:
    """Checks settings against each other."""
    SETTINGS["replay.batch_size"].check("replay.batch_size", values["replay"].get("batch_size"))
    if not re.fullmatch(r"cpu|cuda(:\d+)?", values["device"]):
        raise Wrong(f"device={values['device']} must be cpu, cuda or cuda:0, cuda:1 ...")
    steps, warmup = values["budget"]["env_steps"], values["warmup"]
    if warmup >= steps:
        raise Wrong(
            f"warmup={warmup} lasts for the whole budget.env_steps={steps}, so nothing would be"
            " learned; make one smaller or the other larger"
        )
    if values["policy_lag"] and values["max_ahead"]:
        raise Wrong(f"policy_lag={values['policy_lag']} is for lockstep: add max_ahead=0")
    by = values["paradigm"]["_target_"].rpartition(".")[2]
    if values["evaluation"]["where"] == "worker" and by not in ("DCollect", "DUpdate"):
        raise Wrong("evaluation.where=worker is a task of paradigm=dcollect and paradigm=dupdate")


def of_rows_kept(values: Mapping[str, Any], chosen: str) -> None:
    """Checks the settings that go with a replay that keeps its rows."""
    if values["updates_per_env_step"] is None:
        raise Wrong(
            f"updates_per_env_step=null is for replay=rollout and replay=fifo, which hand out each"
            f" row once; {chosen} needs a number"
        )
    if values["replay"]["batch_size"] is None:
        raise Wrong(f"replay.batch_size=null: {chosen} needs the number of rows of a batch")
    if values["num_envs"] * values["rollout_length"] > values["replay"].get("capacity", math.inf):
        raise Wrong("replay.capacity must hold a fragment: turn * num_envs rows at least")


def of_rows_handed_out_once(values: Mapping[str, Any], chosen: str) -> None:
    """Checks the settings that go with a replay of whole fragments, each learned from once."""
    once = f"{chosen} hands out each row once"
    ratio, paradigm = values["updates_per_env_step"], values["paradigm"]
    if ratio is not None:
        raise Wrong(
            f"updates_per_env_step={ratio:g} cannot be held: {once}; set updates_per_env_step=null"
        )
    if values["replay"]["batch_size"] is not None:
        raise Wrong(
            f"{once}, in whole fragments: set replay.batch_size=null, and set rollout_length and"
            " num_envs"
        )
    together, capacity = values["replay"].get("fragments", 1), values["replay"]["capacity"]
    if not 1 <= together <= capacity:
        raise Wrong(
            f"replay.capacity={capacity} must hold a sample: {together} fragments of a worker, and"
            " 1 at least"
        )
    if values["warmup"]:
        raise Wrong(f"warmup={values['warmup']} would be thrown away: {once}; set warmup=0")
    if values["rollout_length"] < 2:
        raise Wrong(
            f"rollout_length={values['rollout_length']} is too short a fragment for {chosen};"
            " set rollout_length=2"
        )
    if (sample_from := paradigm.get("sample_from")) in ("all", "learner"):
        raise Wrong(
            f"paradigm.sample_from={sample_from} needs a replay that keeps its transitions: {once},"
            " to whoever collected it; set paradigm.sample_from=own"
        )
    if paradigm.get("tasks") == "by_shares":
        raise Wrong(
            f"paradigm.tasks=by_shares trains at random times: {once}; set paradigm.tasks=by_pace"
        )


EVALUATION: Mapping[str, Setting] = {
    "run": Setting("str", "the folder of a run"),
    "policy": Setting("str", "solving, best, final, newest (the last of these), or a .safetensors"),
    "episodes": Setting("int", "how many episodes are played", least=1),
    "seed": Setting("int", "what their seeds derive from: another one, other episodes", least=0),
    "video": Setting("bool", "whether one episode becomes an mp4 beside the policy"),
}
