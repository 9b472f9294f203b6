"""The server's side of a WebSocket, RFC 6455 (Fette and Melnikov 2011), as far as a fake simulator
needs it: no sockets here, bytes in and bytes out."""

from __future__ import annotations

import base64
import hashlib

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Conversation:
    """What has come from one client. out: bytes that are to be sent to it; over: it has closed."""

    def __init__(self) -> None:
        self._came, self._opened = b"", False
        self.out, self.over = b"", False

    def feed(self, data: bytes) -> list[str]:
        """The texts that are complete with these bytes."""
        self._came += data
        if not self._opened:
            head, ended, rest = self._came.partition(b"\r\n\r\n")
            if not ended:
                return []
            self._came, self._opened = rest, True
            self._shake(head)
        texts = []
        while (frame := self._frame()) is not None:
            opcode, payload = frame
            if opcode == TEXT:
                texts.append(payload.decode("utf-8", "replace"))
            elif opcode == PING:
                self.out += framed(PONG, payload)
            elif opcode == CLOSE:
                self.out += framed(CLOSE, payload)
                self.over = True
        return texts

    def say(self, text: str) -> None:
        """Puts a text into `out`."""
        self.out += framed(TEXT, text.encode())

    def _shake(self, head: bytes) -> None:
        """Answers the request that opens a WebSocket; closes where it is another one."""
        lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in lines}
        key = headers.get(b"sec-websocket-key")
        if key is None:
            self.out += b"HTTP/1.1 400 Bad Request\r\n\r\n"
            self.over = True
            return
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.out += (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def _frame(self) -> tuple[int, bytes] | None:
        """Opcode and payload of the next frame; None while it is not complete."""
        came = self._came
        if len(came) < 2:
            return None
        size, at = came[1] & 0x7F, 2
        if size > 125:
            wide = 2 if size == 126 else 8
            size, at = int.from_bytes(came[2 : 2 + wide]), 2 + wide
        mask = came[at : at + 4] if came[1] & 0x80 else bytes(4)
        at += 4 if came[1] & 0x80 else 0
        if len(came) < at + size:
            return None
        self._came = came[at + size :]
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(came[at : at + size]))
        return came[0] & 0x0F, payload


def framed(opcode: int, payload: bytes) -> bytes:
    """One frame of a server."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 1 << 16:
        length = bytes([126]) + size.to_bytes(2)
    else:
        length = bytes([127]) + size.to_bytes(8)
    return bytes([0x80 | opcode]) + length + payload
