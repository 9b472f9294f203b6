from __future__ import annotations

import numpy as np
import pytest

from envs.racing.track import Track


def points(radius: float = 50.0, count: int = 900, turns: int = 1) -> np.ndarray:
    angle = turns * 2 * np.pi * np.arange(count) / count
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def wavy(count: int = 700) -> np.ndarray:
    """A closed line whose points lie at unequal distances."""
    angle = 2 * np.pi * np.arange(count) / count
    radius = 100 + 12 * np.sin(3 * angle) + 5 * np.cos(5 * angle)
    return np.stack([1.5 * radius * np.cos(angle), radius * np.sin(angle)], 1)


def steps(track: Track) -> np.ndarray:
    """The vectors from each sample to the next, the last to the first: complex [n]."""
    line = track.x + 1j * track.y
    return np.roll(line, -1) - line


def unwound(angle: np.ndarray) -> np.ndarray:
    return np.angle(np.exp(1j * angle))


def test_a_circle_has_its_curvature_length_and_widths() -> None:
    track = Track.build("circle", points(50), points(44), points(57))
    radius = 50 * np.exp(-0.5 * (2 / 50) ** 2)  # smoothed by 2 m
    np.testing.assert_allclose(track.curvature, 1 / radius, rtol=1.5e-3)
    assert track.length == pytest.approx(2 * np.pi * radius, rel=1e-5)
    np.testing.assert_allclose(track.left, radius - 44, atol=1e-3)
    np.testing.assert_allclose(track.right, 57 - radius, atol=1e-3)
    assert track.turning == 1
    np.testing.assert_allclose([track.x[0], track.y[0]], [radius, 0], atol=1e-3)
    assert track.heading[0] == pytest.approx(np.pi / 2, abs=1e-4)


def test_smoothing_shrinks_a_circle_by_what_a_gaussian_takes() -> None:
    track = Track.build("circle", points(20), 4.0, 4.0, sigma=4.0)
    np.testing.assert_allclose(np.hypot(track.x, track.y), 20 * np.exp(-0.5 * 0.2**2), rtol=1e-4)


@pytest.mark.parametrize("spacing", [0.5, 1.0, 2.0])
def test_samples_lie_at_equal_distances_about_the_spacing_asked_for(spacing: float) -> None:
    track = Track.build("wavy", wavy(), 5.0, 5.0, spacing=spacing)
    distances = np.abs(steps(track))
    # A chord is shorter than its arc by k2 s3 / 24.
    arcs = distances * (1 + (track.curvature * track.spacing) ** 2 / 24)
    np.testing.assert_allclose(arcs, track.spacing, rtol=1e-4)
    assert track.spacing == pytest.approx(spacing, rel=0.01)


def test_heading_and_curvature_are_derivatives_of_the_line() -> None:
    track = Track.build("wavy", wavy(), 5.0, 5.0)
    middle = track.heading + track.curvature * track.spacing / 2
    np.testing.assert_allclose(unwound(np.angle(steps(track)) - middle), 0, atol=2e-3)
    assert np.abs(np.diff(track.heading)).max() < 0.1
    turned = np.diff(track.heading, append=track.heading[0] + 2 * np.pi)
    np.testing.assert_allclose(turned, track.curvature * track.spacing, atol=2e-3)
    assert track.curvature.sum() * track.spacing == pytest.approx(2 * np.pi, abs=1e-3)


def test_a_mirrored_track_is_exact() -> None:
    track = Track.build("wavy", wavy(), 5.0, 6.0)
    mirror = track.mirrored()
    np.testing.assert_array_equal(mirror.x, track.x)
    for field in ("y", "heading", "curvature"):
        np.testing.assert_array_equal(getattr(mirror, field), -getattr(track, field))
    np.testing.assert_array_equal(mirror.left, track.right)
    np.testing.assert_array_equal(mirror.right, track.left)
    assert mirror.turning == -1


def moved(track: Track, change: str) -> Track:
    return track.reversed() if change == "reversed" else track.started(100)


@pytest.mark.parametrize("change", ["reversed", "started"])
def test_a_changed_track_is_the_one_built_of_changed_points(change: str) -> None:
    track = Track.build("wavy", wavy(), wavy() * 0.94, wavy() * 1.07)
    line = track.beside(0.0)
    line = np.roll(line[::-1], 1, 0) if change == "reversed" else np.roll(line, -100, 0)
    edges = [wavy() * 0.94, wavy() * 1.07]
    edges = edges[::-1] if change == "reversed" else edges
    built, found = Track.build("again", line, *edges, sigma=0.0), moved(track, change)
    for field in ("x", "y", "curvature", "left", "right"):
        np.testing.assert_allclose(getattr(found, field), getattr(built, field), atol=0.02)
    np.testing.assert_allclose(unwound(found.heading - built.heading), 0, atol=1e-3)
    assert np.abs(np.diff(found.heading)).max() < 0.1
    assert found.turning == built.turning


def test_points_beside_the_road_lie_on_its_edges() -> None:
    track = Track.build("circle", points(50), 6.0, 7.0, sigma=0.0)
    np.testing.assert_allclose(np.hypot(*track.beside(track.left).T), 44, atol=0.01)
    np.testing.assert_allclose(np.hypot(*track.beside(-track.right).T), 57, atol=0.01)


def test_an_edge_on_the_wrong_side_is_refused() -> None:
    with pytest.raises(ValueError, match="odd: the left edge is not met beside sample 0"):
        Track.build("odd", points(50), points(57), points(44))
