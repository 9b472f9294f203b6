"""From a node to the object it describes.

A node is a mapping with `_target_`, the class or function, and its keywords; with `_partial_: true`
it stands for a factory. No other word of a node means anything, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from conf import schema
from conf.sentences import Wrong, line


def made(node: Mapping[str, Any], key: str = "") -> Any:
    """What a node describes: an object, or functools.partial of its class with the keywords.

    Raises Wrong for a target that leads nowhere and for values that the constructor refuses.
    """
    what = schema.found(node["_target_"], key)
    keywords = {
        name: made(value, f"{key}.{name}") if schema.is_node(value) else value
        for name, value in node.items()
        if name not in schema.SPECIAL
    }
    if node.get("_partial_"):
        return partial(what, **keywords)
    try:
        return what(**keywords)
    except ValueError as error:
        raise Wrong(line(error)) from error
