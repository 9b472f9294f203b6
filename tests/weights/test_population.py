"""What members of a population show each other, and what of it a checkpoint has."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from paradigms.weights.population import Population
from tests.jobs import job, laid, sac


def shown(scores: list[float], number: int = 0) -> Population:
    agent = laid(sac(job().spec, 0))
    made = Population(agent.vector, len(scores), 1)
    for rank, score in enumerate(scores):
        assert not made.complete(number)
        show(made, rank, number, score)
    assert made.complete(number)
    return made


def show(made: Population, rank: int, number: int, score: float, *, ended: bool = True) -> None:
    """A round of a member whose numbers are all `rank`."""
    vector = laid(sac(job().spec, 0)).vector
    floats, counts = (torch.full_like(part, rank) for part in (vector.floats, vector.counts))
    made.show(rank, number, floats, counts, np.array([rank]), score)
    made.keep(rank, {"number": number, "ended": ended, "point": np.array([float(rank)]), "run": {}})
    made.end(rank, number)


def test_the_worst_fifth_copies_one_of_the_best_fifth() -> None:
    made = shown([5.0, 1.0, 9.0, 2.0, 8.0, 3.0, 4.0, 6.0, 7.0, 0.0])
    donors = {rank: made.donor(rank, 0, seed=3) for rank in range(10)}
    assert {rank for rank, donor in donors.items() if donor is not None} == {1, 9}
    assert {donors[1], donors[9]} <= {2, 4}
    drawn = {made.donor(9, 0, seed=seed) for seed in range(20)}
    assert drawn == {2, 4}
    floats, counts, point = made.copy(9, 2, 0)
    assert {*floats.tolist()} == {*counts.tolist()} == {*point.tolist()} == {2.0}
    assert made.copies == 1 and made.bytes_moved == 11 * 4 * len(floats)
    assert {*made.snapshot("act", 5).floats.tolist()} == {2.0}


def test_nobody_copies_an_equal() -> None:
    made = shown([1.0, 1.0, 1.0])
    assert [made.donor(rank, 0, seed=0) for rank in range(3)] == [None] * 3
    lost = shown([-np.inf, 2.0])
    assert [lost.donor(rank, 0, seed=0) for rank in range(2)] == [1, None]


def test_who_has_left_is_not_waited_for_and_stands_as_it_showed_itself_last() -> None:
    made = shown([3.0, 1.0])
    show(made, 0, 1, 4.0)
    assert not made.complete(1)
    made.leave(0, 1)
    for number in (1, 2, 3):
        assert not made.complete(number)
        show(made, 1, number, 2.0)
        assert made.complete(number)
        assert made.scores(number).tolist() == [4.0, 2.0]
        assert made.donor(1, number, seed=0) == 0
        assert {*made.copy(1, 0, number)[0].tolist()} == {0.0}
    assert {*made.snapshot("act", 5).floats.tolist()} == {0.0}
    show(made, 1, 4, 9.0)
    made.leave(1, 4)
    assert {*made.snapshot("act", 5).floats.tolist()} == {1.0}


def again(state: dict[str, Any], members: int = 2) -> Population:
    made = Population(laid(sac(job().spec, 0)).vector, members, 1)
    made.load(state)
    return made


def test_a_population_goes_on_where_each_of_its_members_was() -> None:
    made = shown([3.0, 1.0], 4)
    show(made, 1, 5, 8.0)
    state = made.save()
    show(made, 0, 5, 9.0)
    loaded = again(state)
    assert loaded.complete(4) and not loaded.complete(5)
    assert loaded.scores(4).tolist() == [3.0, 1.0] and loaded.scores(5)[1] == 8.0
    assert [(one["number"], one["ended"]) for one in map(loaded.kept, (0, 1)) if one] == [
        (4, True),
        (5, True),
    ]
    assert loaded.donor(1, 4, seed=0) == 0


def test_a_round_in_the_middle_of_which_a_member_was_stopped_has_not_ended() -> None:
    made = shown([3.0, 1.0], 4)
    show(made, 0, 5, 3.0)
    show(made, 1, 5, 1.0, ended=False)
    assert made.complete(5)
    loaded = again(made.save())
    assert loaded.complete(4) and not loaded.complete(5)
    show(loaded, 1, 5, 2.0)
    assert loaded.complete(5)


def test_a_population_that_goes_on_while_it_is_read_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, kept = shown([3.0, 1.0]), Population.kept

    def late(self: Population, rank: int) -> Any:
        state = kept(self, rank)
        if rank == 0 and state is not None and state["number"] == 0:
            show(made, 0, 1, 5.0)
            show(made, 1, 1, 6.0)
        return state

    monkeypatch.setattr(Population, "kept", late)
    state = made.save()
    assert [one["number"] for one in state["members"]] == [1, 1]
    assert state["population"]["scores"][1].tolist() == [5.0, 6.0]


WRONG = [
    ("members", [], "has 0 members, this run 2: set paradigm.members=0"),
    ("population/scores", np.zeros((2, 3)), "population/scores has another shape"),
    ("population/counts", np.zeros((2, 2, 1)), "population/counts has another shape"),
    ("population/points", np.zeros((2, 2, 4)), "resume with the same agent and paradigm.search"),
    ("members/1/number", -1, "members/1 is at no round"),
    ("members/0/number", 1.5, "members/0 is at no round"),
    ("members/0/ended", 1, "members/0 is at no round"),
    ("members/0/point", np.zeros(2), "members/0/point has another shape"),
]


def test_another_population_is_refused(subtests: pytest.Subtests) -> None:
    whole = shown([3.0, 1.0]).save()
    for path, value, said in WRONG:
        with subtests.test(path):
            state: Any = copy.deepcopy(whole)
            *places, last = path.split("/")
            node = state
            for place in places:
                node = node[int(place) if place.isdigit() else place]
            node[last] = value
            with pytest.raises(ValueError, match=said):
                again(state)
