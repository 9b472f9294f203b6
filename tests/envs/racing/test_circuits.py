from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from envs.racing.circuits import NAMES, chicane, named, oval, random
from envs.racing.track import Track

SEEDS = range(64)


def circuits() -> list[Track]:
    return [named("random", seed) for seed in SEEDS]


def radius(track: Track) -> float:
    return float(1 / np.abs(track.curvature).max())


def nearest_stretch(track: Track) -> float:
    """Metres between the centrelines of two stretches that half a hairpin or more separates."""
    line, n = track.x + 1j * track.y, len(track.x)
    shortest = np.inf
    reach = round((np.pi / 2 * (track.left[0] + track.right[0] + 4) + 8) / track.spacing)
    for shift in range(reach, n // 2 + 1):
        shortest = min(shortest, np.abs(line - np.roll(line, shift)).min())
    return shortest


def turn_within(track: Track, metres: float) -> float:
    """The most that the road turns within a distance, rad."""
    reach = round(metres / track.spacing)
    total = np.cumsum(np.append(0, np.concatenate([track.curvature, track.curvature[:reach]])))
    return float(np.abs(total[reach:] - total[:-reach]).max() * track.spacing)


def changes_of_direction(track: Track) -> int:
    """How often a bend of less than 60 m radius follows one to the other side within 40 m."""
    tight = np.flatnonzero(np.abs(track.curvature) > 1 / 60)
    side, gap = np.sign(track.curvature[tight]), np.diff(tight, prepend=tight[-1] - len(track.x))
    return int(((side != np.roll(side, 1)) & (gap * track.spacing < 40)).sum())


def test_the_oval_is_two_straights_and_two_half_circles() -> None:
    track = oval()
    assert track.length == pytest.approx(800 + 2 * np.pi * 60, rel=1e-3)
    assert radius(track) == pytest.approx(60, rel=0.01)
    assert (np.abs(track.curvature) < 1e-5).mean() == pytest.approx(800 / 1177, abs=0.03)
    assert (track.x[0], track.y[0]) == pytest.approx((0, -60), abs=1e-6)


def test_the_chicane_has_tight_bends_to_both_sides_and_a_straight_to_start_on() -> None:
    track = chicane()
    assert 1400 < track.length < 1700
    assert 14 < radius(track) < 17
    assert changes_of_direction(track) >= 4
    assert np.abs(track.curvature[:100]).max() < 1 / 100
    assert nearest_stretch(track) > 11 + 4
    assert track.turning == 1


@pytest.mark.slow
def test_random_circuits_are_roads(subtests: pytest.Subtests) -> None:
    for track in circuits():
        with subtests.test(track.name):
            assert radius(track) >= 12
            assert 9 <= track.left[0] + track.right[0] <= 15
            assert 800 < track.length < 4000
            assert abs(track.turning) == 1
            chords = np.abs(np.diff(track.x + 1j * track.y, append=track.x[0] + 1j * track.y[0]))
            np.testing.assert_allclose(chords, track.spacing, rtol=1e-3)


@pytest.mark.slow
def test_no_stretch_of_a_random_circuit_comes_close_to_another(subtests: pytest.Subtests) -> None:
    for track in circuits():
        with subtests.test(track.name):
            assert nearest_stretch(track) > track.left[0] + track.right[0] + 3.9


@pytest.mark.slow
def test_random_circuits_differ_in_all_that_a_driver_has_to_learn() -> None:
    tracks = circuits()
    esses = np.array([changes_of_direction(track) for track in tracks])
    assert (esses >= 2).mean() > 0.7
    assert 0.3 < np.mean([track.turning > 0 for track in tracks]) < 0.7
    radii = np.array([radius(track) for track in tracks])
    assert radii.min() < 13.5
    assert radii.max() > 22
    hairpins = np.array([turn_within(track, 80) > 2.6 for track in tracks])
    assert 0.05 < hairpins.mean() < 0.6
    widths = np.array([track.left[0] + track.right[0] for track in tracks])
    assert widths.min() < 10
    assert widths.max() > 14
    assert len({round(track.length, 3) for track in tracks}) == len(tracks)


@pytest.mark.slow
def test_a_random_circuit_begins_on_its_straightest_stretch() -> None:
    ahead = np.array([np.abs(track.curvature[-50:]).max() for track in circuits()])
    assert np.median(ahead) < 1 / 500


def test_a_seed_is_one_circuit_in_every_process() -> None:
    line = (
        "from envs.racing.circuits import random; t = random(3); "
        "print(t.x.tobytes().hex()[:4000], t.length)"
    )
    told = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    track = random(3)
    assert told.stdout.split() == [track.x.tobytes().hex()[:4000], str(track.length)]
    assert named("random", 3) is named("random", 3)
    assert named("random", 4).length != track.length


def test_an_unknown_circuit_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=rf"env\.kwargs\.track=spa .* {', '.join(NAMES)}$"):
        named("spa")
