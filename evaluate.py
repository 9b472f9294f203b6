"""Plays the policy that a run has left: python evaluate.py run=FOLDER episodes=20 video=true

Prints the mean, spread and length of greedy episodes on the reference env. The keys:
"""

from __future__ import annotations

import statistics
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conf import signature
from conf.compose import Setup, compose, flatten
from conf.sentences import Wrong, near
from conf.settings import EVALUATION

if TYPE_CHECKING:
    from paradigms.base import Snapshot
    from paradigms.loop.episodes import Returns
    from paradigms.session.evaluation_worker import Plan

POLICIES = ("solving", "best", "final")


def main() -> None:
    """The console command. Leaves with 2 and one sentence if what was typed cannot be done."""
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__.strip(), *_keys(), sep="\n  ")
        return
    try:
        evaluate(checked(arguments).values)
    except Wrong as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


def checked(arguments: list[str]) -> Setup:
    """The composed settings. Raises Wrong."""
    setup = compose(arguments, "evaluate")
    for key, value in flatten(setup.values):
        if key not in EVALUATION:
            raise Wrong(f"{key} is not a setting; {near(key, EVALUATION)}")
        EVALUATION[key].check(key, value)
    return setup


def evaluate(v: dict[str, Any]) -> None:
    """Plays, prints, and writes a video if asked to."""
    path = find(Path(v["run"]), v["policy"])
    if v["video"] and find_spec("imageio_ffmpeg") is None:
        raise Wrong("video=true needs the extra video: pip install 'paceline[video]'")
    import paradigms.runtime.machine as machine  # before torch: it sets the number of threads

    machine.prepare()
    from paradigms.session.checkpoint import Damaged
    from paradigms.session.evaluator import Evaluator
    from paradigms.session.policy import load_policy

    try:
        snapshot, about = load_policy(path)
        plan = rebuild(about, slots=min(20, v["episodes"]), seed=v["seed"])
        with Evaluator(plan, where="inline") as evaluator:
            played = evaluator.measure(snapshot, v["episodes"])
        tell(path, snapshot, about, played)
        if v["video"]:
            target = path.with_name(f"{path.stem}.mp4")
            film(plan, snapshot, target)
            print(f"video of one episode: {target}")
    except (Damaged, ValueError, RuntimeError) as error:
        raise Wrong(f"{path}: {' '.join(str(error).split())}") from error


def tell(path: Path, snapshot: Snapshot, about: dict[str, Any], played: Returns) -> None:
    """Prints what was played, and what it came to."""
    returns = [float(r) for r in played.returns]
    spread = statistics.stdev(returns) if len(returns) > 1 else 0.0
    threshold = about["env"]["threshold"]
    print(
        f"{path}: {about['choices'].get('agent')} on {about['env']['id']},"
        f" {snapshot.updates:,} updates"
    )
    print(
        f"return {statistics.mean(returns):.1f} +- {spread:.1f} over {len(returns)} episodes"
        f" (least {min(returns):.1f}, most {max(returns):.1f}), length {played.lengths.mean():.0f}"
        + (f", threshold {threshold:g}" if threshold is not None else "")
    )


def find(run: Path, policy: str) -> Path:
    """The policy's file: that of the run's folder, or a path given as such. Raises Wrong."""
    if policy.endswith(".safetensors"):
        return Path(policy)
    if not run.is_dir():
        raise Wrong(f"run={run} is not a folder; give a run's, such as outputs/DAY/NAME")
    there = [name for name in POLICIES if (run / f"{name}.safetensors").is_file()]
    wanted = policy if policy != "newest" else there[-1] if there else "final"
    if wanted not in there:
        have = f"it has {', '.join(there)}" if there else "the run has left none yet"
        raise Wrong(f"run={run} has no policy {wanted}; {have}")
    return run / f"{wanted}.safetensors"


def rebuild(about: dict[str, Any], *, slots: int, seed: int) -> Plan:
    """Agent and env as the run had them; builds only what lies in our packages. Raises Wrong."""
    from hydra.utils import instantiate

    from envs.make import describe
    from paradigms.session.evaluation_worker import Plan

    nodes = {"agent": about["agent"], "env.make": about["env"]["make"]}
    for key, value in flatten(nodes):
        if key.endswith("_target_") and value.partition(".")[0] not in signature.OURS:
            raise Wrong(f"{key}={value} is not code of this library, so it is not run")
    make_env = instantiate(nodes["env.make"], _convert_="all")
    spec = describe(make_env, threshold=about["env"]["threshold"])
    make_agent = instantiate(nodes["agent"], _convert_="all")
    return Plan(make_agent, make_env, spec, slots=slots, seed=seed)


def film(plan: Plan, snapshot: Snapshot, target: Path) -> None:
    """One greedy episode as an mp4. Raises Wrong if the env draws no pictures."""
    import imageio_ffmpeg
    import numpy as np

    made: Any = plan.make_env
    agent, world = plan.build()
    if "rgb_array" not in world.metadata.get("render_modes", ()):
        raise Wrong("video=true: this env draws no pictures")
    kwargs = {**(made.keywords.get("kwargs") or {}), "render_mode": "rgb_array"}
    env = made(num_envs=1, seed=plan.seed, rank=None, kwargs=kwargs)
    snapshot.into(agent)
    obs, _ = env.reset(seed=plan.seeds("film", 0, 1))
    state, over = agent.initial_state(1), False
    first = np.asarray(env.render()[0])
    rate = env.envs[0].metadata.get("render_fps", 30) / plan.spec.action_repeat
    video = imageio_ffmpeg.write_frames(
        str(target), (first.shape[1], first.shape[0]), fps=rate, macro_block_size=1, quality=7
    )
    video.send(None)
    try:
        while not over:
            video.send(np.ascontiguousarray(env.render()[0]))
            action, state, _ = agent.act(obs, state, None)
            obs, _, terminated, truncated, _ = env.step(action)
            over = bool(terminated[0] or truncated[0])
    finally:
        video.close()
        env.close()


def _keys() -> list[str]:
    return [f"{key:9} {setting.meaning}" for key, setting in EVALUATION.items()]


if __name__ == "__main__":
    main()
