"""TensorBoard's event files, as bytes: records of protocol buffers with checksums. Its own writer
has a thread that dies with the first error of the disk; these are written as other files are."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

VERSION = "brain.Event:2"


def name() -> str:
    """Of a new file, as TensorBoard looks for them."""
    return f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.0"


def beginning(forget_from: int | None = None) -> bytes:
    """What a file begins with. forget_from: TensorBoard drops events of earlier files from this
    step on."""
    now = time.time()
    first = event_pb2.Event(wall_time=now, file_version=VERSION)
    if forget_from is None:
        return _records(first)
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    again = event_pb2.Event(wall_time=now, step=forget_from, session_log=start)
    return _records(first, again)


def scalars(values: Mapping[str, float], step: int, at: float) -> bytes:
    """Numbers by name; at: seconds since 1970."""
    return _records(
        *(
            event_pb2.Event(
                wall_time=at,
                step=step,
                summary=summary_pb2.Summary(
                    value=[summary_pb2.Summary.Value(tag=tag, simple_value=value)]
                ),
            )
            for tag, value in values.items()
        )
    )


def _records(*events: Any) -> bytes:
    into = io.BytesIO()
    writer = RecordWriter(into)
    for event in events:
        writer.write(event.SerializeToString())
    return into.getvalue()
