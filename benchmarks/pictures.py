"""Studies of worlds that are seen as pictures, as data."""

from __future__ import annotations

from benchmarks.plans import QUIET, Study, span

MEASURED = (
    "evaluation.every_seconds=60",
    "evaluation.episodes=5",
    "evaluation.confirm_episodes=20",
    "stop_when_solved=false",
    "workers=2",
    *QUIET,
)
PEER = "stable_baselines3_dqn"

PICTURES: dict[str, Study] = {
    "breakout": Study(
        question="How far does DQN come on Breakout in half an hour, here and in"
        " Stable-Baselines3?",
        variants={
            "dqn_hogwild": (
                "agent=dqn",
                "env=breakout",
                "paradigm=hogwild",
                "agent.encoder=nature",
                "agent.features=0",
                "agent.hidden_sizes=[512]",
                "agent.lr=1e-4",
                "updates_per_env_step=0.0625",
                "replay.batch_size=32",
                "replay.capacity=100000",
                "warmup=4000",
                "explore.steps=100000",
                "explore.final=0.01",
                "budget.env_steps=100000000",
                *MEASURED,
            ),
            PEER: (),
        },
        common=("budget.seconds=1800",),
        seeds=span(100, 100),
        cap=1800,
        margin=600,
        programs={PEER: ("-m", "benchmarks.breakout_peer")},
        table="pictures",
    ),
}
