"""What can this machine do, and how would a run spread over it?

    python doctor.py                                        cores, memory, CUDA, optional packages
    python doctor.py paradigm=dupdate env=lander workers=4  that, and a run of these settings
    python doctor.py env=gym env.id=mine:World-v0           is this environment as it should be?

With the words of train.py it checks them, plays an environment that is named and says what is wrong
with it, says which processes and how many bytes the run takes, trains for a few seconds in one
process, and says what env steps and updates cost and what follows for paradigm, workers and
num_envs. Nothing is written.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from conf import check
from conf.sentences import Wrong, line, refuse
from probe import SECONDS, Trial, core_count, measure

if TYPE_CHECKING:
    from conf.compose import Setup
    from paradigms.base import Job

CHEAP = 0.25  # a part that takes less than this share of the time is no bottleneck
GAIN = 1.15  # by which more env slots must raise env steps a second to be advised
EXTRAS = {  # optional packages, and what each is for
    "ale-py": "env=breakout, env=atari (under GPL-2.0)",
    "envpool": "env.engine=envpool",
    "mujoco": "env.id=HalfCheetah-v5 and others",
    "minigrid": "env.id=minigrid:ID",
    "highway-env": "env.id=highway_env:ID",
    "matplotlib": "compare.py, pictures",
    "imageio-ffmpeg": "evaluate.py video=true",
    "hydra-joblib-launcher": "sweeps in parallel",
    "l2r": "track=thruxton and anglesey",
    "pyzmq": "env.engine=arrival",
    "wandb": "logger=wandb",
    "trackio": "logger=trackio",
    "onnxruntime": "export.py format=onnx",
    "stable-baselines3": "benchmarks against it",
}


def main() -> None:
    """The console command. Leaves with 2 and one sentence if what was typed cannot run."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return
    about_env: list[str] = []
    try:

        def look(setup: Setup) -> None:  # before the agent is asked whether it fits
            if any(word.lstrip("+").startswith("env") for word in arguments):
                about_env.extend(environment(setup))

        setup = check.command_line(arguments, plausible=look).setup if arguments else None
        if arguments and setup is None:
            raise Wrong("doctor looks at one run: leave out -m and Hydra's own flags")
        for text in (*machine(), *about_env):
            print(text)
        about_env.clear()
        for text in [] if setup is None else run(setup):
            print(text, flush=True)
    except Wrong as error:
        for text in about_env:
            print(text)
        refuse(error)


def environment(setup: Setup) -> Iterator[str]:
    """What is wrong with the environment, as lines; nothing for one that exists as a vector alone.
    Raises Wrong for one that cannot be built or stepped."""
    from envs.examine import examine
    from envs.make import build_one, look_up

    v = setup.values["env"]
    try:
        spec = look_up(v["id"])
        if spec.entry_point is None:
            return
        yield f"\n{v['id']}:"
        for sentence in examine(lambda: build_one(spec, dict(v["kwargs"]), v["max_episode_steps"])):
            yield f"- {sentence}"
    except ValueError as error:
        raise Wrong(line(error)) from error
    except Exception as error:  # an env is anybody's code
        raise Wrong(f"env.id={v['id']} raises {type(error).__name__}: {line(error)}") from error


def machine() -> Iterator[str]:
    """What there is, as lines."""
    cores, busy = core_count(), os.getloadavg()[0]
    yield f"cores      {cores} for this process, of {os.cpu_count()}; load average {busy:.1f}"
    if busy > 0.5 * cores:
        yield "           other work is going on: times measured now would not be this run's own"
    if memory := memory_free():
        yield f"memory     {memory[0] / 2**30:.1f} GiB free of {memory[1] / 2**30:.1f}"
    if Path("/dev/shm").is_dir():
        free = shutil.disk_usage("/dev/shm").free
        yield f"/dev/shm   {free / 2**30:.1f} GiB free; this library keeps no files there"
    yield f"disk       {shutil.disk_usage('.').free / 2**30:.1f} GiB free here"
    packages = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("torch", "gymnasium"))
    yield f"software   Python {platform.python_version()}, {packages}, {platform.system()}"
    if platform.machine() not in ("x86_64", "AMD64"):
        yield (
            f"           {platform.machine()}: the lock-free parts (hogwild, dupdate) are only safe"
            " on x86-64"
        )
    yield f"CUDA       {cuda()}"
    for name, purpose in EXTRAS.items():
        yield f"{'+' if installed(name) else '-'} {name:22} {purpose}"


def memory_free() -> tuple[float, float] | None:
    """Bytes free and in all; None where the system does not say."""
    file = Path("/proc/meminfo")
    if not file.exists():
        return None
    rows = dict(row.split(":") for row in file.read_text().splitlines())
    free, total = (1024.0 * int(rows[key].split()[0]) for key in ("MemAvailable", "MemTotal"))
    return free, total


def cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none: device=cpu"
    count = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
    return f"{names}: device=cuda"


def installed(package: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def run(setup: Setup) -> Iterator[str]:
    """What a run takes, costs and asks for, as lines."""
    from agents.parts.vector import Vector
    from conf.build import assemble
    from paradigms.session import origin

    job, paradigm = assemble(setup.values)
    agent = job.make_agent(job.spec, seed=job.seed, device="cpu")
    Vector(agent)  # counts its parameters
    apart = setup.values["evaluation"]["where"] == "process"
    workers = origin.many(paradigm.workers or job.workers, "worker")
    roles = "" if paradigm.name == "sequential" else origin.members(paradigm) or workers
    yield ""
    ignores = getattr(paradigm, "ignores", frozenset())
    yield from origin.introduction(job, agent, paradigm)
    yield (
        f"processes: main{' and the evaluator' if apart else ''}"
        f"{', ' if roles else ''}{roles}; beside them a fork server"
    )
    stores = "replay" not in ignores
    if stores and (size := origin.replay_bytes(job, agent)) and (memory := memory_free()):
        if size > 0.8 * memory[0]:
            yield (
                f"a full replay takes {size / 2**30:.1f} GiB, and {memory[0] / 2**30:.1f} are free:"
                " set replay.capacity"
            )
    yield f"training for {SECONDS:g} s in one process ..."
    trial = measure(job)
    yield trial.said()
    yield from spread(trial, setup)
    if trial.learning < 1 - CHEAP:
        yield from slots(job, trial)


def spread(trial: Trial, setup: Setup) -> Iterator[str]:
    """Which way of spreading the work has something to win."""
    cores, learning = core_count(), trial.learning
    pipeline = 1 / max(learning, 1 - learning, 1 / cores)
    if cores < 2:
        yield "one core: paradigm=sequential, there is nothing to spread over"
        return
    if learning > 1 - CHEAP:
        yield (
            "learning is the bottleneck: workers that only collect (dcollect) would wait, at most"
            f" {pipeline:.2f} times the speed; dupdate and hogwild learn in every worker"
        )
    elif learning < CHEAP:
        yield (
            f"env steps are the bottleneck: dcollect with workers={cores} can be up to"
            f" {min(cores, 1 / max(learning, 1 / cores)):.1f} times as fast, and so can dupdate and"
            " hogwild"
        )
    else:
        yield (
            "learning and env steps weigh alike: dcollect overlaps them, at most"
            f" {pipeline:.2f} times the speed; dupdate and hogwild spread both"
        )
    if setup.values["workers"] > cores:
        yield f"workers={setup.values['workers']} are more than the {cores} cores: workers={cores}"
    yield (
        "workers=auto tries how many of them are worth it; but faster is not yet sooner: what an"
        " update is worth in each paradigm, compare.py measures"
    )


def slots(job: Job, trial: Trial) -> Iterator[str]:
    """How many env slots of a worker are worth it, doubling while it pays. The ratio of updates to
    env steps is held; where the replay sets the pace, slots change the size of a batch, and the
    question is left alone."""
    if job.updates_per_env_step is None:
        return
    best, count = trial.step, job.num_envs
    while count < 64:
        tried = measure(replace(job, num_envs=2 * count), SECONDS / 2)
        if tried.step * GAIN > best:
            break
        best, count = tried.step, 2 * count
    if count > job.num_envs:
        yield (
            f"num_envs={count} makes an env step {trial.step / best:.1f} times cheaper; the policy"
            " then changes less often between two steps of one env"
        )


if __name__ == "__main__":
    main()
