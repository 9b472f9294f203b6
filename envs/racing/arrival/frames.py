"""Where things are: degrees on the earth, metres on a track's map, and the simulator's own axes.

The map of a track counts metres east and north from a reference point; yaw is counter-clockwise
from east. The simulator sends longitude, latitude and height, and a yaw clockwise from north. Where
it is told to put a car, it counts x and y the other way round: those of the package's poses are the
negated metres of its maps, and their yaw is in radians clockwise from north.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from envs.racing import l2r
from envs.racing.car import Cars
from envs.racing.pose import ELSEWHERE, TRACKS, compass, pose

RADIUS, ECCENTRICITY2 = 6_378_137.0, 6.69437999014e-3  # m, of the earth's ellipsoid (WGS 84)


@dataclass(frozen=True)
class Level:
    """A circuit as the simulator knows it: its map file (version 0.7.1 and 0.7.0), and the height
    in metres at which it puts cars on the road."""

    file: str
    height: float


LEVELS = {
    name: Level(f"../../../ArrivalSim/Content/Ribbon/{folder}/{folder}.umap", height)
    for name, folder, height in (
        ("thruxton", "thruxton", 63.0),
        ("anglesey", "anglesey_national", 14.0),
    )
}


def level(track: str) -> Level:
    """The level of a track; one that the simulator does not have goes by its own name."""
    return LEVELS.get(track, Level(track, 0.0))


@dataclass(frozen=True)
class Earth:
    """A plane that touches the earth in a reference point, degrees and metres."""

    latitude: float = 0.0
    longitude: float = 0.0
    height: float = 0.0

    @classmethod
    def under(cls, track: str) -> Earth:
        """Where a track lies. Circuits of our own lie where the equator meets Greenwich's
        meridian."""
        return cls(*l2r.reference(track)) if track in l2r.MAPS else cls()

    def local(self, longitude: float, latitude: float, height: float) -> np.ndarray:
        """Metres east, north and up from the reference point, float64 [3]."""
        there = _centred(longitude, latitude, height)
        here, axes = self._place
        return np.asarray(axes @ (there - here))

    def globe(self, east: float, north: float, up: float) -> tuple[float, float, float]:
        """Longitude, latitude and height of a point of the plane: the inverse of `local`, to a
        micrometre within 10 km, by Newton's method from the reference point."""
        phi = math.radians(self.latitude)
        bend = 1.0 - ECCENTRICITY2 * math.sin(phi) ** 2
        along = math.degrees(math.sqrt(bend) / (RADIUS * math.cos(phi)))
        across = math.degrees(bend**1.5 / (RADIUS * (1.0 - ECCENTRICITY2)))
        longitude, latitude, height = self.longitude, self.latitude, self.height
        for _ in range(5):
            miss = (east, north, up) - self.local(longitude, latitude, height)
            longitude += float(miss[0]) * along
            latitude += float(miss[1]) * across
            height += float(miss[2])
        return longitude, latitude, height

    @cached_property
    def _place(self) -> tuple[np.ndarray, np.ndarray]:
        """The reference point from the earth's centre, and the directions east, north and up."""
        phi, lam = math.radians(self.latitude), math.radians(self.longitude)
        sp, cp, sl, cl = math.sin(phi), math.cos(phi), math.sin(lam), math.cos(lam)
        axes = np.array([[-sl, cl, 0.0], [-sp * cl, -sp * sl, cp], [cp * cl, cp * sl, sp]])
        return _centred(self.longitude, self.latitude, self.height), axes


def _centred(longitude: float, latitude: float, height: float) -> np.ndarray:
    """Metres from the earth's centre, float64 [3], towards Greenwich's meridian on the equator,
    90 degrees east on the equator, and the north pole."""
    phi, lam = math.radians(latitude), math.radians(longitude)
    radius = RADIUS / math.sqrt(1.0 - ECCENTRICITY2 * math.sin(phi) ** 2)
    flat = (radius + height) * math.cos(phi)
    axis = (radius * (1.0 - ECCENTRICITY2) + height) * math.sin(phi)
    return np.array([flat * math.cos(lam), flat * math.sin(lam), axis])


def to_wire(cars: Cars, track: str, earth: Earth, mode: int = 1) -> np.ndarray:
    """What the simulator sends of the one car of `cars`: float64 [30], degrees in 15 and 16."""
    fields = pose(cars, np.array([mode]))[0]
    fields[15:18] = earth.globe(fields[16], fields[15], level(track).height)
    return fields


def from_wire(sent: np.ndarray, track: str, earth: Earth) -> np.ndarray:
    """What the simulator has sent, as pose.pose has it: float64 [30]."""
    fields = sent.copy()
    east, north, up = earth.local(sent[15], sent[16], sent[17])
    fields[2], fields[15:18] = TRACKS.get(track, ELSEWHERE), (north, east, up)
    return fields


def show(fields: np.ndarray, cars: Cars) -> None:
    """Gives the one car of `cars` the state of a pose, float64 [30]; its pedal stays."""
    yaw = compass(fields[12])
    state = (fields[16], fields[15], yaw, fields[3], -fields[4], -fields[11])
    cars.state[:, 0] = state
    cars.steering[0], cars.ax[0], cars.ay[0] = fields[0], fields[6], -fields[7]


def spawn(x: float, y: float, yaw: float, track: str) -> dict[str, Any]:
    """Location and rotation by which the simulator puts a car there: metres east and north on the
    track's map, and radians counter-clockwise from east."""
    heading = float(compass(np.array(yaw)))
    return {
        "location": {"x": -x, "y": -y, "z": level(track).height},
        "rotation": {"yaw": heading, "pitch": 0.0, "roll": 0.0},
    }


def spawned(location: dict[str, float], rotation: dict[str, float]) -> tuple[float, float, float]:
    """The inverse of `spawn`: metres east and north, and yaw."""
    return -location["x"], -location["y"], float(compass(np.array(rotation["yaw"])))
