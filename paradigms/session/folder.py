"""A run's folder: where everything lies that a run leaves, and who it was.

config.yaml       the resolved configuration, written by train.py
run.json          versions, git state and command (see record.py), and the choices of the groups
log.txt           what the run said            metrics.jsonl, events.out.*   what it measured
checkpoints/      see checkpoint.py            journal.bin                   see journal.py
solving, best, final: .safetensors and .json   policies, see policy.py
result.json       what the run came to, however it ended
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paradigms.base import Snapshot
from paradigms.session import files
from paradigms.session import origin as record
from paradigms.session.checkpoint import Checkpoints, Damaged
from paradigms.session.policy import save_policy
from paradigms.session.sinks import Run

MOST_ABOUT = 2**18  # bytes of run.json
WRITTEN = ("log.txt", "metrics.jsonl", "journal.bin", "result.json", "run.json", "checkpoints")
ABOUT = ("agent", "env", "seed")  # of the configuration: what rebuilds a policy and its env


class RunFolder:
    """The folder `path` of one run.

    config: the resolved configuration, JSON values; policies are kept with its agent, env and seed.
    choices: the names chosen for its groups (paradigm, agent, env ...). trust: the modules outside
    this library whose code the run uses, for the commands that it prints.
    """

    def __init__(
        self,
        path: Path,
        *,
        config: dict[str, Any],
        choices: dict[str, str],
        trust: Sequence[str] = (),
    ) -> None:
        self.path, self.choices, self.trust = path, choices, trust
        self.world = str(config["env"]["id"])
        self.config = config
        self._about = {key: config[key] for key in ABOUT}
        self.identity = "run"
        self._lock: int | None = None

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def lock(self) -> None:
        """Makes this the only run in the folder until `release`, or until the process ends. Raises
        ValueError if there is another one, if the folder cannot be written, or if what the run will
        write to is a link or no file, so that it would lie elsewhere."""
        for name in WRITTEN:
            place = self.path / name
            kind = place.is_dir() if name == "checkpoints" else place.is_file()
            if place.is_symlink() or (place.exists() and not kind):
                raise ValueError(
                    f"{place} is a link or no file, so nothing is written to it: remove it"
                )
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            lock = os.open(self.path / "log.txt", flags, 0o644)
        except OSError as error:
            raise ValueError(
                f"the folder of the run cannot be written ({error}): choose another one by"
                " hydra.run.dir=FOLDER"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise ValueError(
                f"another run is going on in {self.path}: wait for its end, or choose another"
                " folder by hydra.run.dir=FOLDER"
            ) from None
        except OSError:  # a file system without locks
            pass
        self._lock = lock

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def for_a_run(self, resumed: str | None) -> None:
        """Raises ValueError if the folder holds the checkpoints of another run than the one that
        goes on, by its folder: they would be taken for those of this one."""
        if resumed is not None and Path(resumed).resolve() == self.path.resolve():
            return
        if Checkpoints(self.checkpoints).names():
            raise ValueError(
                f"{self.path} holds the checkpoints of another run: go on with that one by"
                f" resume={self.path}, or choose another folder by hydra.run.dir=FOLDER"
            )

    def describe(self) -> str:
        """Writes run.json; a run that goes on here keeps its identity. Returns why it could not be
        written, or an empty string."""
        self.identity = identity_of(self.path) or secrets.token_hex(4)
        about = {**record.origin(), "identity": self.identity, "choices": self.choices}
        try:
            files.write_json(self.path / "run.json", about)
        except OSError as error:
            return f"run.json could not be written: {error}"
        return ""

    def described(self, resumed_at: int | None) -> Run:
        """The run as sinks are told of it."""
        names = [self.choices.get(name, "") for name in ("paradigm", "agent", "env")]
        return Run(
            folder=self.path,
            identity=self.identity,
            name=self.path.name,
            group="-".join(names),
            tags=[name for name in names if name],
            config=self.config,
            resumed_at=resumed_at,
        )

    def keep(self, name: str, snapshot: Snapshot, mean: float | None) -> None:
        """Writes a policy, over an earlier one of that name: "solving", "best" or "final". mean:
        its mean return, if that is known. OSError if it cannot be written."""
        about = {**self._about, "choices": self.choices, "which": name, "evaluated": mean}
        save_policy(self.path / f"{name}.safetensors", snapshot, about)

    def write_result(self, result: dict[str, Any]) -> None:
        """Writes result.json, whole or not at all."""
        files.write_json(self.path / "result.json", result)

    def next_commands(self, further: list[str], *, tensorboard: bool) -> list[str]:
        """What to type next, as lines; `further`: the overrides with which the run goes on."""
        policy = (self.path / "final.safetensors").exists()
        return record.commands(
            self.path, further, policy=policy, tensorboard=tensorboard, trust=self.trust
        )


def about(run: Path) -> Any:
    """What run.json says. Raises OSError, ValueError or RecursionError."""
    return files.json_value(files.content(run / "run.json", MOST_ABOUT))


def identity_of(run: Path) -> str | None:
    """What sinks call the run in that folder; None if it has no name yet."""
    try:
        identity = about(run)["identity"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return identity if isinstance(identity, str) and identity.isalnum() else None


def choices_of(run: Path) -> dict[str, str]:
    """What was chosen for each group when the run in that folder began; empty without a run.json.
    Raises Damaged for a run.json that is none."""
    file = run / "run.json"
    if not file.exists():
        return {}
    try:
        choices = about(run)["choices"]
        return {str(group): str(choice) for group, choice in choices.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{file} is damaged: {type(error).__name__} {error}; remove it") from error
