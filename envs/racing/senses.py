"""What a driver is shown of its car and the road ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from gymnasium import spaces

from envs.racing.camera import WIDTH, Camera, check_view
from envs.racing.car import Cars
from envs.racing.pose import ELSEWHERE, TRACKS, pose
from envs.racing.pose import SIZE as FIELDS
from envs.racing.referee import Referee
from envs.racing.road import AHEAD, Place, Roads

if TYPE_CHECKING:
    from envs.racing.vae import Encoder

OBSERVATIONS = ("vector", "pose", "camera")
SIZE = 10 + 2 * (len(AHEAD) - 1)


class Sense(Protocol):
    """An observation. space: of one car."""

    space: spaces.Box[Any]

    def observe(self, cars: Cars, referee: Referee, slots: np.ndarray | None = None) -> np.ndarray:
        """What the cars `slots` (int64 [m]; None: all) are shown now, [m, *space.shape]."""
        ...


def sense(
    name: str, roads: Roads, *, encoder: str | None = None, view_height: int = 42, rays: int = 1
) -> Sense:
    """The observation of that name, for cars on `roads`. An encoder has a height and rays of its
    own. Raises ValueError for one that is not there, or of no use, and for views that are not
    there."""
    check_view(view_height, rays)
    if name != "camera":
        if encoder is not None:
            raise ValueError(f"encoder={encoder} reads pictures: it needs observation=camera")
        return Pose(roads) if name == "pose" else Vector(roads)
    if encoder is None:
        return Pictures(Camera(roads.tracks, height=view_height, rays=rays))
    from envs.racing.vae import Encoder  # imports torch, which the others do not need

    made = Encoder(encoder)
    return Latents(Camera(roads.tracks, height=made.height, rays=made.rays), made)


class Vector:
    """Numbers about the car and the road ahead: see `vector`."""

    def __init__(self, roads: Roads) -> None:
        self.space: spaces.Box[Any] = spaces.Box(-np.inf, np.inf, (SIZE,), np.float32)
        self._roads = roads

    def observe(self, cars: Cars, referee: Referee, slots: np.ndarray | None = None) -> np.ndarray:
        shown = vector(cars, self._roads, referee.which, referee.place)
        return shown if slots is None else shown[slots]


class Pictures:
    """The picture of the car's camera: uint8 [height, 144, 3], see camera.py."""

    def __init__(self, camera: Camera) -> None:
        shape = (camera.height, WIDTH, 3)
        self.space: spaces.Box[Any] = spaces.Box(0, 255, shape, np.uint8)
        self._camera = camera

    def observe(self, cars: Cars, referee: Referee, slots: np.ndarray | None = None) -> np.ndarray:
        which: Any = slice(None) if slots is None else slots
        place = cars.x[which], cars.y[which], cars.yaw[which]
        return self._camera.images(referee.which[which], *place)


class Latents:
    """float32 [33]: what an encoder makes of the picture, 32 numbers, and the speed / 30 m/s."""

    def __init__(self, camera: Camera, encoder: Encoder) -> None:
        shape = (encoder.latents + 1,)
        self.space: spaces.Box[Any] = spaces.Box(-np.inf, np.inf, shape, np.float32)
        self._pictures, self._encoder = Pictures(camera), encoder

    def observe(self, cars: Cars, referee: Referee, slots: np.ndarray | None = None) -> np.ndarray:
        latents = self._encoder.encode(self._pictures.observe(cars, referee, slots))
        speed = cars.speed if slots is None else cars.speed[slots]
        return np.column_stack([latents, (speed * (1 / 30)).astype(np.float32)])


class Pose:
    """What Learn-to-Race calls the pose, float32 [30], in the simulator's units: see pose.pose."""

    def __init__(self, roads: Roads) -> None:
        self.space: spaces.Box[Any] = spaces.Box(-np.inf, np.inf, (FIELDS,), np.float32)
        self._ids = np.array([TRACKS.get(track.name, ELSEWHERE) for track in roads.tracks])

    def observe(self, cars: Cars, referee: Referee, slots: np.ndarray | None = None) -> np.ndarray:
        return pose(cars, self._ids[referee.which], slots).astype(np.float32)


def vector(cars: Cars, roads: Roads, which: np.ndarray, place: Place) -> np.ndarray:
    """float32 [N, 42], all within about +-2, so that no running normalisation is needed.

    0-4: vx / 30 m/s, vy / 3 m/s, yaw rate x 1.5 s/rad, wheel angle x 3 /rad, pedal / 8 m/s2.
    5: the lateral position, 1 on the left edge and -1 on the right one. 6, 7: metres to the left
    and to the right edge, / 8. 8, 9: three times the sine, and the cosine, of the angle between the
    car and the road. 10-25: the mean curvature of 16 intervals ahead (see road.AHEAD), x 25 m.
    26-41: the mean absolute curvature there, x 25 m - 0.5.
    """
    left, right = roads.edges(which, place.sample)
    at = roads.offset[which] + place.sample
    heading = roads.heading[at] + roads.curvature[at] * place.along
    error = cars.yaw - heading
    bends, sharpness = roads.ahead(which, place.sample)
    obs = np.empty((SIZE, cars.n))
    obs[0] = cars.vx * (1 / 30)
    obs[1] = cars.vy * (1 / 3)
    obs[2] = cars.yaw_rate * 1.5
    obs[3] = cars.steering * 3.0
    obs[4] = cars.pedal * (1 / 8)
    obs[5] = (2.0 * place.lateral - left + right) / (left + right)
    obs[6] = (left - place.lateral) * (1 / 8)
    obs[7] = (right + place.lateral) * (1 / 8)
    obs[8] = 3.0 * np.sin(error)
    obs[9] = np.cos(error)
    obs[10:26] = 25.0 * bends
    obs[26:] = 25.0 * sharpness - 0.5
    return obs.T.astype(np.float32)
