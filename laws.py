"""Does an agent keep the laws that every paradigm relies on? For one's own agent before a long run.

    python laws.py --config-dir=mine agent=linear_q env=corridor

The words are those of train.py, for a small run: 400 env steps after a warm-up of 64, unless you
say otherwise. Ends with 1 if a law is broken, and says what that means.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from conf import check
from conf.sentences import Wrong, command, line

if TYPE_CHECKING:
    from paradigms.base import Result

SMALL = {"budget.env_steps": "400", "warmup": "64", "num_envs": "2", "rollout_length": "8"}
LOCKSTEP = ("workers=1", "max_ahead=0", "policy_lag=0", "crew=inline")
TAKEN_WHOLE = {"dupdate": ("paradigm.merge=mean",)}  # of one worker: its own weights
LEAST = 8  # updates, without which nothing has been tried
QUIET = (
    "logger=[]",
    "evaluation.every_seconds=null",
    "evaluation.where=inline",
    "evaluation.confirm_episodes=0",
    "stop_when_solved=false",
)


class Law(NamedTuple):
    """What must hold; what is wrong where it does not."""

    text: str
    broken: str


SAME = Law(
    "Two runs of one seed end with the same bits, whatever the global generators say.",
    "the agent draws from somewhere else than self.rng, or keeps something between runs",
)
OTHER = Law(
    "Another seed is another run.",
    "the agent does not use its seed, or learns nothing",
)
WIRED = Law(
    "With one worker in lockstep paradigm={} ends with the bits of sequential.",
    "learn or act changes something that is in none of groups, slow and parts, or depends on when"
    " it is called",
)
COUNTED = Law(
    "Every env step is stored once, and at least 8 updates are made.",
    "learn returns 0 updates, or the run is too short",
)
GREEDY = Law(
    "The greedy policy draws nothing and changes nothing.",
    "act with explore=None draws, changes its state in place, or changes a tensor",
)
AGAIN = Law(
    "A run of two processes, executed again from its journal, ends with the same bits.",
    "learn depends on the process that it runs in: the clock, a global, the order of a set",
)


def main() -> None:
    """The console command: exit code 0 if all laws hold, 1 if not, 2 if it cannot be tried."""
    command(__doc__, judge)


def judge(arguments: list[str]) -> int:
    """Prints every law and whether it holds; 1 if one does not. Raises Wrong."""
    broken = 0
    for law, why in tried(arguments):
        print(f"{'holds ' if why is None else 'BROKEN'} {law.text}", flush=True)
        if why is not None:
            broken = 1
            print(f"       {why}: {law.broken}")
    return broken


def tried(arguments: list[str]) -> Iterator[tuple[Law, str | None]]:
    """Each law, and what was seen where it does not hold. Raises Wrong."""
    import numpy as np
    import torch

    said = {word.partition("=")[0] for word in arguments}
    small = [f"{key}={value}" for key, value in SMALL.items() if key not in said]
    flags = [word for word in arguments if word.startswith("-")]  # argparse wants them in front
    words = [*flags, *small, *(word for word in arguments if word not in flags), *QUIET]
    first = run([*words, *LOCKSTEP, "paradigm=sequential", "seed=1"])
    torch.manual_seed(123)
    np.random.seed(123)
    again = run([*words, *LOCKSTEP, "paradigm=sequential", "seed=1"])
    yield SAME, apart(first, again)
    other = run([*words, *LOCKSTEP, "paradigm=sequential", "seed=2"])
    yield OTHER, "the same bits" if apart(first, other) is None else None
    totals = first.totals
    counts = {name: totals[name] for name in ("dropped", "duplicated", "lost") if totals[name]}
    few = totals["updates"] < LEAST
    yield COUNTED, f"{totals['updates']} updates" if few else f"{counts}" if counts else None
    yield GREEDY, greedy([*words, *LOCKSTEP, "seed=1"])
    for name in ("dcollect", "dupdate", "hogwild", "locked", "a3c", "allreduce", "gorila"):
        law = Law(WIRED.text.format(name), WIRED.broken)
        wired = [*words, *LOCKSTEP, f"paradigm={name}", *TAKEN_WHOLE.get(name, ()), "seed=1"]
        yield law, attempt(lambda wired=wired: apart(first, run(wired)))
    yield AGAIN, attempt(lambda: executed_again(words))


def attempt(work: Callable[[], str | None]) -> str | None:
    """What a law says, or the error that kept it from being tried."""
    try:
        return work()
    except Wrong:
        raise
    except Exception as error:  # an agent is anybody's code
        return f"{type(error).__name__}: {line(error)}"


def run(words: list[str]) -> Result:
    """One whole run in this process. Raises Wrong for words that cannot run."""
    from conf.build import assemble

    setup = check.command_line(words).setup
    if setup is None:
        raise Wrong("laws.py tries one agent: leave out -m and Hydra's own flags")
    job, paradigm = assemble(setup.values)
    going: Any = paradigm.run(job)
    while True:
        try:
            next(going)
        except StopIteration as end:
            result: Result = end.value
            return result


def apart(one: Result, other: Result) -> str | None:
    """How many numbers two runs disagree on; None where they have the same bits."""
    import torch

    floats, others = one.final.floats, other.final.floats
    if floats.shape != others.shape:
        return f"{len(floats):,} numbers here, {len(others):,} there"
    differ = int((floats != others).sum())
    if differ:
        return f"{differ:,} of {len(floats):,} numbers differ"
    same = torch.equal(one.final.counts, other.final.counts)
    return None if same else "the counts of updates differ"


def greedy(words: list[str]) -> str | None:
    """Whether act without exploration is a function of observation and state."""
    import numpy as np

    from agents.parts.vector import Vector
    from conf.build import assemble

    setup = check.command_line(words).setup
    assert setup is not None
    job, _ = assemble(setup.values)
    agent = job.make_agent(job.spec, seed=1, device="cpu")
    vector = Vector(agent)
    env = job.make_env(num_envs=2, seed=0, rank=None)
    obs, _ = env.reset(seed=0)
    env.close()
    before, state = vector.floats.clone(), agent.initial_state(2)
    kept = {name: value.copy() for name, value in state.items()}
    drawn = agent.rng.act.get_state()
    actions = [agent.act(obs, state, None).action for _ in range(2)]
    if not np.array_equal(*actions):
        return "two calls give two actions"
    if any(not np.array_equal(kept[name], state[name]) for name in kept):
        return "the state that was given has changed"
    if not (drawn == agent.rng.act.get_state()).all():
        return "self.rng.act has moved"
    return None if (before == vector.floats).all() else "a tensor has changed"


def executed_again(words: list[str]) -> str | None:
    """A run of dcollect with two workers in processes, and its journal executed inline."""
    import contextlib
    import io

    from reproduce import reproduce
    from train import learn

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
        own = ["paradigm=dcollect", "workers=2", "crew=process", "seed=1", "journal=true"]
        result = learn(*words, *own, "checkpoint.at_end=true", f"hydra.run.dir={folder}/run")
        from conf import trust

        names = trust.foreign(
            trust.dereferenced(trust.read(Path(result["folder"]) / "config.yaml"))
        )
        agree = reproduce(Path(result["folder"]), frozenset(names))
    return None if agree else said.getvalue().splitlines()[-1]


if __name__ == "__main__":
    main()
