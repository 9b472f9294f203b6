"""evaluate.py beside what it refuses: which policy it takes, what it says, and the film."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import evaluate
from conf.compose import compose
from conf.sentences import Wrong
from paradigms.loop.episodes import play
from tests.hostile import policy


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *words])
    evaluate.main()
    return capsys.readouterr().out


def test_the_newest_policy_is_the_last_of_solving_best_and_final(tmp_path: Path) -> None:
    for name in ("solving", "best", "final"):
        with pytest.raises(Wrong, match=f"has no policy {name}"):
            evaluate.find(tmp_path, name)
        (tmp_path / f"{name}.safetensors").touch()
        assert evaluate.find(tmp_path, "newest").stem == name
    assert evaluate.find(tmp_path, "best").stem == "best"
    assert evaluate.find(Path("nowhere"), "a/b.safetensors") == Path("a/b.safetensors")


def test_help_prints_every_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in ((), ("--help",)):
        text = said(capsys, monkeypatch, *words)
        assert all(f"\n  {key}:" in text for key in compose(["run=x"], "evaluate").values)


@pytest.mark.parametrize(("which", "extreme"), [("best", max), ("worst", min)])
def test_the_episode_that_is_shown_is_the_one_that_was_asked_for(
    tmp_path: Path, which: str, extreme: Callable[..., float]
) -> None:
    policy(tmp_path, compose(["env=pendulum", "agent.hidden_sizes=[8,8]"]).values)
    words = [f"run={tmp_path}", "episodes=5", f"episode={which}"]
    found = evaluate.played(evaluate.checked(words))
    assert len(set(found.returns.returns)) == 5
    agent, env = found.plan.build()
    found.snapshot.into(agent)
    again = play(agent, env, evaluate.shown(found, which))
    env.close()
    assert again is not None
    assert again.returns[0] == pytest.approx(extreme(found.returns.returns))


def test_a_table_has_the_statistics_of_what_is_known() -> None:
    rows = {"return": np.array([-20.0, 10.0, 40.0]), "laps": np.array([1.0, np.nan, 2.0])}
    head, returns, laps, *more = evaluate.table({**rows, "never": np.full(3, np.nan)})
    assert head.split() == [*evaluate.COLUMNS] and not more
    assert returns.split() == ["return", "10.0", "30.0", "-20.0", "10.0", "40.0"]
    assert laps.split() == ["laps", "1.500", "0.707", "1.000", "1.500", "2.000"]


def test_the_returns_are_drawn_with_the_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    policy(tmp_path, compose(["env=pendulum", "agent.hidden_sizes=[8,8]"]).values)
    text = said(capsys, monkeypatch, f"run={tmp_path}", "episodes=5", "plot=true")
    assert "over 5 episodes, of which 0 reach the threshold of -200" in text
    drawn = (tmp_path / "final_returns.svg").read_text()
    assert "stroke-dasharray" in drawn, "the threshold"


@pytest.mark.slow
def test_an_episode_is_filmed_where_the_env_draws_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    small = ["agent.hidden_sizes=[8,8]"]
    policy(tmp_path, compose(["agent=dqn", "env=cartpole", *small]).values)
    film = [f"run={tmp_path}", "episodes=1", "video=true", "episode=both"]
    assert "over 1 episodes" in said(capsys, monkeypatch, *film)
    for which in ("best", "worst"):
        assert (tmp_path / f"final_{which}.mp4").stat().st_size > 1000
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    policy(tmp_path, compose(["env=identity", *small]).values)
    with pytest.raises(SystemExit):
        said(capsys, monkeypatch, *film)
    out, err = capsys.readouterr()
    assert (out, "draws no video" in err) == ("", True), "nothing is played first"


@pytest.mark.slow
def test_a_policy_of_the_embedded_world_drives_a_simulator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zmq")
    from envs.racing.arrival.server import FakeServer

    run = ["agent=ppo", "env=race", "agent.hidden_sizes=[8,8]", "env.kwargs.track=oval"]
    policy(tmp_path, compose(run).values)
    with FakeServer(track="oval") as server:
        ports = ",".join(f"{key}: {value}" for key, value in server.arrival.items())
        words = [f"run={tmp_path}", "episodes=2", "engine=arrival"]
        kwargs = f"kwargs={{seconds: 3.0, arrival: {{{ports}}}}}"
        there = said(capsys, monkeypatch, *words, kwargs)
    here = said(capsys, monkeypatch, *words[:2], "kwargs={seconds: 3.0}")
    for text in (here, there):
        assert "over 2 episodes" in text and "total_distance" in text
    with pytest.raises(SystemExit):
        said(capsys, monkeypatch, *words, kwargs)
    assert "control_port=" in capsys.readouterr().err, "it has gone"


@pytest.mark.slow
def test_a_driven_line_is_drawn_and_other_keywords_make_another_env(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    run = ["agent=ppo", "env=race", "agent.hidden_sizes=[8,8]", "env.kwargs.track=oval"]
    policy(tmp_path, compose(run).values)
    words = [f"run={tmp_path}", "episodes=2", "picture=true"]
    text = said(capsys, monkeypatch, *words, "kwargs={seconds: 2.0, track: chicane}")
    assert "over 2 episodes" in text
    assert re.search(r"^length, env steps +20\.0 +0\.0 +20\.0 +20\.0 +20\.0$", text, re.MULTILINE)
    assert (tmp_path / "final.png").stat().st_size > 1000
    assert "Chicane" in (tmp_path / "final.svg").read_text()
    policy(tmp_path, compose(["env=identity", "agent.hidden_sizes=[8,8]"]).values)
    with pytest.raises(SystemExit):
        said(capsys, monkeypatch, *words)
    assert "picture=true: this env draws no picture" in capsys.readouterr().err
