"""From a node to the object it describes.

A node is a mapping with `_target_`, the class or function, and its keywords; with `_partial_: true`
it stands for a factory. No other word of a node means anything, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from conf import encoders, schema
from conf.sentences import Wrong, line

ENCODERS = {"agent": "pretrained", "env.make": "encoder"}  # keywords that name an encoder's file


def made(node: Mapping[str, Any], key: str = "") -> Any:
    """What a node describes: an object, or functools.partial of its class with the keywords. The
    name of an encoder's file becomes what is read from it.

    Raises Wrong for a target that leads nowhere, for a file that holds no encoder, and for values
    that the constructor refuses.
    """
    what = schema.found(node["_target_"], key)
    keywords = {
        name: made(value, f"{key}.{name}") if schema.is_node(value) else value
        for name, value in node.items()
        if name not in schema.SPECIAL
    }
    name = ENCODERS.get(key, "")
    if keywords.get(name) is not None and not schema.accepts(what, name, str):
        keywords[name] = encoders.read(keywords[name], f"{key.partition('.')[0]}.{name}")
    if node.get("_partial_"):
        return partial(what, **keywords)
    try:
        return what(**keywords)
    except ValueError as error:
        raise Wrong(line(error)) from error


def begun(agent: Mapping[str, Any]) -> dict[str, Any]:
    """The node of an agent whose weights come from a policy or a checkpoint: the encoder that it
    began with is not read again."""
    what, name = schema.found(agent["_target_"], "agent"), ENCODERS["agent"]
    read = name in agent and not schema.accepts(what, name, str)
    return {**agent, name: None} if read else dict(agent)


def agent_of(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node of a run's agent, which has begun where the run goes on."""
    agent: Mapping[str, Any] = values["agent"]
    return begun(agent) if values["resume"] else agent


def modules(values: Mapping[str, Any]) -> list[str]:
    """The modules of this library that every process of a run of these values imports."""
    nodes = [*(values[name] for name in ("paradigm", "agent", "replay")), values["env"]["make"]]
    targets = [str(node.get("_target_")).split(".") for node in nodes]
    return [".".join(target[:-1]) for target in targets if target[0] in schema.OURS]
