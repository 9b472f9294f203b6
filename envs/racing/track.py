"""A closed road: its centreline at equal distances, curvature and half-widths."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

WINDOW = 96  # boundary points that a normal is compared with
STRIDE = 16  # of every how many boundary points one is tried to find them


@dataclass(frozen=True, eq=False)
class Track:
    """A closed road, sampled n times at equal distances along its centreline, in the direction in
    which it is driven; sample 0 lies on the start line.

    x, y: float64 [n], metres east and north. heading: float64 [n], radians counter-clockwise from
    east, without jumps. curvature: float64 [n], 1/m, positive where the road bends to the left.
    left, right: float64 [n], metres from the centreline to the edges, along the normal. spacing:
    metres from one sample to the next, and from the last to the first.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    heading: np.ndarray
    curvature: np.ndarray
    left: np.ndarray
    right: np.ndarray
    spacing: float

    @property
    def length(self) -> float:
        """Metres of one lap along the centreline."""
        return self.spacing * len(self.x)

    @property
    def turning(self) -> int:
        """Full turns of one lap: 1 counter-clockwise, -1 clockwise."""
        return round(float(self.curvature.sum()) * self.spacing / (2 * np.pi))

    @classmethod
    def build(
        cls,
        name: str,
        centre: np.ndarray,
        left: float | np.ndarray,
        right: float | np.ndarray,
        *,
        sigma: float = 2.0,
        spacing: float = 1.0,
    ) -> Self:
        """The road along a closed line of points, float64 [m, 2], from its first one.

        The line is sampled about every `spacing` metres, its positions are smoothed by a periodic
        Gaussian of `sigma` metres, heading and curvature are spectral derivatives. `left` and
        `right` are half-widths in metres or the edges as closed lines [k, 2], which the normals
        are intersected with. Raises ValueError where an edge is not met on its side of the road.
        """
        line, step = _even(_smooth(*_polyline(centre, spacing), sigma), spacing)
        first, second = _derivatives(line)
        curvature = (first.conj() * second).imag / np.abs(first) ** 3
        heading = np.unwrap(np.angle(first))
        normal = 1j * first / np.abs(first)
        return cls(
            name,
            line.real.copy(),
            line.imag.copy(),
            heading,
            curvature,
            _half_width(name, "left", line, normal, left),
            _half_width(name, "right", line, -normal, right),
            step,
        )

    def beside(self, offset: float | np.ndarray) -> np.ndarray:
        """float64 [n, 2]: the points `offset` metres (a number or [n]) to the left of the samples;
        the edges of the road are beside(track.left) and beside(-track.right)."""
        return np.stack(
            [self.x - offset * np.sin(self.heading), self.y + offset * np.cos(self.heading)], 1
        )

    def started(self, sample: int) -> Self:
        """The same road with its start line on another of its samples."""
        heading = np.roll(self.heading, -sample)
        heading[len(heading) - sample :] += 2 * np.pi * self.turning
        return replace(
            self,
            heading=heading,
            **{
                name: np.roll(getattr(self, name), -sample)
                for name in ("x", "y", "curvature", "left", "right")
            },
        )

    def mirrored(self) -> Self:
        """The road seen in a mirror (y becomes -y): exactly the same driven with left as right."""
        return replace(
            self,
            name=f"{self.name} mirrored",
            y=-self.y,
            heading=-self.heading,
            curvature=-self.curvature,
            left=self.right,
            right=self.left,
        )

    def reversed(self) -> Self:
        """The same road driven in the other direction, from the same start line."""
        back = -np.arange(len(self.x)) % len(self.x)
        heading = self.heading[back] + np.pi
        heading[0] += 2 * np.pi * self.turning
        return replace(
            self,
            name=f"{self.name} reversed",
            x=self.x[back],
            y=self.y[back],
            heading=heading,
            curvature=-self.curvature[back],
            left=self.right[back],
            right=self.left[back],
        )


def _polyline(points: np.ndarray, spacing: float) -> tuple[np.ndarray, float]:
    """Complex points at equal distances along the straight pieces between points, and their
    distance in metres."""
    line = np.asarray(points, np.float64) @ (1, 1j)
    line = np.append(line, line[0])
    along = np.append(0.0, np.cumsum(np.abs(np.diff(line))))
    n = max(8, round(along[-1] / spacing))
    return np.interp(np.arange(n) * (along[-1] / n), along, line), along[-1] / n


def _frequencies(n: int) -> np.ndarray:
    """Radians per sample; 0 for the highest of an even n, whose derivative has no sign."""
    frequencies = 2 * np.pi * np.fft.fftfreq(n)
    if n % 2 == 0:
        frequencies[n // 2] = 0.0
    return frequencies


def _smooth(line: np.ndarray, step: float, sigma: float) -> np.ndarray:
    frequencies = 2 * np.pi * np.fft.fftfreq(len(line)) / step
    return np.fft.ifft(np.fft.fft(line) * np.exp(-0.5 * (sigma * frequencies) ** 2))


def _derivatives(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By the sample, of a smooth closed line."""
    spectrum, frequencies = np.fft.fft(line), _frequencies(len(line))
    return np.fft.ifft(1j * frequencies * spectrum), np.fft.ifft(-(frequencies**2) * spectrum)


def _even(line: np.ndarray, spacing: float, rounds: int = 3) -> tuple[np.ndarray, float]:
    """A smooth line, sampled again at equal distances about `spacing` apart, and their distance in
    metres. Cubic Hermite pieces keep it smooth; each round makes the distances more equal."""
    for _ in range(rounds):
        n = len(line)
        first, _ = _derivatives(line)
        speed = np.abs(first)
        spectrum, frequencies = np.fft.fft(speed - speed.mean()), _frequencies(n)
        moving = frequencies != 0
        spectrum[moving] /= 1j * frequencies[moving]
        wave = np.fft.ifft(np.where(moving, spectrum, 0)).real
        along = speed.mean() * np.arange(n + 1) + np.append(wave, wave[0]) - wave[0]
        count = max(8, round(along[-1] / spacing))
        where = np.interp(np.arange(count) * (along[-1] / count), along, np.arange(n + 1.0))
        at = np.minimum(where.astype(int), n - 1)
        t, after = where - at, (at + 1) % n
        line = (
            (1 + 2 * t) * (1 - t) ** 2 * line[at]
            + t * (1 - t) ** 2 * first[at]
            + t**2 * (3 - 2 * t) * line[after]
            - t**2 * (1 - t) * first[after]
        )
    return line, float(along[-1] / count)


def _half_width(
    name: str, side: str, line: np.ndarray, normal: np.ndarray, edge: float | np.ndarray
) -> np.ndarray:
    if np.ndim(edge) == 0:
        return np.full(len(line), float(edge))
    points = np.asarray(edge, np.float64) @ (1, 1j)
    near = STRIDE * np.abs(line[:, None] - points[None, ::STRIDE]).argmin(1)
    window = (near[:, None] + np.arange(-WINDOW // 2, WINDOW // 2 + 1)) % len(points)
    # Real part: metres along the normal; imaginary part: metres along the road, negated.
    seen = (points[window] - line[:, None]) * normal.conj()[:, None]
    one, other = seen[:, :-1], seen[:, 1:]
    across = (one.imag > 0) != (other.imag > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = one.imag / (one.imag - other.imag)
        distance = one.real + share * (other.real - one.real)
    width = np.where(across & (distance > 0), distance, np.inf).min(1)
    if not np.isfinite(width).all():
        missed = int(np.flatnonzero(~np.isfinite(width))[0])
        raise ValueError(f"{name}: the {side} edge is not met beside sample {missed} of the road")
    return width
