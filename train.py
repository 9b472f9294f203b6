"""Trains one agent on one env: python train.py paradigm=dcollect env=lander; --help lists the rest.

Composes and checks first, then imports what is heavy, then is the loop over `paradigm.run(job)`.
"""

from __future__ import annotations

import sys
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from conf import check
from conf.compose import Setup, resolved
from conf.sentences import Wrong, line

if TYPE_CHECKING:
    from paradigms.base import Job, Paradigm
    from paradigms.session.session import Session
    from paradigms.settings import RunSettings


def main() -> None:
    """The console command. Leaves with 2 and one sentence if what was typed cannot run."""
    try:
        sys.argv[1:] = check.command_line(sys.argv[1:])
    except Wrong as error:
        refuse(error)
    app()


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def app(config: DictConfig) -> float:
    """One job of Hydra's; returns its score."""
    began, first = time.time(), "torch" not in sys.modules
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir).absolute()
    choices = {k: str(v) for k, v in hydra_config.runtime.choices.items() if "/" not in k}
    try:
        setup = Setup(resolved(config), choices)
        check.values(setup)
        session = build(setup, folder, began, first=first)
    except Wrong as error:
        refuse(error)
    with session:
        result = train(session)
    if session.signals.caught or result["stopped_by"] == "error":
        sys.exit(128 + session.signals.caught if session.signals.caught else 1)
    if setup.values["score"] == "seconds":
        return float(result["seconds_to_threshold"] if result["solved"] else "inf")
    return float("nan" if result["final_return"] is None else result["final_return"])


def build(setup: Setup, folder: Path, began: float, *, first: bool) -> Session:
    """Everything a run needs, from plain values. Raises Wrong for what only now can be known."""
    from paradigms.runtime import (
        machine,
        start,  # before torch: machine sets the number of threads
    )

    if setup.values["crew"] == "process":
        start.warm()  # its server loads torch while this process does
    machine.prepare()
    import torch

    from paradigms.session.checkpoint import Damaged
    from paradigms.session.clock import run_began
    from paradigms.session.folder import RunFolder, choices_of
    from paradigms.session.session import Session

    v = setup.values
    if v["device"] != "cpu" and not torch.cuda.is_available():
        raise Wrong(f"device={v['device']} needs a CUDA device, and torch finds none: use cpu")
    journal = str(folder / "journal.bin") if v["journal"] else None
    job, paradigm = assemble(v, started=run_began(began, first=first), journal=journal)
    settings, random_return = run_settings(v), v["env"]["random_return"]
    try:
        choices = choices_of(Path(v["resume"])) if v["resume"] else {}
        where = RunFolder(folder, config=v, choices=choices or setup.choices)
        session = Session(job, paradigm, where, settings, random_return=random_return)
    except (ValueError, Damaged) as error:
        raise Wrong(line(error)) from error
    OmegaConf.save(OmegaConf.create(v), folder / "config.yaml")  # not before a refusal
    return session


def run_settings(v: dict[str, Any]) -> RunSettings:
    """The settings of everything beside the job."""
    from paradigms.settings import Budget, Checkpointing, Evaluation, RunSettings

    others = ("stop_when_solved", "tensorboard", "journal", "resume", "score")
    return RunSettings(
        budget=Budget(**v["budget"]),
        evaluation=Evaluation(**v["evaluation"]),
        checkpoint=Checkpointing(**v["checkpoint"]),
        **{name: v[name] for name in others},
    )


def assemble(v: dict[str, Any], **others: Any) -> tuple[Job, Paradigm]:
    """The job and the paradigm that plain values describe; `others` are fields of Job. Raises Wrong
    for values that explore, lr_schedule, env or paradigm refuse."""
    from envs.make import describe
    from paradigms.base import Job

    node = {name: dict(v[name]) for name in ("agent", "replay", "paradigm")}
    batch_size = node["replay"].pop("batch_size")
    parts = {name: made(value) for name, value in node.items()}
    make_env = made(v["env"]["make"])
    settings: dict[str, Any] = {
        "spec": describe(make_env, threshold=v["env"]["threshold"]),
        "make_agent": parts["agent"],
        "make_env": make_env,
        "make_replay": parts["replay"],
        "explore": made(v["explore"]),
        "lr_schedule": made(v["lr_schedule"]),
        "env_steps": v["budget"]["env_steps"],
        "batch_size": batch_size,
        "updates_per_env_step": v["updates_per_env_step"],
        "checkpoint_env_steps": v["checkpoint"]["every_env_steps"],
        "evaluate_in_worker": v["evaluation"]["where"] == "worker",
    }
    settings["workers"] = parts["paradigm"].workers or v["workers"]
    same = (
        "num_envs",
        "rollout_length",
        "warmup",
        "max_ahead",
        "policy_lag",
        "seed",
        "device",
        "crew",
    )
    return Job(**{**settings, **{name: v[name] for name in same}, **others}), parts["paradigm"]


def train(session: Session) -> dict[str, Any]:
    """The loop: log, evaluate, save, stop. Returns what result.json says; it is always written."""
    run = session.paradigm.run(session.job)
    try:
        while True:
            try:
                progress = next(run)
            except StopIteration as end:
                session.finish(end.value)
                break
            session.note(progress)
            session.evaluate(progress)
            session.save_if_due(progress)
            if session.enough(progress):
                progress.stop()
    except BaseException as error:
        session.fail(error, traceback.format_exc())
        raise
    finally:
        run.close()
        result = session.result()
    return result


def made(node: Any) -> Any:
    """What a node with a `_target_` describes. Hydra's partials become functools', so that no other
    process has to import Hydra. Raises Wrong for values that its constructor refuses."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        what = instantiate(node, _convert_="all")
    except InstantiationException as error:
        if not isinstance(error.__cause__, ValueError):
            raise
        raise Wrong(line(error.__cause__)) from error
    return partial(what.func, *what.args, **what.keywords) if isinstance(what, partial) else what


def refuse(error: Wrong) -> None:
    """One sentence on stderr, and exit code 2."""
    sys.stderr.write(f"{error}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
