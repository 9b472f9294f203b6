"""Sinks: they get what metrics.jsonl gets, and one that fails is named once and left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from conf import check
from conf.compose import compose
from conf.sentences import Wrong
from paradigms.session.folder import RunFolder
from paradigms.session.sinks import Run, Sinks, TensorBoard, public
from tests.pages import ROOT

SMALL = (
    "env=pendulum warmup=64 budget.env_steps=400 agent.hidden_sizes=[8] replay.batch_size=8"
    " evaluation.episodes=1 evaluation.confirm_episodes=1 evaluation.every_seconds=0 seed=3"
).split()

MINE = '''
"""A tracker of one's own."""
import json, os


class Mine:
    def __init__(self, *, file: str, fails: str | None = None):
        self.out, self.fails = open(file, "a"), fails

    def told(self, what, *words):
        print(json.dumps([what, os.getpid(), *words], default=str), file=self.out, flush=True)
        if what == self.fails:
            raise OSError("no route to host\\nsecond line")

    def start(self, run):
        self.told("start", run.name, run.group, run.identity)

    def scalars(self, values, env_steps, seconds):
        self.told("scalars", values, env_steps, seconds)

    def file(self, path, kind):
        self.told("file", path.name, kind)

    def finish(self, result):
        self.told("finish", result["stopped_by"])

    def close(self, exit_code):
        self.told("close", exit_code)
'''


class Failing:
    """A sink whose `what` raises."""

    def __init__(self, what: str) -> None:
        self.what, self.seen = what, list[str]()

    def __getattr__(self, name: str) -> Any:
        def called(*_: object) -> None:
            self.seen.append(name)
            if name == self.what:
                raise ValueError("down\nand out")

        return called


@pytest.mark.parametrize("what", ["start", "scalars", "file", "finish", "close"])
def test_a_sink_that_fails_is_named_once_and_the_others_go_on(what: str) -> None:
    bad, good, said = Failing(what), Failing(""), list[str]()
    sinks = Sinks({"bad": bad, "good": good}, said.append)
    sinks.start(Run(Path()))
    for i in range(3):
        sinks.scalars({"a": 1.0}, i, 0.0)
    sinks.file(Path("x"), "policy")
    sinks.finish({})
    sinks.close()
    assert said == ["logger.bad failed and is left out: ValueError: down"]
    assert sinks.errors == 1
    assert good.seen == ["start", *["scalars"] * 3, "file", "finish", "close"]
    assert bad.seen.count(what) == 1


def test_tensorboard_forgets_what_a_resumed_run_does_again(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for resumed_at, steps in ((None, (100, 200)), (100, (150, 250))):
        board = TensorBoard()
        board.start(Run(tmp_path, resumed_at=resumed_at))
        for step in steps:
            board.scalars({"a": float(step)}, step, 0.1)
        board.close(0)
    scalars = EventAccumulator(str(tmp_path)).Reload().Scalars("a")
    assert [event.step for event in scalars] == [100, 150, 250]


def test_a_run_that_goes_on_keeps_its_identity(tmp_path: Path) -> None:
    config = {"env": {"id": "toy"}, "agent": {}, "seed": 1}
    names = []
    for folder in (tmp_path / "a", tmp_path / "a", tmp_path / "b"):
        folder.mkdir(exist_ok=True)
        run = RunFolder(folder, config=config, choices={})
        run.describe()
        names.append(run.described(None).identity)
    assert names[0] == names[1] != names[2]


def test_secrets_of_a_configuration_are_not_passed_on() -> None:
    config = {"lr": 1.0, "logger": {"wandb": {"api_key": "x", "TOKEN": "y", "project": "p"}}}
    assert public(config) == {"lr": 1.0, "logger": {"wandb": {"project": "p"}}}


def test_a_word_chooses_sinks() -> None:
    assert list(compose(["logger=[tensorboard,wandb]"]).values["logger"]) == [
        "tensorboard",
        "wandb",
    ]
    assert list(compose([]).values["logger"]) == ["tensorboard"]
    setup = compose(["logger=[]"])
    assert setup.values["logger"] == setup.stored["logger"] == {}
    assert compose(["logger=wandb", "logger.wandb.mode=offline"]).values["logger"]["wandb"][
        "mode"
    ] == ("offline")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["logger=wandb", "logger.wandb.mode=loud"], "logger.wandb.mode=loud must be"),
        (["logger=nothing"], "logger=nothing is not a choice"),
        (["tensorboard=false"], "tensorboard is not a setting"),
        (["+logger.mine=3"], "logger.mine must be a mapping"),
    ],
)
def test_wrong_sinks_are_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(Wrong, match=sentence):
        check.command_line(words)


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = check.importlib.util.find_spec
    monkeypatch.setattr(
        check.importlib.util, "find_spec", lambda name: None if name == "wandb" else found(name)
    )
    with pytest.raises(Wrong, match=r"logger=\[wandb\] needs wandb: pip install"):
        check.command_line(["logger=wandb"])


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("fails", [None, "scalars"])
def test_a_sink_of_ones_own_gets_everything_in_the_main_process(
    tmp_path: Path, fails: str | None
) -> None:
    (tmp_path / "tracker.py").write_text(MINE)
    words = [
        "+logger.mine._target_=tracker.Mine",
        f"+logger.mine.file={tmp_path / 'told'}",
        f"+logger.mine.fails={fails or 'null'}",
    ]
    run = train(tmp_path, "paradigm=dcollect", "workers=2", "logger=[]", *words)
    assert run.returncode == 0, run.stdout + run.stderr
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert len({entry[1] for entry in told}) == 1, "one process"
    if fails:
        assert [entry[0] for entry in told] == ["start", "scalars"]
        assert run.stdout.count("logger.mine failed and is left out: OSError: no route") == 1
        assert result["extra"]["failed_sinks"] == 1
        return
    assert told[0][2:4] == ["run", "dcollect-sac-pendulum"]
    assert [entry[0] for entry in told[-2:]] == ["finish", "close"]
    assert ["file", told[0][1], "final.safetensors", "policy"] in told
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    written = [json.loads(line) for line in lines]
    sent = [entry[2:] for entry in told if entry[0] == "scalars"]
    assert len(sent) == len(written)
    means = [row["mean"] for row in written if row["kind"] == "evaluation"]
    assert means == [v["evaluation/return"] for v, *_ in sent if "evaluation/return" in v]

    again = [word.replace("told", "again") for word in words]
    command = [sys.executable, str(ROOT / "track.py"), f"run={tmp_path / 'run'}", "logger=[]"]
    handed = subprocess.run([*command, *again], cwd=tmp_path, capture_output=True, text=True)
    assert handed.returncode == 0, handed.stderr
    later = [json.loads(line) for line in (tmp_path / "again").read_text().splitlines()]
    assert [(e[0], e[2:]) for e in later] == [(e[0], e[2:]) for e in told], "the same, afterwards"


def train(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "train.py", *SMALL, *words, f"hydra.run.dir={folder / 'run'}"]
    env: Mapping[str, str] = {**os.environ, "PYTHONPATH": paths}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def alive(process: Any) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(done: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
