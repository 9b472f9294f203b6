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
CONCURRENT = {
    "locked": ("paradigm=locked",),
    "hogwild": ("paradigm=hogwild",),
    "allreduce": ("paradigm=allreduce",),
    "gorila": ("paradigm=gorila",),
    "gorila3": ("paradigm=gorila", "paradigm.shards=3"),
    "a3c": ("paradigm=a3c",),
}
OWN = "paradigm.sample_from=own"
FAULTY = ("paradigm=gorila", "paradigm._target_=benchmarks.faults.FaultyGorila")
REJECTING = ("paradigm.max_staleness=20", "paradigm.outlier_deviations=4")

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
    "concurrent": Study(
        question="Do more processes need fewer episodes and less time? Which way is best?",
        variants={
            "sequential": ("paradigm=sequential", "workers=1"),
            **{
                f"{name}_{workers}": (*words, f"workers={workers}")
                for workers in (1, 2, 4)
                for name, words in CONCURRENT.items()
            },
            **{
                f"{name}_own_{workers}": (*CONCURRENT[name], OWN, f"workers={workers}")
                for workers in (2, 4)
                for name in ("hogwild", "a3c")
            },
            **{
                f"gorila_sync{period}_{workers}": (
                    *CONCURRENT["gorila"],
                    f"paradigm.sync_period={period}",
                    f"workers={workers}",
                )
                for workers in (2, 4)
                for period in (4, 16)
            },
            **{
                f"{name}_2": (f"paradigm={name}", "workers=2")
                for name in ("dcollect", "apex", "dupdate", "gossip", "es")
            },
        },
        common=("agent=dqn", "env=cartpole", *budget(60, 100_000, stop=True)),
        seeds=span(100, 104),
        cap=60,
        table="concurrent",
    ),
    "faults": Study(
        question="Does rejecting stale and outlying gradients save a run with faulty ones?",
        variants={
            "healthy": ("paradigm=gorila",),
            "faulty": FAULTY,
            "rejected": (*FAULTY, *REJECTING),
        },
        common=("agent=dqn", "env=cartpole", "workers=2", *budget(60, 100_000, stop=True)),
        seeds=span(100, 102),
        cap=60,
        table="faults",
    ),
    "pbt": Study(
        question="Does a population find a learning rate that a random search of its size misses?",
        variants={
            "pbt": (),
            "random_search": ("paradigm.exploit=false",),
        },
        common=(
            "paradigm=pbt",
            "agent=ppo",
            "env=cartpole",
            "paradigm.members=4",
            "paradigm.search.lr={low:1e-5,high:1e-1,log:true}",
            *budget(240, 240_000),
        ),
        seeds=span(100, 104),
        cap=240,
        table="pbt",
    ),
}
