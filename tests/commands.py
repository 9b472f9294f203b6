"""Whether a command that a page shows can run, without running it."""

from __future__ import annotations

import importlib.util
import re

import encode
import evaluate
import export
from benchmarks import comparison, tuning
from conf import check
from tests.pages import ROOT, Command


def check_one(command: Command) -> None:
    """Raises Wrong or AssertionError where it cannot."""
    match command.words:
        case ["python", "train.py", *arguments]:
            check.command_line([word for word in arguments if not elsewhere(word)])
        case ["python", "evaluate.py", *arguments]:
            evaluate.checked(arguments)
        case ["python", "doctor.py", *arguments]:
            assert not arguments or check.command_line(arguments).setup
        case ["python", "encode.py", *arguments]:
            assert encode.read(arguments)
        case ["python", "laws.py", *arguments]:
            assert check.command_line(arguments).setup
        case ["tensorboard", "--logdir", _]:
            assert importlib.util.find_spec("tensorboard")
        case ["python", "tune.py", *arguments]:
            assert tuning.read(arguments).space
        case ["python", "export.py", *arguments]:
            export.checked(arguments)
        case ["python", "track.py", *arguments]:
            assert {word.partition("=")[0].partition(".")[0] for word in arguments} == {
                "run",
                "logger",
            }
        case ["python", "compare.py", *arguments]:
            words = comparison.read(arguments)
            assert "runs" in words.own or comparison.plan(words)
        case ["python", "reproduce.py", *arguments]:
            assert {word.partition("=")[0] for word in arguments} | {"trust"} == {"run", "trust"}
        case ["python" | ".venv/bin/python", "-m", module, *arguments]:
            assert importlib.util.find_spec(module), module
            named = [word for word in arguments if word.endswith(".py") and "*" not in word]
            assert all((ROOT / word).is_file() for word in named)
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["python3", "-m", "venv", folder, "&&", ".", activate]:
            assert activate == f"{folder}/bin/activate"
        case ["pip", "install", *arguments]:
            assert pip_knows(arguments)
        case _:
            raise AssertionError(f"{command.page}: nobody checks this kind of command")


def elsewhere(word: str) -> bool:
    """Whether a word needs what is not here: a run to go on with, a package that is an extra."""
    named = word.partition("=")[2] if word.startswith(("logger", "env.engine")) else ""
    extras = ("envpool", "wandb", "trackio")
    extra = any(name in named and not importlib.util.find_spec(name) for name in extras)
    extra = extra or (word.startswith("logger.wandb") and not importlib.util.find_spec("wandb"))
    return extra or word == "--help" or word.startswith(("resume=", "trust="))


def pip_knows(arguments: list[str]) -> bool:
    """Whether the constraints are a file and the extras are ours."""
    setup = (ROOT / "setup.cfg").read_text()
    extras = re.findall(r"\[([\w,]+)\]$", arguments[-1])
    names = extras[0].split(",") if extras else []
    known = all(re.search(rf"^{name} =", setup, re.MULTILINE) for name in names)
    return known and ("-c" not in arguments or (ROOT / "constraints.txt").is_file())
