"""The tables of agents, paradigms, replays and envs say what the command line says."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from conf import check, matrix
from conf.sentences import Wrong

pytestmark = pytest.mark.timeout(240)  # hundreds of configurations are composed
AGENTS, PARADIGMS = matrix.choices("agent"), matrix.choices("paradigm")
whole = functools.cache(matrix.matrix)


def refusal(*arguments: str) -> str | None:
    """What the command line answers to these choices; None if they can run."""
    try:
        check.command_line(list(arguments))
    except Wrong as error:
        return str(error)
    return None


OPEN = ("gym", "atari")  # leave the id or the game to the user
PAIRS = [("env", env) for env in matrix.choices("env") if env not in OPEN]
PAIRS += [("paradigm", paradigm) for paradigm in PARADIGMS]


@pytest.mark.slow
def test_some_pairs_are_what_the_command_line_says(subtests: pytest.Subtests) -> None:
    """Each agent, env and paradigm a few times: the table is made by the same check."""
    found = whole()
    for number, agent in enumerate(AGENTS):
        fitting = next(env for env in found.envs if (agent, env) in found.fits)
        for group, other in PAIRS[number % 16 :: 16]:
            with subtests.test(agent=agent, **{group: other}):
                env = [f"env={fitting}"] if group == "paradigm" else []
                said = refusal(f"agent={agent}", f"{group}={other}", *env)
                fits = (agent, other) in (found.fits if group == "env" else found.replay)
                assert said == found.refused.get((agent, other))
                assert (said is None) == fits
        for replay in matrix.choices("replay")[number % 3 :: 3]:
            with subtests.test(agent=agent, replay=replay):
                given = matrix.whole_fragments(replay)
                said = refusal(f"agent={agent}", f"env={fitting}", f"replay={replay}", *given)
                assert said == found.refused.get((agent, replay))
                assert (said is None) == (replay in found.replays[agent])


@pytest.mark.slow
def test_the_page_has_the_tables_that_the_command_prints() -> None:
    text = matrix.PAGE.read_text("utf-8")
    stands = text.partition(matrix.BEGIN + "\n\n")[2].partition("\n" + matrix.END)[0]
    assert stands == matrix.page(whole()), "run python -m conf.matrix --write"


@pytest.mark.slow
def test_every_choice_is_in_the_tables_and_every_refusal_has_its_sentence() -> None:
    found, text = whole(), matrix.printed(whole())
    ways, _, _ = found.tables()
    assert ways[0] == ["agents", *PARADIGMS]
    for table in found.tables():
        assert sorted(" ".join(row[0] for row in table[1:]).split()) == AGENTS
    assert set(found.envs) == set(matrix.choices("env")) - {*OPEN}
    for (agent, other), why in found.refused.items():
        assert f"{agent}, {other}: {why}\n" in text and "\n" not in why


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two agents, two paradigms and two envs, so that composing takes a second."""
    there = {"agent": ["dqn", "sac"], "paradigm": ["dcollect", "sequential"]}
    there |= {"env": ["cartpole", "gym", "pendulum"], "replay": ["rollout", "uniform"]}
    monkeypatch.setattr(matrix, "choices", there.__getitem__)


@pytest.mark.usefixtures("small")
def test_what_classes_need_and_offer_decides_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    found = matrix.matrix()
    assert found.envs == ["cartpole", "pendulum"], "env=gym has no id of its own"
    assert found.fits == {("dqn", "cartpole"), ("sac", "pendulum")}
    assert set(found.replay.values()) == {"uniform"} and len(found.replay) == 4
    assert "works with replay" in found.refused["sac", "rollout"]
    assert found.replays == {"dqn": ["uniform"], "sac": ["uniform"]}
    assert found.refused["sac", "cartpole"].startswith("agent=sac needs continuous actions")

    said = check.attributes

    def demanding(values: dict, part: str) -> dict:
        needs = {"needs": frozenset({"label"})} if part == "paradigm" else {}
        return {**said(values, part), **needs}

    monkeypatch.setattr(check, "attributes", demanding)
    found = matrix.matrix()
    assert not found.replay
    assert "needs an agent that offers label" in found.refused["sac", "dcollect"]


def test_agents_that_agree_share_a_line_of_the_table() -> None:
    found = matrix.Matrix(["a", "b", "c"], ["one", "two"], ["x", "y"])
    found.replay = {("a", "one"): "uniform", ("c", "one"): "uniform", ("b", "two"): "rollout"}
    found.replays = {"a": ["uniform"], "b": ["fifo", "rollout"], "c": ["uniform"]}
    found.fits = {("a", "x"), ("b", "x"), ("b", "y")}
    found.refused = {("b", "one"): "paradigm=one is too slow", ("a", "y"): "y is too dark"}
    assert matrix.printed(found).splitlines() == [
        "agents  one      two",
        "a c     uniform  -",
        "b       -        rollout",
        "",
        "agents  replays",
        "a c     uniform",
        "b       fifo rollout",
        "",
        "agents  envs",
        "a       x",
        "b       x y",
        "c",
        "",
        "b, one: paradigm=one is too slow",
        "a, y: y is too dark",
    ]
    assert matrix.page(found).splitlines() == [
        "| agents | one | two |",
        "| --- | --- | --- |",
        "| `a` `c` | `uniform` | - |",
        "| `b` | - | `rollout` |",
        "",
        "| agents | replays |",
        "| --- | --- |",
        "| `a` `c` | `uniform` |",
        "| `b` | `fifo` `rollout` |",
        "",
        "| agents | envs |",
        "| --- | --- |",
        "| `a` | `x` |",
        "| `b` | `x` `y` |",
        "| `c` |  |",
        "",
        "- `b`, `one`: paradigm=one is too slow.",
    ]


def test_writing_replaces_what_stands_between_the_markers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(matrix, "PAGE", page)
    monkeypatch.setattr(matrix, "matrix", lambda: matrix.Matrix(["a"], [], []))
    for old in ("", "old\nlines\n", None):
        if old is not None:
            page.write_text(f"before\n{matrix.BEGIN}\n{old}{matrix.END}\nafter\n")
        matrix.main(["--write"])
        lines = page.read_text().splitlines()
        assert lines[:2] == ["before", matrix.BEGIN] and lines[-2:] == [matrix.END, "after"]
        assert lines[2:-2] == ["", *matrix.page(matrix.matrix()).splitlines(), ""]
