"""Hands on the policy that a run has left: python export.py run=FOLDER format=onnx

Writes a folder with the policy, a model card (README.md, with the metadata that the Hugging Face
Hub reads), and the learning curve. What is exported maps observations [batch, ...] to greedy
actions, as agents see both: flat float32 observations, uint8 images, or those of a Dict with
images by name, as one dictionary; Box actions in [-1, 1], which are mapped onto the env's bounds,
and Discrete ones counted from 0. It is compared with the agent on 1,000 observations. The keys, as
they are without your word:
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import evaluate
from conf import schema, trust
from conf.compose import compose
from conf.sentences import Wrong, line, refuse

if TYPE_CHECKING:
    import numpy as np
    import torch

    from agents.base import Agent
    from agents.packed import Packed
    from paradigms.session.evaluation_worker import Plan

OBSERVATIONS = 1000
MOST_LINE = 2**20  # bytes of a line of metrics.jsonl
MOST_APART = 1e-5  # of a Box action, in [-1, 1]
FILES = {"onnx": "policy.onnx", "torch_export": "policy.pt2", "safetensors": "policy.safetensors"}


def main() -> None:
    """The console command. Leaves with 2 and one sentence if what was typed cannot be done."""
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        keys = (trust.HERE / "export.yaml").read_text("utf-8").splitlines()[1:]
        print((__doc__ or "").strip(), *keys, sep="\n  ")
        return
    try:
        export(checked(arguments))
    except Wrong as error:
        refuse(error)


def checked(arguments: list[str]) -> schema.Export:
    """The composed settings. Raises Wrong."""
    values = compose(arguments, "export").values
    schema.check(schema.Export, values)
    settings: schema.Export = schema.build(schema.Export, values)
    return settings


def export(v: schema.Export) -> None:
    """Writes the folder and prints what is in it. Raises Wrong."""
    trusted = trust.trusted(v.trust)
    source = evaluate.find(Path(v.run), v.policy)
    if v.format == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            if find_spec(package) is None:
                raise Wrong(f"format=onnx needs {package}: pip install 'paceline[export]'")
    about = trust.read(source.with_suffix(".json"))
    out = Path(v.out) if v.out else source.parent / "export"
    if out.is_symlink() and not v.out:
        raise Wrong(f"{out} is a link: name the folder to write to by out=FOLDER")
    import paradigms.runtime.machine as machine  # before torch: it sets the number of threads

    machine.prepare()
    from conf.build import rebuild
    from paradigms.session import files
    from paradigms.session.checkpoint import Damaged
    from paradigms.session.policy import load_policy, save_policy

    try:
        snapshot, noted = load_policy(source)
        plan = rebuild(about, floats=len(snapshot.floats), slots=1, seed=0, trusted=trusted)
        agent, world = plan.build()
        snapshot.into(agent)
        space = packed(agent)
        out.mkdir(parents=True, exist_ok=True)
        target, apart = files.own(out / FILES[v.format]), None
        if v.format == "safetensors":
            save_policy(target, snapshot, noted)
        else:
            obs = observations(plan, agent, world)
            apart = write(agent, obs, v.format, target)
        world.close()
    except NotImplementedError as error:
        raise Wrong(f"{source}: {line(error)}, so it cannot be exported") from error
    except (Damaged, Wrong, ValueError, RuntimeError, OSError) as error:
        text = line(error)
        raise Wrong(text if str(source) in text else f"{source}: {text}") from error
    films = [source.with_name(f"{source.stem}{which}.mp4") for which in ("", "_best")]
    films = [film for film in films if film.is_file() and not film.is_symlink()]
    for film in films[:1]:  # as evaluate.py names them
        shutil.copyfile(film, files.own(out / "replay.mp4"))
    curve(source.parent / "metrics.jsonl", out / "curve.png")
    takes = "observations [batch, ...]" if space is None else f"a batch of {space}"
    written = card(about, source, v.format, apart, out, takes)
    files.own(out / "README.md").write_text(written, "utf-8")
    print(f"{target}" + ("" if apart is None else f", {apart} on {OBSERVATIONS} observations"))
    print("with", *sorted(path.name for path in out.iterdir() if path != target))


def observations(plan: Plan, agent: Agent, world: Any) -> np.ndarray:
    """Observations [1000, ...] of episodes in which every second action is random."""
    import numpy as np

    rng, seen = np.random.default_rng(0), []
    space = plan.spec.action_space
    space.seed(0)
    obs, _ = world.reset(seed=0)
    for _ in range(OBSERVATIONS):
        seen.append(obs[0])
        action, _, _ = agent.act(obs, agent.initial_state(1), None)
        if rng.random() < 0.5:
            action = np.asarray(space.sample())[None]
        obs, *_ = world.step(action)
    return np.stack(seen)


def write(agent: Agent, obs: np.ndarray, kind: str, target: Path) -> str:
    """Exports the policy, runs what was written, and says how far it is from the agent. Raises
    Wrong where it is another policy."""
    import numpy as np
    import torch

    policy, batch = module(agent), {0: torch.export.Dim("batch")}
    arrays = {"obs": obs} if (space := packed(agent)) is None else space.split(obs)
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}

    def given(named: dict[str, Any]) -> Any:
        return named["obs"] if space is None else named

    examples = {name: tensor[:2].clone() for name, tensor in tensors.items()}
    sizes = given(dict.fromkeys(arrays, batch))
    program = torch.export.export(policy, (given(examples),), dynamic_shapes={"obs": sizes})
    if kind == "torch_export":
        torch.export.save(program, str(target))
        with torch.no_grad():
            made = torch.export.load(str(target)).module()(given(tensors)).numpy()
    else:
        import onnxruntime

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's exporter warns of itself
            written = torch.onnx.export(
                program, input_names=[*arrays], output_names=["action"], verbose=False
            )
        assert written is not None
        written.save(str(target))
        session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
        (made,) = session.run(None, {name: tensor.numpy() for name, tensor in tensors.items()})
    wanted = agent.act(obs, agent.initial_state(len(obs)), None).action
    if np.issubdtype(wanted.dtype, np.integer):
        others = int((made != wanted).sum())
        if others:
            raise Wrong(f"{target} chooses another action on {others} of {len(obs)} observations")
        return "the same actions"
    apart = float(np.abs(made - wanted).max())
    if not apart <= MOST_APART:
        raise Wrong(f"{target} is up to {apart:.2g} from the agent, more than {MOST_APART:g}")
    return f"at most {apart:.1e} from the agent"


def packed(agent: Agent) -> Packed | None:
    """The space of the agent's observations if they are packed."""
    from agents.packed import Packed

    space = agent.spec.observation_space
    return space if isinstance(space, Packed) else None


def module(agent: Agent) -> torch.nn.Module:
    """The agent's policy as a module without gradients. The agent leaves its vector."""
    import torch

    moved = [tensor for group in agent.groups.values() for tensor in group.tensors]
    for tensor in [*moved, *(tensor for slow in agent.slow.values() for tensor in slow)]:
        tensor.requires_grad_(False)
        tensor.data = tensor.data.clone()  # no views of one vector, which would be kept whole
    agent.storage_moved()

    class Policy(torch.nn.Module):
        def forward(self, obs: Any) -> torch.Tensor:
            with torch.no_grad():
                return agent.policy(obs)

    return Policy().eval()


def curve(metrics: Path, target: Path) -> None:
    """The learning curve, where the run was evaluated twice and matplotlib is there."""
    if not metrics.is_file() or find_spec("matplotlib") is None:
        return
    from paradigms.report import curves
    from paradigms.session import files

    axes = {"seconds": "seconds", "env_steps": "env steps"}
    rows = list(evaluations(metrics, ("mean", *axes)))
    if len(rows) > 1:
        means = [row["mean"] for row in rows]
        panels = [
            curves.Panel(label, {"evaluations": [([row[key] for row in rows], means)]})
            for key, label in axes.items()
        ]
        curves.draw(panels, files.own(target))


def evaluations(metrics: Path, keys: Sequence[str]) -> Iterator[dict[str, float]]:
    """The numbers of these keys in every whole line of an evaluation; others are left out."""
    with metrics.open("rb") as lines:
        for text in iter(lambda: lines.readline(MOST_LINE), b""):
            try:
                row = json.loads(text)
                if row["kind"] == "evaluation":
                    yield {key: number(row[key]) for key in keys}
            except (ValueError, LookupError, TypeError, RecursionError):
                continue


def number(value: Any) -> float:
    """Raises ValueError for anything but a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise ValueError(value)
    return value


def card(
    about: dict[str, Any], source: Path, kind: str, apart: str | None, out: Path, takes: str
) -> str:
    """The model card: Markdown, with the metadata that the Hugging Face Hub reads."""
    import yaml

    choices, env = about.get("choices"), about["env"]
    choices = choices if isinstance(choices, dict) else {}
    agent, world = str(choices.get("agent", "agent")), str(env.get("id"))
    result_file = source.parent / "result.json"
    result = trust.read(result_file) if result_file.is_file() else {}
    mean = result.get("confirmed_return") if source.stem == "solving" else None
    mean = mean if mean is not None else result.get("final_return")
    if mean is not None and not schema.fits(mean, float):
        raise Wrong(f"{result_file}: its return {mean!r} is no number")
    metric = {"type": "mean_reward", "name": "mean return"}
    data = {
        "library_name": "paceline",
        "tags": ["reinforcement-learning", "paceline", agent, world],
        "model-index": [
            {
                "name": f"{agent} on {world}",
                "results": [
                    {
                        "task": {
                            "type": "reinforcement-learning",
                            "name": "reinforcement-learning",
                        },
                        "dataset": {"type": world, "name": world},
                        "metrics": [{**metric, "value": mean}],
                    }
                ],
            }
        ],
    }
    lines = [
        f"---\n{yaml.safe_dump(data, sort_keys=False)}---\n",
        f"# {agent} on {world}\n",
        f"Trained with `paradigm={choices.get('paradigm', '?')}`, {int(about['updates']):,}"
        f" updates, {int(about['env_steps']):,} env steps, {float(about['seconds']):.0f} s, seed"
        f" {about['seed'] if isinstance(about.get('seed'), int) else '?'}.",
    ]
    if mean is not None:
        lines.append(f"Mean return of the run's own measurement: {mean:.1f}.")
    if env.get("threshold") is not None:
        lines.append(f"Threshold: {env['threshold']:g}.")
    lines.append(f"\n`{FILES[kind]}`" + (f" is {apart}." if apart else ", and what rebuilds it."))
    lines.append(
        f"It takes {takes} and gives greedy actions: Box actions in [-1, 1], which are mapped onto"
        " the env's bounds, Discrete ones counted from 0.\n"
    )
    if (out / "curve.png").exists():
        lines.append("![Returns of evaluations](curve.png)\n")
    if (out / "replay.mp4").exists():
        lines.append("[One episode](replay.mp4)\n")
    if kind == "safetensors":
        lines.append("Play it: `python evaluate.py run=. policy=policy.safetensors`\n")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
