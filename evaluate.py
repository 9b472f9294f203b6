"""Plays the policy that a run has left: python evaluate.py run=FOLDER episodes=20 video=true

Prints a table of greedy episodes on the reference env. A policy is data: it may come from
anybody. The keys, as they are without your word:
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from conf import schema, trust
from conf.compose import compose
from conf.sentences import Wrong, line, refuse

if TYPE_CHECKING:
    import numpy as np

    from paradigms.base import Snapshot
    from paradigms.loop.episodes import Returns
    from paradigms.session.evaluation_worker import Plan

POLICIES = ("solving", "best", "final")
COLUMNS = ("mean", "std", "least", "median", "most")


def main() -> None:
    """The console command. Leaves with 2 and one sentence if what was typed cannot be done."""
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        keys = (trust.HERE / "evaluate.yaml").read_text("utf-8").splitlines()[1:]
        print((__doc__ or "").strip(), *keys, sep="\n  ")
        return
    try:
        evaluate(checked(arguments))
    except Wrong as error:
        refuse(error)


def checked(arguments: list[str]) -> schema.Play:
    """The composed settings. Raises Wrong."""
    values = compose(arguments, "evaluate").values
    schema.check(schema.Play, values)
    for key in ("run", "policy"):
        if not values[key].strip():
            raise Wrong(f"{key}= is empty: {key}=VALUE, see --help")
    play: schema.Play = schema.build(schema.Play, values)
    return play


def play(run: str | Path, *words: str) -> Returns:
    """From Python: the greedy episodes of a run's policy, as the command plays them. `returns`
    float64 [episodes], `lengths` int64 [episodes], in env steps. words: "episodes=50" and the like.
    Raises Wrong."""
    return played(checked([f"run={run}", *words])).returns


class Played(NamedTuple):
    """A policy, its file and what was noted about it, how it was evaluated, and its episodes."""

    path: Path
    about: dict[str, Any]
    plan: Plan
    snapshot: Snapshot
    returns: Returns


def evaluate(v: schema.Play) -> None:
    """Plays, prints, and writes a video if asked to. Raises Wrong."""
    for key, package, extra in (
        ("video", "imageio_ffmpeg", "video"),
        ("picture", "matplotlib", "report"),
        ("plot", "matplotlib", "report"),
    ):
        if getattr(v, key) and find_spec(package) is None:
            raise Wrong(f"{key}=true needs the extra {extra}: pip install 'paceline[{extra}]'")
    found = played(v)
    tell(found)
    from paradigms.session import files

    path = found.path
    if v.plot:
        from paradigms.report import episodes

        target = files.own(path.with_name(f"{path.stem}_returns.svg"))
        episodes.draw(found.returns.returns, target, threshold=found.about["env"].get("threshold"))
        print("returns:", target)
    for which in ("best", "worst") if v.episode == "both" else (v.episode,):
        both = f"{path.stem}_{which}{path.suffix}"
        stem = path.with_name(both) if v.episode == "both" else path
        targets = [stem.with_suffix(".mp4")] if v.video else []
        if v.picture:
            targets += [stem.with_suffix(".png"), stem.with_suffix(".svg")]
        if targets:
            targets = [files.own(target) for target in targets]
            try:
                show(found.plan, found.snapshot, targets, shown(found, which))
            except (ValueError, RuntimeError) as error:
                raise Wrong(f"{path}: {line(error)}") from error
            print("one episode:" if which == "other" else f"the {which} episode:", *targets)


def played(v: schema.Play) -> Played:
    """Rebuilds agent and env of a stored policy and plays it. Raises Wrong."""
    trusted = trust.trusted(v.trust)
    path = find(Path(v.run), v.policy)
    about = trust.read(path.with_suffix(".json"))
    import paradigms.runtime.machine as machine  # before torch: it sets the number of threads

    machine.prepare()
    from conf.build import rebuild
    from paradigms.session.checkpoint import Damaged
    from paradigms.session.evaluator import Evaluator
    from paradigms.session.policy import load_policy

    try:
        snapshot, _ = load_policy(path)
        plan = rebuild(
            about,
            floats=len(snapshot.floats),
            slots=1 if v.engine == "arrival" else min(20, v.episodes),
            seed=v.seed,
            kwargs=v.kwargs,
            engine=v.engine,
            trusted=trusted,
        )
        for key in ("video", "picture"):
            if getattr(v, key) and not draws(plan, key):
                raise Wrong(f"{key}=true: this env draws no {key}")
        with Evaluator(plan, where="inline", say=lambda words, trace: print(words)) as evaluator:
            returns = evaluator.measure(snapshot, v.episodes)
    except (Damaged, Wrong, ValueError, RuntimeError) as error:
        text = line(error)
        raise Wrong(text if str(path) in text else f"{path}: {text}") from error
    except Exception as error:  # of an env that is given keywords which it did not look at
        raise Wrong(f"{path}: its env failed: {type(error).__name__}: {line(error)}") from error
    return Played(path, about, plan, snapshot, returns)


def tell(found: Played) -> None:
    """Prints what was played, and a table of what it came to."""
    path, about, snapshot, played = found.path, found.about, found.snapshot, found.returns
    choices = about.get("choices")
    agent = choices.get("agent") if isinstance(choices, dict) else "an agent"
    print(f"{path}: {agent} on {about['env'].get('id')}, {snapshot.updates:,} updates")
    rows = {"return": played.returns, "length, env steps": played.lengths, **played.metrics}
    print(*table(rows), sep="\n")
    said = f"over {len(played.returns)} episodes"
    threshold = about["env"].get("threshold")
    if threshold is not None:
        good = int((played.returns >= threshold).sum())
        said += f", of which {good} reach the threshold of {threshold:g}"
    print(said)


def table(rows: Mapping[str, np.ndarray]) -> Iterator[str]:
    """The lines of a table: for each name the statistics of its numbers [episodes], without NaN."""
    import numpy as np

    known = {name: values[~np.isnan(values)] for name, values in rows.items()}
    known = {name: values for name, values in known.items() if len(values)}
    width = max(len(name) for name in known)
    yield " " * width + "".join(f"{word:>11}" for word in COLUMNS)
    for name, values in known.items():
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        cells = (values.mean(), spread, values.min(), np.median(values), values.max())
        yield f"{name:<{width}}" + "".join(f"{cell:>11,.{digits(values)}f}" for cell in cells)


def digits(values: np.ndarray) -> int:
    """Decimal places that show numbers of this size: 1, or 3 where all are below 10."""
    return 1 if abs(values).max() >= 10 else 3


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


def shown(found: Played, which: str) -> list[int]:
    """The seed of the episode that is filmed. An env whose episodes depend on their slot, as those
    of a race do a little, may play another one from it."""
    if which == "other":
        return found.plan.seeds("film", 0, 1)
    returns = found.returns.returns
    index = int(returns.argmax() if which == "best" else returns.argmin())
    return [found.plan.seeds("measure", 0, len(returns))[index]]


def draws(plan: Plan, what: str) -> bool:
    """Whether the env can be filmed, or draws a picture of an episode."""
    _, world = plan.build()
    world.close()
    if what == "picture":
        return hasattr(world.unwrapped, "picture")
    return "rgb_array" in world.metadata.get("render_modes", ())


def show(plan: Plan, snapshot: Snapshot, targets: list[Path], seed: list[int]) -> None:
    """The greedy episode of that seed, as an mp4 and as pictures of it, by the suffixes of the
    targets."""
    import numpy as np

    made: Any = plan.make_env
    agent, _ = plan.build()
    videos = [target for target in targets if target.suffix == ".mp4"]
    kwargs = dict(made.keywords.get("kwargs") or {})
    env = made(
        num_envs=1,
        seed=plan.seed,
        rank=None,
        kwargs=kwargs | {"render_mode": "rgb_array"} if videos else kwargs,
    )
    snapshot.into(agent)
    obs, _ = env.reset(seed=seed)
    state, over, video = agent.initial_state(1), False, None
    try:
        if videos:
            video = writer(videos[0], env, plan.spec.action_repeat)
        while not over:
            if video is not None:
                video.send(np.ascontiguousarray(env.render()[0]))
            action, state, _ = agent.act(obs, state, None)
            obs, _, terminated, truncated, info = env.step(action)
            over = bool(terminated[0] or truncated[0] or "env_error" in info)
        for target in targets:
            if target not in videos:
                env.unwrapped.picture(target)
    finally:
        if video is not None:
            video.close()
        env.close()


def writer(target: Path, env: Any, action_repeat: int) -> Any:
    """Takes frames by `send` and writes them as an mp4, at the speed of the world."""
    import imageio_ffmpeg

    height, width, _ = env.render()[0].shape
    rate = env.metadata.get("render_fps", 30) / action_repeat
    video = imageio_ffmpeg.write_frames(
        str(target), (width, height), fps=rate, macro_block_size=1, quality=7
    )
    video.send(None)
    return video


if __name__ == "__main__":
    main()
