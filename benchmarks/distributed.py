"""Studies of how work is distributed, as data: workers, rules of averaging, and what single systems
add."""

from __future__ import annotations

from benchmarks.plans import QUIET, Study, budget, span

MERGES = {
    "delta": ("paradigm.merge=delta",),
    "sqrt": ("paradigm.merge=delta", "paradigm.scale=0.5"),  # 1 / sqrt(4)
    "sum": ("paradigm.merge=delta", "paradigm.scale=1.0"),
    "damped": ("paradigm.merge=damped",),
    "elastic": ("paradigm.merge=elastic",),
    "mean": ("paradigm.merge=mean",),
}
LOCKSTEP = "max_ahead=0"
LAGS = (0, 4, 16, 64)

DISTRIBUTED: dict[str, Study] = {
    "workers": Study(
        question="What does another worker bring on a machine of two cores?",
        variants={
            f"{paradigm}_{workers}": (f"paradigm={paradigm}", f"workers={workers}")
            for workers in (1, 2, 3)
            for paradigm in ("dcollect", "dupdate")
        },
        common=("env=mcar", *budget(90, 60_000, stop=True)),
        seeds=span(100, 104),
        cap=90,
        table="workers",
    ),
    "averaging": Study(
        question="How fast does each rule of parameter averaging learn?",
        variants={
            "sequential": ("paradigm=sequential", "workers=1"),
            **{
                f"{merge}_{workers}": ("paradigm=dupdate", *rule, f"workers={workers}", LOCKSTEP)
                for workers in (1, 2, 4)
                for merge, rule in MERGES.items()
                if workers == 4 or merge != "sqrt"
                if workers > 1 or merge != "sum"
            },
        },
        common=(
            "env=pendulum",
            "agent.hidden_sizes=[64,64]",
            "budget.env_steps=24000",
            "stop_when_solved=true",
            *QUIET,
        ),
        seeds=span(100, 104),
        cap=1200,
        packable=True,
        table="averaging",
    ),
    "vtrace": Study(
        question="Does V-trace make up for policy lag?",
        variants={
            f"{name}_{lag}": (f"agent.returns={returns}", f"policy_lag={lag}")
            for lag in LAGS
            for name, returns in (("vtrace", "vtrace"), ("plain", "gae"))  # alike without lag
        },
        common=(
            "paradigm=impala",
            "env=cartpole",
            "workers=1",
            "agent.lam=1",  # as in the paper
            "budget.env_steps=100000",
            LOCKSTEP,
            "stop_when_solved=true",
            *QUIET,
        ),
        seeds=span(100, 104),
        cap=300,
        packable=True,
        table="solved",
    ),
    "apex": Study(
        question="What do the ladder and the actors' priorities of Ape-X bring on a chain?",
        variants={
            "neither": ("agent.store_q=false", "explore=epsilon"),
            "ladder": ("agent.store_q=false",),
            "priorities": ("explore=epsilon",),
            "both": (),
        },
        common=(
            "paradigm=apex",
            "env=chain",
            "workers=2",
            LOCKSTEP,
            "replay.batch_size=64",
            "budget.env_steps=20000",
            "stop_when_solved=true",
            *QUIET,
        ),
        seeds=span(100, 104),
        cap=300,
        packable=True,
        table="solved",
    ),
}
