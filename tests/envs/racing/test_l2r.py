from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from envs.racing import l2r
from envs.racing.circuits import named

installed = pytest.mark.skipif(
    importlib.util.find_spec("l2r") is None, reason="the l2r package is not installed"
)
#         length, mean, least and greatest width, tightest radius (2 m smoothed), where it is
FIGURES = {
    "thruxton": (3772.6, 14.22, 12.3, 15.6, 11.2, 3515),
    "anglesey": (1907.9, 11.44, 10.6, 14.3, 13.4, 510),
}


@installed
@pytest.mark.parametrize("name", FIGURES)
def test_a_circuit_has_its_length_widths_and_tightest_bend(name: str) -> None:
    track = named(name)
    length, mean, least, greatest, radius, where = FIGURES[name]
    width = track.left + track.right
    assert track.length == pytest.approx(length, rel=1e-3)
    assert [width.mean(), width.min(), width.max()] == pytest.approx([mean, least, greatest], 0.01)
    tightest = int(np.abs(track.curvature).argmax())
    assert 1 / abs(track.curvature[tightest]) == pytest.approx(radius, rel=0.02)
    assert tightest * track.spacing == pytest.approx(where, abs=3)
    assert min(track.left.min(), track.right.min()) > 5
    assert track.turning == -1
    assert "l2r" not in sys.modules


@installed
@pytest.mark.parametrize("name", FIGURES)
def test_the_poses_of_the_package_lie_on_the_road_and_point_along_it(name: str) -> None:
    track, poses = named(name), l2r.poses(name)
    assert poses.shape == (20, 3)
    away = (poses[:, 0] + 1j * poses[:, 1])[:, None] - (track.x + 1j * track.y)
    nearest = np.abs(away).argmin(1)
    lateral = (away[np.arange(20), nearest] * -1j * np.exp(-1j * track.heading[nearest])).real
    assert (lateral < track.left[nearest] - 1).all()
    assert (lateral > 1 - track.right[nearest]).all()
    off = np.abs(np.angle(np.exp(1j * (poses[:, 2] - track.heading[nearest]))))
    assert np.sort(off)[-2] < np.radians(12)  # one of Thruxton's points 30 degrees away
    assert off.max() < np.radians(32)


@pytest.mark.parametrize("name", FIGURES)
def test_without_the_package_the_error_names_the_setting_and_the_way_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    told = rf"env\.kwargs\.track={name} .*pip install --no-deps l2r==0\.0\.2, .*oval, chicane"
    with pytest.raises(ValueError, match=told):
        getattr(l2r, name)()
