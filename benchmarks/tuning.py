"""What tune.py does: Optuna asks for settings, train.py trains each of them with every seed."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import cells, study
from benchmarks.plans import Cell
from benchmarks.study import Run
from conf import check, trust
from conf.sentences import Wrong, and_, shown

SPACES = Path(__file__).resolve().parent / "spaces"
OWN = {"space": "", "trials": "20", "seeds": "0-1", "score": "return", "out": ""}
BOUNDS = {"low", "high", "log"}
PARTS = 10  # of a run, after each of which a trial is compared with the others
STARTED = 4  # trials that are trained whole before any is stopped
MARGIN = 120.0  # seconds after budget.seconds at which a run is killed
QUIET = ("logger=[]", "checkpoint.at_end=false", "journal=false")


@dataclass(frozen=True)
class Search:
    """A search as it was typed. space: by key, either low and high, or choices."""

    space: Mapping[str, Mapping[str, Any]]
    trials: int
    seeds: Sequence[int]
    score: str
    common: tuple[str, ...]
    out: Path
    env_steps: int
    seconds: float | None


def main(arguments: Sequence[str]) -> int:
    """Runs the trials that are missing, and prints the best. Raises Wrong."""
    search = read(arguments)
    if find_spec("optuna") is None:
        raise Wrong("tune.py needs optuna: pip install 'paceline[hpo]'")
    search.out.mkdir(parents=True, exist_ok=True)
    found = opened(search)
    print(f"{done(found)} of {search.trials} trials are there; {search.out}", flush=True)
    try:
        while done(found) < search.trials:
            print(attempt(found, search), flush=True)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", flush=True)
        return 130
    print(best(found, search))
    return 0


def read(arguments: Sequence[str]) -> Search:
    """What was typed, checked. Raises Wrong."""
    own, common = dict(OWN), []
    for word in arguments:
        key, equals, value = word.partition("=")
        if not equals:
            raise Wrong(f"{word!r} is no setting: write KEY=VALUE, see --help")
        if key in own:
            own[key] = value
        elif key == "seed":
            raise Wrong("seeds=0-1 sets the seeds; leave out seed")
        else:
            common.append(word)
    if not own["space"]:
        names = and_(path.stem for path in SPACES.glob("*.yaml"))
        raise Wrong(f"space=NAME is missing: there are {names}, or give the path of a YAML file")
    try:
        trials, seeds = int(own["trials"]), study.parse_seeds(own["seeds"])
    except ValueError:
        raise Wrong("trials must be a number, and seeds like 0-1 or 0,3") from None
    if trials < 1 or not seeds:
        raise Wrong("trials must be at least 1, and seeds must name one or more")
    if own["score"] not in ("return", "seconds"):
        raise Wrong(f"score={own['score']} must be return or seconds")
    space = read_space(own["space"])
    first = [f"{key}={shown(example(bounds))}" for key, bounds in space.items()]
    setup = check.command_line([*common, *first, *QUIET, f"seed={seeds[0]}"]).setup
    if setup is None:
        raise Wrong("tune.py trains one run after another: leave out -m and Hydra's own flags")
    budget = setup.values["budget"]
    if own["score"] == "return" and not setup.values["evaluation"]["confirm_episodes"]:
        raise Wrong("score=return is that of the final policy: set evaluation.confirm_episodes=20")
    if own["score"] == "seconds" and (
        budget["seconds"] is None or setup.values["env"]["threshold"] is None
    ):
        raise Wrong("score=seconds needs budget.seconds=SECONDS, and an env with a threshold")
    digest = hashlib.sha256(repr((space, common, seeds, own["score"])).encode()).hexdigest()[:6]
    name = re.sub(r"[^\w.-]+", "-", f"{Path(own['space']).stem}_{setup.choices['env']}_{digest}")
    return Search(
        space=space,
        trials=trials,
        seeds=seeds,
        score=own["score"],
        common=tuple(common),
        out=Path(own["out"] or Path("outputs") / "tune" / name).absolute(),
        env_steps=budget["env_steps"],
        seconds=budget["seconds"],
    )


def read_space(name: str) -> dict[str, dict[str, Any]]:
    """A search space by key. Raises Wrong."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else SPACES / f"{name}.yaml"
    if not path.is_file():
        names = and_(path.stem for path in SPACES.glob("*.yaml"))
        raise Wrong(f"space={name} is not a choice: there are {names}, or give a path")
    space = trust.read(path)
    for key, bounds in space.items():
        where = f"{path}: {key}"
        if not isinstance(bounds, dict):
            raise Wrong(f"{where} must have low and high, or choices")
        if set(bounds) == {"choices"}:
            if not isinstance(bounds["choices"], list) or not bounds["choices"]:
                raise Wrong(f"{where}.choices must be a list of values")
        elif {"low", "high"} <= set(bounds) <= BOUNDS:
            low, high = bounds["low"], bounds["high"]
            numbers = all(isinstance(n, int | float) for n in (low, high))
            if not numbers or not low < high or (bounds.get("log") and low <= 0):
                raise Wrong(f"{where} must have numbers low < high, above 0 where log is true")
        else:
            raise Wrong(f"{where} must have low and high (and log), or choices")
    if not space:
        raise Wrong(f"{path} names no key to change")
    return space


def example(bounds: Mapping[str, Any]) -> Any:
    """A value of the space, to check a command line with."""
    return bounds["choices"][0] if "choices" in bounds else bounds["low"]


def opened(search: Search) -> Any:
    """The study on disk. Trials that were interrupted are asked for again, first of all."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(search.out / "study.log")))
    found = optuna.create_study(
        study_name="tune",
        storage=storage,
        load_if_exists=True,
        direction="maximize" if search.score == "return" else "minimize",
        sampler=optuna.samplers.TPESampler(n_startup_trials=max(STARTED, 5)),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTED, n_warmup_steps=PARTS // 3),
    )
    for trial in found.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        found.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            found.enqueue_trial(trial.params)
    return found


def done(found: Any) -> int:
    """Trials that have ended by themselves: trained whole, or stopped by the pruner."""
    from optuna.trial import TrialState

    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    return len(found.get_trials(deepcopy=False, states=ended))


def attempt(found: Any, search: Search) -> str:
    """One trial; returns a line about it. Raises Wrong where a run ends badly."""
    from optuna.trial import TrialState

    trial = found.ask()
    values = {key: suggested(trial, key, bounds) for key, bounds in search.space.items()}
    words = [f"{key}={shown(value)}" for key, value in values.items()]
    scores: list[float] = []
    for index, seed in enumerate(search.seeds):
        score = train(trial, search, words, seed, index, scores)
        if score is None:
            found.tell(trial, state=TrialState.PRUNED)
            return f"trial {trial.number}: stopped at seed {seed}  {' '.join(words)}"
        scores.append(score)
        trial.set_user_attr(f"seed {seed}", score)
    found.tell(trial, fmean(scores))
    each = ", ".join(f"{score:.1f}" for score in scores)
    return f"trial {trial.number}: {fmean(scores):.1f} ({each})  {' '.join(words)}"


def suggested(trial: Any, key: str, bounds: Mapping[str, Any]) -> Any:
    if "choices" in bounds:
        return trial.suggest_categorical(key, bounds["choices"])
    low, high, log = bounds["low"], bounds["high"], bool(bounds.get("log"))
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=log)
    return rounded(trial.suggest_float(key, low, high, log=log))


def rounded(value: Any) -> Any:
    """A setting as a run gets it: four digits of a float are enough."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def train(
    trial: Any, search: Search, words: list[str], seed: int, index: int, before: list[float]
) -> float | None:
    """The score of one run, None if the pruner stopped it. Raises Wrong where it ended badly."""
    cap = math.inf if search.seconds is None else search.seconds + MARGIN
    overrides = (*search.common, *words, *QUIET, f"seed={seed}")
    program = (str(cells.ROOT / "train.py"),)
    cell = Cell("runs", f"trial{trial.number}", seed, program, overrides, cap)
    folder = search.out / "runs" / f"{trial.number}_{seed}"
    run, told = Run(cell, folder, Path.cwd()), 0
    try:
        while not run.ended():
            time.sleep(0.2)
            curve = cells.evaluations(folder / "metrics.jsonl")
            if not curve["mean"]:
                continue
            part = int(PARTS * curve["env_steps"][-1] / search.env_steps)
            if search.score == "return" and told < part < PARTS:
                told = part
                trial.report(fmean([*before, curve["mean"][-1]]), index * PARTS + part)
                if trial.should_prune():
                    return None
    finally:
        if run.process.poll() is None:
            run.interrupt()
    result = cells.result(folder)
    if run.process.returncode != 0 or not result:
        said = (folder / "study.log").read_text(errors="replace").split("\n")
        raise Wrong(f"a run of trial {trial.number} failed: {said[-2] if said[1:] else folder}")
    if search.score == "seconds":
        return float(result["seconds_to_threshold"] if result["solved"] else search.seconds or 0)
    return float(result["final_return"])


def best(found: Any, search: Search) -> str:
    """The best trial, as the words that train with it."""
    from optuna.trial import TrialState

    if not found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return "no trial was trained whole"
    winner = found.best_trial
    settings = {key: rounded(value) for key, value in winner.params.items()}
    words = [f"{key}={shown(value)}" for key, value in settings.items()]
    record = {"score": winner.value, "trial": winner.number, "settings": settings}
    (search.out / "best.json").write_text(json.dumps(record, indent=1))
    return f"best: {winner.value:.1f}\n  python train.py {' '.join([*search.common, *words])}"
