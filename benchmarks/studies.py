"""The studies as data.

Tuning used seeds below 100; figures come from seeds 100 and up.
"""

from __future__ import annotations

from benchmarks.distributed import DISTRIBUTED
from benchmarks.pictures import PICTURES
from benchmarks.plans import QUIET, Overrides, Study, budget, span

PARADIGMS = ("sequential", "dcollect", "dupdate", "hogwild")
SELDOM = ("evaluation.every_seconds=5",)  # twenty long episodes take about as long
RACED = (
    "evaluation.share=0.25",  # of a core: 300 simulated seconds of eight cars take about two
    "stop_when_solved=false",
    *QUIET,
)
THRUXTON_UNSEEN = (
    "+env.reference.track=thruxton",
    "env.threshold=1132",
    "env.random_return=-0.9",
)
ENCODER = "outputs/carracing.safetensors"  # made by the command in benchmarks/README.md
TWO_OF_TEN = ("agent=tqc", "agent.critics=2", "agent.quantiles=10")
GREEDY = ("explore.start=0", "explore.final=0")


def _paradigms(*others: str) -> dict[str, Overrides]:
    return {name: (f"paradigm={name}", *others) for name in PARADIGMS}


STUDIES: dict[str, Study] = {
    "mcar": Study(
        question="Which paradigm solves MountainCarContinuous soonest, and keeps it solved?",
        variants=_paradigms("workers=2"),
        common=("env=mcar", *budget(90, 60_000)),
        seeds=span(100, 104),
        cap=90,
        policies=True,
    ),
    "lander": Study(
        question="Which paradigm solves LunarLanderContinuous soonest, and keeps it solved?",
        variants=_paradigms("workers=2"),
        common=("env=lander", *budget(300, 160_000)),
        seeds=span(100, 102),
        cap=300,
        policies=True,
    ),
    **{
        name: Study(
            question=f"Which paradigm has {agent.upper()} lap {circuit.title()} soonest,"
            " and keeps it so?",
            variants=_paradigms("workers=2"),
            common=(
                *(f"agent={agent}", "env=race", f"track={circuit}"),
                *(f"budget.env_steps={env_steps}", *RACED),
                "budget.seconds=160",
            ),
            seeds=span(101, last),
            cap=160,
            table="race",
        )
        for name, agent, circuit, env_steps, last in (
            ("thruxton", "ppo", "thruxton", 3_000_000, 103),
            ("anglesey", "ppo", "anglesey", 2_000_000, 103),
            ("anglesey_sac", "sac", "anglesey", 400_000, 103),
            ("thruxton_sac", "sac", "thruxton", 400_000, 101),
        )
    },
    "thruxton_long": Study(
        question="How fast is a lap of Thruxton after two, five and ten minutes?",
        variants={  # about as many env steps as ten minutes have, so that the rate falls to its end
            "sequential": ("paradigm=sequential", "budget.env_steps=12000000"),
            "hogwild": ("paradigm=hogwild", "workers=2", "budget.env_steps=18000000"),
        },
        common=("agent=ppo", "env=race", "track=thruxton", *RACED, "budget.seconds=600"),
        seeds=(101,),
        cap=600,
        table="race_long",
    ),
    "unseen": Study(
        question="Does a policy that has seen random circuits alone lap Thruxton?",
        variants={"hogwild": ("paradigm=hogwild", "workers=2")},
        common=(
            "agent=ppo",
            "env=race",
            "track=random",
            *THRUXTON_UNSEEN,
            *RACED,
            "budget.seconds=160",
        ),
        seeds=span(101, 103),
        cap=160,
        table="race",
    ),
    "carracing_latents": Study(
        question="Does SAC drive CarRacing further in eight minutes on latents than on images?",
        variants={
            "latents": (f"env.encoder={ENCODER}",),
            "images": ("agent.encoder=conv",),
        },
        common=(
            "agent=sac",
            "env=carracing",
            "paradigm=dcollect",
            "workers=1",  # and the learner: a core each
            "updates_per_env_step=0.25",  # one an action
            "warmup=4000",
            "replay.capacity=100000",
            "replay.batch_size=128",
            "evaluation.every_seconds=20",
            "evaluation.share=0.25",
            "evaluation.episodes=5",  # of 250 pictures
            "evaluation.confirm_episodes=20",
            *budget(480, 1_000_000),
        ),
        seeds=span(100, 101),
        cap=480,
        margin=180,
        table="gained",
    ),
    "warmup": Study(
        question="How many warm-up episodes of MountainCarContinuous reach the goal?",
        variants={f"hold_{hold}": (f"hold={hold}",) for hold in (1, 16)},
        common=("env=mcar", "episodes=200"),
        seeds=span(100, 104),
        cap=60,
        packable=True,
        program=("-m", "benchmarks.warmup"),
        table="warmup",
    ),
    "agents": Study(
        question="Does every agent learn, one process, within its budget of env steps?",
        variants={
            name: (f"agent={agent}", f"env={world}", f"budget.env_steps={env_steps}", *more)
            for name, agent, world, env_steps, *more in (
                ("dqn_cartpole", "dqn", "cartpole", 100_000),
                ("rainbow_cartpole", "rainbow", "cartpole", 100_000),
                ("sac_discrete_cartpole", "sac_discrete", "cartpole", 60_000),
                ("actor_critic_cartpole", "actor_critic", "cartpole", 100_000),
                ("ppo_cartpole", "ppo", "cartpole", 60_000),
                ("td3_pendulum", "td3", "pendulum", 30_000),
                ("tqc_pendulum", "tqc", "pendulum", 30_000),
                ("dqn_lander_discrete", "dqn", "lander_discrete", 200_000, *SELDOM),
                ("ppo_lander", "ppo", "lander", 500_000),
                ("tqc_lander", "tqc", "lander", 160_000, *SELDOM),
                ("actor_critic_lander", "actor_critic", "lander", 500_000, *SELDOM),
            )
        },
        common=("paradigm=sequential", "stop_when_solved=true", *QUIET),
        seeds=span(100, 104),
        cap=900,
        packable=True,
        table="solved",
    ),
    "walker": Study(
        question="Does PPO solve BipedalWalker within two million env steps and ten minutes?",
        variants={"ppo_walker": ("agent=ppo", "budget.env_steps=2000000")},
        common=(
            "env=walker",
            "paradigm=sequential",
            "env.engine=envpool",
            "budget.seconds=600",
            "stop_when_solved=true",
            "evaluation.share=1",  # the other core has nothing else to do
            *QUIET,
        ),
        seeds=span(114, 118),  # 100 to 112 were evaluated on before, with other settings
        cap=600,
        table="solved",
    ),
    "pairs": Study(
        question="Does every kind of agent learn in two workers, in every paradigm?",
        variants={
            f"{agent}_{paradigm}": (f"agent={agent}", f"env={world}", f"paradigm={paradigm}", steps)
            for agent, world, steps in (
                ("dqn", "cartpole", "budget.env_steps=100000"),
                ("ppo", "cartpole", "budget.env_steps=100000"),
                ("td3", "pendulum", "budget.env_steps=30000"),
            )
            for paradigm in ("dcollect", "dupdate", "hogwild")
        },
        common=("workers=2", "stop_when_solved=true", *QUIET),
        seeds=span(100, 102),
        cap=600,
        table="policy_lag",
    ),
    "chain": Study(
        question="Do longer backups, priorities and noisy networks earn their place on a chain?",
        variants={
            f"{name}{row}": (*chain, *options)
            for name, chain in (
                ("", ("env.kwargs.length=24",)),
                ("short_", ("env.kwargs.length=12", "evaluation.every_seconds=0.2")),
            )
            for row, options in (
                ("n_step_1", ("agent.n_step=1",)),
                ("n_step_3", ("agent.n_step=3",)),
                ("n_step_8", ("agent.n_step=8",)),
                ("n_step_3_prioritized", ("agent.n_step=3", "replay=prioritized")),
                ("noisy", ("agent.n_step=1", "agent.noisy=true", *GREEDY)),
            )
        },
        common=(
            "agent=dqn",
            "env=chain",
            "paradigm=sequential",
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
    "overestimation": Study(
        question="By how much does the critic overestimate what the policy then gets?",
        variants={
            "sac": ("agent=sac",),
            "sac_mean": ("agent=sac", "agent.pessimism=0"),
            **{f"tqc_{drop}": (*TWO_OF_TEN, f"agent.drop={drop}") for drop in (0, 1, 3)},
        },
        common=(
            "env=pendulum",
            "paradigm=sequential",
            "agent.hidden_sizes=[64,64]",
            "agent.lr=1e-3",
            "agent.tau=0.01",
            "agent.temperature=0.1",  # Q lags behind one that moves
            "replay.batch_size=128",
            "budget.env_steps=20000",
        ),
        seeds=span(100, 104),
        cap=300,
        packable=True,
        program=("-m", "benchmarks.overestimation"),
        table="overestimation",
    ),
    "elites": Study(
        question="Do elites and an averaged policy keep what slow, damped merging has learned?",
        variants={
            f"{world}_{name}": (f"env={world}", f"budget.env_steps={env_steps}", *elites)
            for world, env_steps in (("pendulum", 40_000), ("mcar", 60_000))
            for name, elites in (
                ("uniform", ("replay.share=0",)),
                ("elites", ("replay.share=0.25",)),
                ("elites_finetuned", ("replay.share=0.25", "replay.finetune=0.1")),
            )
        },
        common=(
            "paradigm=dupdate",
            "paradigm.merge=damped",
            "workers=3",
            "max_ahead=0",
            "crew=inline",  # the bits of three processes, on one core
            "replay=elite",
            "replay.batch_size=128",
            "agent.hidden_sizes=[64,64]",
            "agent.average=0.005",
            "evaluation.every_seconds=2",
            "stop_when_solved=false",
            *QUIET,
        ),
        seeds=span(100, 109),
        cap=900,
        packable=True,
        table="kept",
    ),
    **DISTRIBUTED,
    **PICTURES,
}
