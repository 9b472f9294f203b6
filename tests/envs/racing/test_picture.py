"""The picture of a lap, as PNG and SVG."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from envs.racing.circuits import named
from envs.racing.metrics import Trace
from envs.racing.picture import fastest, picture
from envs.racing.track import Track
from tests.envs.racing.drives import along

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def track() -> Track:
    return named("oval")


def laps(track: Track, *seconds: float, start: float = 0.0) -> Trace:
    """Whole laps of constant speed, one after the other, and half a second more."""
    times = np.append(0, np.cumsum(seconds))
    steps = np.arange(round(10 * times[-1]) + 6) / 10
    line = np.append(times, times[-1] + seconds[-1])
    ahead = track.length * np.arange(len(line))
    ahead[0] = start
    return along(track, np.interp(steps, line, ahead), laps=len(seconds), lap_times=seconds)


def test_the_fastest_lap_lies_between_two_crossings(track: Track) -> None:
    found = fastest(laps(track, 40.0, 30.04, 33.0), track)
    assert found is not None
    states, seconds = found
    assert seconds == 30.04
    assert abs(states.start - 400) <= 2 and abs(states.stop - 701) <= 2


def test_a_lap_from_behind_the_line_counts_and_a_lap_from_elsewhere_does_not(track: Track) -> None:
    grid = fastest(laps(track, 40.0, start=-8.0), track)
    assert grid is not None and grid[0].start == 0 and grid[1] == 40
    assert fastest(laps(track, 40.0, start=300.0), track) is None
    assert fastest(laps(track, 40.0, start=-300.0), track) is None


def test_rolling_back_over_the_line_is_no_lap(track: Track) -> None:
    there_and_back = 20 * np.sin(np.arange(200) / 10)
    assert fastest(along(track, there_and_back), track) is None


def test_a_png_is_1000_pixels_wide_and_shows_road_and_speeds(track: Track, tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    file = tmp_path / "lap.png"
    picture(track, [laps(track, 40.0, 30.0)], file)
    pixels = (255 * image.imread(file)).round().astype(int)
    height, width, _ = pixels.shape
    assert width == 1000 and 300 <= height <= 400  # the oval is about four times as long as wide
    assert (pixels[0, 0] == 255).all()
    middle = pixels[84:, :, :3].reshape(-1, 3)
    assert (middle == [0x2D, 0x33, 0x3C]).all(1).sum() > 10_000  # asphalt
    vivid = middle.max(1) - middle.min(1) > 80
    assert vivid.sum() > 3_000  # the driven line


def test_an_svg_has_one_path_for_every_step_of_the_lap(track: Track, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file, again = tmp_path / "lap.svg", tmp_path / "again.svg"
    drive = laps(track, 40.0, 30.0)
    for path in (file, again):
        picture(track, [drive], path)
    assert file.read_bytes() == again.read_bytes()
    assert file.stat().st_size < 400_000
    root = ElementTree.parse(file).getroot()
    assert root.tag == f"{SVG}svg"
    (driven,) = root.iterfind(f".//{SVG}g[@id='driven']")
    found = fastest(drive, track)
    assert found is not None
    assert len(driven.findall(f".//{SVG}path")) == found[0].stop - found[0].start - 1


def test_the_fastest_of_the_traces_is_drawn(track: Track, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    fast, slow = laps(track, 32.0), laps(track, 41.0)
    picture(track, [slow, fast], tmp_path / "both.svg")
    picture(track, [fast], tmp_path / "fast.svg")
    picture(track, [slow], tmp_path / "slow.svg")
    both = (tmp_path / "both.svg").read_bytes()
    assert both == (tmp_path / "fast.svg").read_bytes() != (tmp_path / "slow.svg").read_bytes()


def test_without_a_lap_every_trace_is_drawn_and_a_cross_marks_its_end(
    track: Track, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    metres = np.linspace(0, 300, 51)
    traces = [
        along(track, metres, infractions=1),
        along(track, metres + 400),
        along(track, np.zeros(1)),  # no step: nothing to draw
    ]
    picture(track, traces, tmp_path / "out.svg")
    text = (tmp_path / "out.svg").read_text("utf-8")
    assert text.count('<g id="driven">') == 2 and "#e5484d" in text


def test_a_wrong_suffix_and_no_trace_are_refused(track: Track, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path=lap.gif must end in .png or .svg"):
        picture(track, [laps(track, 40.0)], tmp_path / "lap.gif")
    with pytest.raises(ValueError, match="at least one trace"):
        picture(track, [], tmp_path / "lap.png")


def test_a_missing_matplotlib_is_named_with_its_extra(
    track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'paceline\[report\]'"):
        picture(track, [laps(track, 40.0)], tmp_path / "lap.png")
