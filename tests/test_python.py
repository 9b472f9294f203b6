"""Training from Python does what the command line does."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.sentences import Wrong
from evaluate import play
from paradigms.base import Progress
from train import learn

SMALL = (
    "env=pendulum warmup=64 agent.hidden_sizes=[8] replay.batch_size=8 logger=[] crew=inline"
    " evaluation.episodes=1 evaluation.confirm_episodes=1 evaluation.where=inline workers=1"
).split()


@pytest.mark.slow
def test_a_run_from_python_trains_and_is_played(tmp_path: Path) -> None:
    seen: list[int] = []

    def on_progress(progress: Progress) -> bool:
        seen.append(progress.updates)
        return progress.updates >= 100

    where = f"hydra.run.dir={tmp_path / 'run'}"
    result = learn(*SMALL, where, on_progress=on_progress)
    assert result["stopped_by"] == "budget"
    assert 100 <= result["updates"] == seen[-1] < 200, "it ended when the callback said so"
    assert Path(result["folder"]) == tmp_path / "run"
    played = play(result["folder"], "episodes=3")
    assert played.returns.shape == played.lengths.shape == (3,)
    assert played.lengths.tolist() == [200, 200, 200]


def test_words_that_cannot_run_raise_a_sentence() -> None:
    with pytest.raises(Wrong, match="env=nowhere is not a choice"):
        learn("env=nowhere")
    with pytest.raises(Wrong, match="trains one new run"):
        learn("-m", "seed=1,2")
