"""The bytes and the words that the Arrival simulator and its drivers exchange.

action   UDP to the simulator       9 bytes: steer, acceleration in m/s2, gear
pose     UDP from the simulator     126 bytes: 30 numbers, see envs.racing.pose
image    ZeroMQ from the simulator  a header of 40 bytes, then pixels in blue, green, red
control  WebSocket, both ways       JSON-RPC 2.0, one request at a time
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

ACTION = struct.Struct("=ffb")
POSE = struct.Struct("=fbb12f3d12f")
IMAGE = struct.Struct("iiiiiqq")  # unknown, height, width, channels, depth, unknown, unknown
BYTES = 0  # the depth of an image whose numbers are bytes, as OpenCV numbers it
DRIVER, CAMERA = "ArrivalVehicleDriver", "CameraFrontRGB"  # sensors


class Rubbish(ValueError):
    """What came is nothing that the protocol knows."""


class Refused(Exception):
    """The simulator answers a request with an error."""


def pack_action(steer: float, acceleration: float, gear: int = 1) -> bytes:
    """steer: in [-1, 1]; acceleration: m/s2, in [-16, 6]; gear: 1 drives."""
    return ACTION.pack(steer, acceleration, gear)


def unpack_action(data: bytes) -> tuple[float, float, int]:
    """What pack_action has packed. Raises Rubbish."""
    steer, acceleration, gear = _unpacked(ACTION, data, "an action")
    return steer, acceleration, gear


def pack_pose(fields: np.ndarray) -> bytes:
    """fields: float64 [30], with degrees in 15 and 16 and metres in 17."""
    numbers = [float(field) for field in fields]
    return POSE.pack(numbers[0], int(numbers[1]), int(numbers[2]), *numbers[3:])


def unpack_pose(data: bytes) -> np.ndarray:
    """float64 [30], with degrees in 15 and 16. Raises Rubbish."""
    return np.array(_unpacked(POSE, data, "a pose"), np.float64)


def pack_image(image: np.ndarray, number: int = 0) -> bytes:
    """image: uint8 [height, width, 3], red, green, blue; number: of the frame."""
    return IMAGE.pack(0, *image.shape, BYTES, number, 0) + image[..., ::-1].tobytes()


def unpack_image(data: bytes) -> np.ndarray:
    """uint8 [height, width, 3], red, green, blue. Raises Rubbish."""
    if len(data) < IMAGE.size:
        raise Rubbish(f"an image of {len(data)} bytes, fewer than its header of {IMAGE.size}")
    _, height, width, channels, depth, _, _ = IMAGE.unpack_from(data)
    if channels != 3 or depth != BYTES or min(height, width) < 1:
        raise Rubbish(
            f"an image of {height} x {width} x {channels} numbers of depth {depth}, where 3 bytes"
            " a pixel are due"
        )
    if len(data) != IMAGE.size + 3 * height * width:
        raise Rubbish(f"an image of {height} x {width} pixels in {len(data)} bytes")
    pixels = np.frombuffer(data, np.uint8, offset=IMAGE.size).reshape(height, width, 3)
    return np.ascontiguousarray(pixels[..., ::-1])


def request(method: str, params: Mapping[str, Any], number: int) -> str:
    """A request, as text."""
    said = {"jsonrpc": "2.0", "method": method, "params": dict(params), "id": number}
    return json.dumps(said)


def read_request(text: str) -> tuple[str, dict[str, Any], int]:
    """Method, params and number of a request. Raises Rubbish."""
    said = _object(text, "a request")
    method, params, number = said.get("method"), said.get("params") or {}, said.get("id")
    if not (isinstance(method, str) and isinstance(params, dict) and isinstance(number, int)):
        raise Rubbish("a request without method, params or id")
    return method, params, number


def response(number: int, result: Any = None, error: str | None = None) -> str:
    """What the simulator answers to request `number`, as text: a result, or an error."""
    said: dict[str, Any] = {"jsonrpc": "2.0", "id": number}
    return json.dumps(
        said
        | ({"result": result} if error is None else {"error": {"code": -32000, "message": error}})
    )


def read_response(text: str | bytes, number: int) -> tuple[bool, Any]:
    """Whether a text answers request `number`, and the result. Raises Rubbish for what is no
    answer, and Refused for an error."""
    said = _object(text, "an answer")
    if said.get("id") != number:
        return False, None
    if "error" in said:
        error = said["error"]
        raise Refused(error.get("message", error) if isinstance(error, dict) else error)
    if "result" not in said:
        raise Rubbish("an answer without a result")
    return True, said["result"]


def _unpacked(form: struct.Struct, data: bytes, what: str) -> tuple[Any, ...]:
    if len(data) != form.size:
        raise Rubbish(f"{what} of {len(data)} bytes instead of {form.size}")
    numbers = form.unpack(data)
    if not np.isfinite(numbers).all():
        raise Rubbish(f"{what} with numbers that are not finite")
    return numbers


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Rubbish(f"{what} that is no JSON object")
    return said
