"""Frames of a video: a car on the map of its road, and from near."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from envs.racing.track import Track

COLOURS = ("#7a5cff", "#3d8bff", "#1fb8a0", "#84d44b", "#fde725")  # slow to fast; lightness rises
NIGHT, ROAD, LINE, TEXT, LABEL = "#12161c", "#3b424d", "#e8ebef", "#f4f6f8", "#8b95a3"
GRASS, LAWN, KERB, CAR = "#24402f", "#274634", "#d8434a", "#ff5a4f"
FINE = 2  # surfaces are drawn this much larger and scaled down, against jagged edges
NEAR = 8  # of the close-up, pixels a metre in a frame 540 high
SIGHT = 80.0  # metres around the car that the close-up may show
PATCH = 12.0  # metres of a square of lawn, which shows that the car moves
BEND = 1 / 90  # 1/m: where the road bends more it has kerbs
RECENT = 60  # points of the driven line in the close-up


def clock(seconds: float | None) -> str:
    """A lap time: 87.434 as 1:27.43, None and NaN as -."""
    if seconds is None or math.isnan(seconds):
        return "-"
    hundredths = round(100 * seconds)
    return f"{hundredths // 6000}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"


def titled(track: Track) -> str:
    """The name of a track with a capital letter."""
    return track.name[:1].upper() + track.name[1:]


def edges(track: Track) -> tuple[np.ndarray, np.ndarray]:
    """The left and the right edge of the road, float64 [n, 2] each, metres east and north."""
    centre = np.stack([track.x, track.y], 1)
    normal = np.stack([-np.sin(track.heading), np.cos(track.heading)], 1)
    return centre + track.left[:, None] * normal, centre - track.right[:, None] * normal


def colour(share: np.ndarray) -> np.ndarray:
    """uint8 [n, 3]: the colour of a speed, 0 slow and 1 fast; float64 [n]."""
    table = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in COLOURS])
    at = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(share, at, table[:, i]) for i in range(3)], 1).astype(np.uint8)


class Frames:
    """Draws a car: left the whole road with the line driven so far, coloured by speed; right a
    close-up, turned so that the road leads upwards and the car shows how it lies on it.

    `size` is the width and height of a frame in pixels; a speed of `top_speed` m/s has the last
    colour; `car` is its length and width in metres. Raises ModuleNotFoundError without pygame.
    """

    def __init__(
        self,
        track: Track,
        size: tuple[int, int] = (960, 540),
        *,
        top_speed: float = 65.0,
        car: tuple[float, float] = (3.0, 1.68),
    ) -> None:
        self.pygame = _pygame()
        self.size, self.top_speed, self.car = size, top_speed, car
        self._unit = size[1] / 540  # pixels; all lengths are those of a frame 540 high
        self._panel = (size[0] // 2, size[1])
        self._edges = np.stack(edges(track))
        self._centre = np.stack([track.x, track.y], 1)
        self._kerbs = np.abs(track.curvature) > BEND
        self._red = np.arange(len(track.x)) * track.spacing // 2 % 2 == 0
        reach = max(1, round(15 / track.spacing))
        along = np.exp(
            1j * np.take(track.heading, np.arange(-reach, len(track.x) + reach), mode="wrap")
        )
        self._upwards = np.angle(np.convolve(along, np.ones(2 * reach + 1), "valid"))
        self._fonts: dict[int, Any] = {}

        low, high = self._edges.min((0, 1)), self._edges.max((0, 1))
        box = np.array([self._panel[0] - 64 * self._unit, self._panel[1] - 186 * self._unit])
        self._scale = float((box / (high - low)).min())  # pixels of the map a metre
        middle = np.array([self._panel[0] / 2, 70 * self._unit + box[1] / 2])
        self._shift = middle - self._scale * (low + high) / 2 * (1, -1)
        self._road = self._draw_road(track)
        self._driven, self._trail = self._road.copy(), np.empty((0, 3))

    def on_map(self, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        """Where places in metres lie in the frame: float64 [..., 2], pixels from left and top."""
        return self._shift + self._scale * np.stack([x, -np.asarray(y)], -1)

    def frame(
        self,
        x: float,
        y: float,
        yaw: float,
        speed: float,
        lap: int,
        lap_seconds: float,
        last_lap: float | None,
        trail: np.ndarray,
        best_lap: float | None = None,
    ) -> np.ndarray:
        """One frame, uint8 [height, width, 3].

        x, y in metres, yaw in radians counter-clockwise from east, speed in m/s; `lap` counts from
        1, times are in seconds, None or NaN where there is none yet. trail: float [k, 3], the x, y
        and speed so far; what the frame before has drawn of it is not drawn again.
        """
        pygame, u = self.pygame, self._unit
        whole = pygame.Surface(self.size, depth=32)
        trail = np.asarray(trail, np.float64).reshape(-1, 3)
        self._extend(trail)
        whole.blit(pygame.transform.smoothscale(self._driven, self._panel), (0, 0))
        self._mark(whole, self.on_map(x, y))
        whole.blit(self._close_up(x, y, yaw, trail), (self._panel[0], 0))
        self._speedometer(whole, speed)
        times = [clock(time) for time in (lap_seconds, last_lap, best_lap)]
        values = zip(("LAP", "TIME", "LAST", "BEST"), (f"{lap}", *times), strict=True)
        for left, (label, value) in zip((32, 96, 220, 344), values, strict=True):
            self._write(whole, label, 15, LABEL, (left * u, self.size[1] - 82 * u))
            self._write(whole, value, 28, TEXT, (left * u, self.size[1] - 62 * u))
        pixels = np.frombuffer(bytearray(pygame.image.tobytes(whole, "RGB")), np.uint8)
        return pixels.reshape(self.size[1], self.size[0], 3)

    def _draw_road(self, track: Track) -> Any:
        """The left half without a car. On a small map the road is drawn wider than it is."""
        surface = self._fine()
        surface.fill(NIGHT)
        for spot in FINE * self.on_map(track.x, track.y):
            self.pygame.draw.circle(surface, ROAD, spot, FINE * 4 * self._unit)
        left, right = FINE * self.on_map(*np.moveaxis(self._edges, -1, 0))
        ring = np.concatenate([left, left[:1], right[:1], right[::-1]])
        self.pygame.draw.polygon(surface, ROAD, ring)
        across = np.array([-math.sin(track.heading[0]), math.cos(track.heading[0])]) * (1, -1)
        start = FINE * self.on_map(track.x[0], track.y[0])
        reach = FINE * max(7 * self._unit, self._scale * track.left[0]) * across
        self.pygame.draw.line(surface, LINE, start - reach, start + reach, round(5 * self._unit))
        place = (FINE * 32 * self._unit, FINE * 28 * self._unit)
        self._write(surface, titled(track), FINE * 32, TEXT, place)
        return surface

    def _extend(self, trail: np.ndarray) -> None:
        """Draws what is new of the driven line onto the map; all of it where it is another."""
        done = len(self._trail)
        if done > len(trail) or not np.array_equal(trail[:done], self._trail):
            self._driven, done = self._road.copy(), 0
        self._line(
            self._driven,
            FINE * self.on_map(*trail[max(0, done - 1) :, :2].T),
            trail[max(0, done - 1) :, 2],
            3,
        )
        self._trail = trail.copy()

    def _line(self, surface: Any, spots: np.ndarray, speed: np.ndarray, width: float) -> None:
        wide = max(1, round(FINE * width * self._unit))
        for one, other, shade in zip(
            spots, spots[1:], colour(speed[1:] / self.top_speed), strict=False
        ):
            self.pygame.draw.line(surface, shade, one, other, wide)
            self.pygame.draw.circle(surface, shade, other, wide / 2)

    def _mark(self, whole: Any, spot: np.ndarray) -> None:
        side = round(10 * self._unit)
        dot = self.pygame.Surface((4 * side, 4 * side), self.pygame.SRCALPHA, 32)
        self.pygame.draw.circle(dot, TEXT, (2 * side, 2 * side), 1.5 * side)
        self.pygame.draw.circle(dot, CAR, (2 * side, 2 * side), side)
        small = self.pygame.transform.smoothscale(dot, (2 * side, 2 * side))
        whole.blit(small, np.round(spot - side).astype(int).tolist())

    def _close_up(self, x: float, y: float, yaw: float, trail: np.ndarray) -> Any:
        """The right half: the car at its place and the road around it."""
        draw, surface = self.pygame.draw, self._fine()
        metre = FINE * NEAR * self._unit
        far = np.hypot(*(self._centre - (x, y)).T)
        up = float(self._upwards[far.argmin()])
        turn = np.array([[math.sin(up), -math.cos(up)], [-math.cos(up), -math.sin(up)]])
        middle = FINE * np.array(self._panel) * (0.5, 0.7)

        def seen(points: np.ndarray) -> np.ndarray:
            return middle + metre * (points - (x, y)) @ turn.T

        surface.fill(GRASS)
        reach = math.ceil(SIGHT / PATCH)
        cells = np.indices((2 * reach + 1,) * 2).reshape(2, -1).T - reach + (x // PATCH, y // PATCH)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) + cells[cells.sum(1) % 2 > 0, None]
        for square in seen(PATCH * corners):
            draw.polygon(surface, LAWN, square)
        left, right = self._edges
        for run in _runs(far < SIGHT):
            draw.polygon(surface, ROAD, seen(np.concatenate([left[run], right[run[::-1]]])))
            for edge in (left, right):
                spots = seen(edge[run])
                draw.lines(surface, LINE, False, spots, max(1, round(metre / 4)))
                for k in np.flatnonzero(self._kerbs[run[:-1]]):
                    shade = KERB if self._red[run[k]] else LINE
                    draw.line(surface, shade, spots[k], spots[k + 1], round(metre * 0.7))
        if far[0] < SIGHT:
            self._start(surface, seen)
        recent = trail[-RECENT:]
        self._line(surface, seen(recent[:, :2]), recent[:, 2], 3)
        ahead = np.array([math.cos(yaw), math.sin(yaw)])
        axes = np.stack([ahead, (-ahead[1], ahead[0])]) * np.array(self.car)[:, None] / 2
        body = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) @ axes + (x, y)
        draw.polygon(surface, CAR, seen(body))
        draw.polygon(surface, TEXT, seen(body), max(1, round(FINE * self._unit)))
        glass = np.array([[0.35, 0.7], [0.35, -0.7], [-0.1, -0.7], [-0.1, 0.7]]) @ axes + (x, y)
        draw.polygon(surface, NIGHT, seen(glass))
        return self.pygame.transform.smoothscale(surface, self._panel)

    def _start(self, surface: Any, seen: Callable[[np.ndarray], np.ndarray]) -> None:
        """Two rows of squares across the road."""
        left, right = self._edges[:, 0]
        across = (right - left) / 10
        along = np.array([-across[1], across[0]])
        for row, column in np.ndindex(2, 10):
            corner = left + across * column + along * (row - 1)
            square = np.stack([corner, corner + across, corner + across + along, corner + along])
            self.pygame.draw.polygon(surface, (NIGHT, LINE)[(row + column) % 2], seen(square))

    def _speedometer(self, whole: Any, speed: float) -> None:
        u, (right, bottom) = self._unit, self.size
        plate = self.pygame.Surface((round(176 * u), round(92 * u)), self.pygame.SRCALPHA, 32)
        area = plate.get_rect()
        self.pygame.draw.rect(
            plate, (*bytes.fromhex(NIGHT[1:]), 215), area, border_radius=round(10 * u)
        )
        whole.blit(plate, (right - 196 * u, bottom - 112 * u))
        self._write(
            whole, f"{3.6 * speed:.0f}", 52, TEXT, (right - 82 * u, bottom - 100 * u), right=True
        )
        self._write(whole, "km/h", 18, LABEL, (right - 74 * u, bottom - 77 * u))
        share = float(np.clip(speed / self.top_speed, 0, 1))
        bar = (right - 180 * u, bottom - 40 * u)
        for length, shade in ((1.0, ROAD), (share, colour(np.array([share]))[0])):
            rect = self.pygame.Rect(*bar, round(144 * u * length), round(6 * u))
            self.pygame.draw.rect(whole, shade, rect, border_radius=round(3 * u))

    def _fine(self) -> Any:
        return self.pygame.Surface((FINE * self._panel[0], FINE * self._panel[1]), depth=32)

    def _write(
        self,
        surface: Any,
        text: str,
        size: int,
        shade: str,
        place: tuple[float, float],
        *,
        right: bool = False,
    ) -> None:
        height = round(size * self._unit)
        if height not in self._fonts:
            self._fonts[height] = self.pygame.font.Font(None, height)
        image = self._fonts[height].render(text, True, shade)
        surface.blit(image, (place[0] - right * image.get_width(), place[1]))


def _runs(near: np.ndarray) -> list[np.ndarray]:
    """The samples of each stretch of a closed road where `near` holds, in order."""
    if near.all():
        return [np.append(np.arange(len(near)), 0)]
    order = (np.argmin(near) + np.arange(len(near))) % len(near)
    there = np.flatnonzero(near[order])
    stretches = np.split(there, np.flatnonzero(np.diff(there) > 1) + 1)
    return [order[stretch] for stretch in stretches if len(stretch) > 1]


def _pygame() -> Any:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "frames of a race need pygame: pip install 'gymnasium[box2d]'"
        ) from error
    pygame.font.init()
    return pygame
