"""result.json: written, or said where it cannot be."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from paradigms.session import files
from paradigms.session.folder import RunFolder
from paradigms.session.stopping import StopReason


def keep(result: dict[str, Any], folder: RunFolder, stop: StopReason) -> dict[str, Any]:
    """Writes result.json and returns what it says. Where it cannot be written, that is said on
    stderr, in one line, and the run is one that failed."""
    try:
        folder.write_result(result)
    except OSError as error:
        stop.lacks(f"result.json could not be written: {error}")
        result = result | {"stopped_by": stop.reason, "error": stop.error or None}
        words = json.dumps(files.jsonable(result))
        with contextlib.suppress(OSError):
            sys.stderr.write(f"result.json cannot be written ({error}); it would say {words}\n")
            sys.stderr.flush()
    return result
