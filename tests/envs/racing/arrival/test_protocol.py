"""The simulator's bytes, against bytes written by hand."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from envs.racing.arrival import protocol
from envs.racing.arrival.rfc6455 import Conversation, framed

FLOATS = st.floats(-1e6, 1e6, width=32)


def test_an_action_is_two_floats_and_a_byte() -> None:
    data = protocol.pack_action(0.5, -16.0)
    assert data == bytes.fromhex("0000003f 000080c1 01")
    assert protocol.unpack_action(data) == (0.5, -16.0, 1)


def test_a_pose_is_thirty_numbers_in_126_bytes() -> None:
    fields = np.arange(30.0)
    data = protocol.pack_pose(fields)
    assert len(data) == 126
    assert data[:6] == bytes.fromhex("00000000 01 02")
    assert data[6:10] == struct.pack("<f", 3.0)
    assert data[54:62] == struct.pack("<d", 15.0), "longitude, after 6 and 12 floats"
    assert data[-4:] == struct.pack("<f", 29.0)
    np.testing.assert_array_equal(protocol.unpack_pose(data), fields)


@given(arrays(np.float64, 30, elements=FLOATS), st.integers(-128, 127), st.integers(-128, 127))
def test_a_pose_comes_back_as_it_was(fields: np.ndarray, gear: int, mode: int) -> None:
    fields[1:3] = gear, mode
    np.testing.assert_array_equal(protocol.unpack_pose(protocol.pack_pose(fields)), fields)


def test_an_image_has_a_header_of_40_bytes_and_blue_first() -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    data = protocol.pack_image(image, 7)
    assert data[4:16] == struct.pack("<iii", 2, 3, 3) and len(data) == 40 + 18
    assert data[40:43] == bytes([2, 1, 0])
    np.testing.assert_array_equal(protocol.unpack_image(data), image)


def test_requests_and_answers_are_json_rpc() -> None:
    text = protocol.request("open_level", {"level_name": "oval"}, 3)
    assert json.loads(text) == {
        "jsonrpc": "2.0",
        "method": "open_level",
        "params": {"level_name": "oval"},
        "id": 3,
    }
    assert protocol.read_request(text) == ("open_level", {"level_name": "oval"}, 3)
    assert protocol.read_response(protocol.response(3, [1]), 3) == (True, [1])
    assert protocol.read_response(protocol.response(2, [1]), 3) == (False, None)
    with pytest.raises(protocol.Refused, match="no such level"):
        protocol.read_response(protocol.response(3, error="no such level"), 3)


def test_what_is_nothing_of_the_protocol_is_rubbish(subtests: pytest.Subtests) -> None:
    pose, image = protocol.pack_pose(np.zeros(30)), protocol.pack_image(np.zeros((2, 2, 3), "u1"))
    infinite = protocol.POSE.pack(*[0.0, 1, 1], *[np.inf] * 27)
    deep = protocol.IMAGE.pack(0, 2, 2, 3, 5, 0, 0) + bytes(12)
    for read, data, said in (
        (protocol.unpack_action, b"12345678", "8 bytes instead of 9"),
        (protocol.unpack_pose, pose[:-1], "125 bytes instead of 126"),
        (protocol.unpack_pose, infinite, "not finite"),
        (protocol.unpack_image, image[:39], "fewer than its header of 40"),
        (protocol.unpack_image, image[:-1], "2 x 2 pixels in 51 bytes"),
        (protocol.unpack_image, deep, "depth 5"),
        (protocol.read_request, '{"id": 3}', "without method"),
        (protocol.read_request, "rubbish", "no JSON object"),
        (lambda text: protocol.read_response(text, 3), '{"id": 3}', "without a result"),
        (lambda text: protocol.read_response(text, 3), b"\xff\xff", "no JSON object"),
    ):
        with subtests.test(said), pytest.raises(protocol.Rubbish, match=said):
            read(data)  # type: ignore[operator]


def masked(text: str, opcode: int = 1) -> bytes:
    payload, mask = text.encode(), bytes([1, 2, 3, 4])
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2)
    return (
        bytes([0x80 | opcode])
        + length
        + mask
        + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    )


def test_the_example_of_the_websocket_standard() -> None:
    """RFC 6455, sections 1.3 and 5.7."""
    talk = Conversation()
    head = b"GET /chat HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    assert talk.feed(head) == []
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in talk.out
    assert talk.feed(bytes.fromhex("8185 37fa213d 7f9f4d5158")) == ["Hello"]
    assert framed(1, b"Hello") == bytes.fromhex("8105 48656c6c6f")
    assert framed(1, bytes(256))[:4] == bytes.fromhex("817e0100")
    assert framed(1, bytes(65536))[:10] == bytes.fromhex("817f 0000000000010000")


@given(st.lists(st.text(max_size=300), max_size=4), st.data())
def test_texts_may_come_in_any_pieces(texts: list[str], data: st.DataObject) -> None:
    talk = Conversation()
    talk.feed(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n")
    sent, heard = b"".join(map(masked, texts)), []
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        heard += talk.feed(sent[:size])
        sent = sent[size:]
    assert heard == texts


def test_a_client_that_pings_or_closes_is_answered_and_another_protocol_is_not() -> None:
    talk = Conversation()
    talk.feed(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n")
    talk.out = b""
    assert talk.feed(masked("a", 9) + masked("", 8)) == []
    assert talk.out == framed(10, b"a") + framed(8, b"") and talk.over
    stranger = Conversation()
    stranger.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert stranger.over and stranger.out.startswith(b"HTTP/1.1 400")
