"""Sinks of trackers that are extras: Weights & Biases, and Trackio, which needs no account.

Neither is imported before a run starts, nor by any other process than the main one. Numbers carry
their env steps as a metric of its own instead of a tracker's step, because evaluations come late.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from paradigms.session.sinks import Run, public


class Wandb:
    """Weights & Biases. project, entity, group: where the run is listed; group None:
    PARADIGM-AGENT-ENV. mode: online, offline (`wandb sync` sends it later) or disabled; None: as
    WANDB_MODE says. A login comes from the environment alone (WANDB_API_KEY or `wandb login`)."""

    package = "wandb"

    def __init__(
        self,
        *,
        project: str,
        entity: str | None,
        group: str | None,
        mode: Literal["online", "offline", "disabled"] | None,
    ) -> None:
        self.project, self.entity, self.group, self.mode = project, entity, group, mode
        self._run: Any = None
        self._identity = ""

    def start(self, run: Run) -> None:
        import wandb

        self._identity = run.identity
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group or run.group,
            name=run.name,
            id=run.identity,
            config=public(run.config),
            tags=[*run.tags],
            dir=str(run.folder),
            mode=self.mode,
            resume="allow" if run.resumed_at is not None else None,
            reinit="create_new",
            settings=wandb.Settings(console="off", disable_code=True, silent=True, init_timeout=30),
        )
        self._run.define_metric("env_steps")
        self._run.define_metric("*", step_metric="env_steps")
        self._run.define_metric("evaluation/return", step_metric="env_steps", summary="max")

    def scalars(self, values: Mapping[str, float], env_steps: int, seconds: float) -> None:
        self._run.log({**values, "env_steps": env_steps, "seconds": seconds})

    def file(self, path: Path, kind: str) -> None:
        import wandb

        artifact = wandb.Artifact(f"{kind}-{self._identity}", type="model")
        artifact.add_file(str(path))
        self._run.log_artifact(artifact)

    def finish(self, result: Mapping[str, Any]) -> None:
        self._run.summary.update(dict(result))

    def close(self, exit_code: int) -> None:
        if self._run is not None:
            with contextlib.suppress(BrokenPipeError):  # its own process got the same signal
                self._run.finish(exit_code=exit_code)


class Trackio:
    """Trackio: `trackio show` draws the runs in a browser, without an account. project: where the
    run is listed. folder: of its database; None: as TRACKIO_DIR says, else in the home folder."""

    package = "trackio"

    def __init__(self, *, project: str, folder: str | None) -> None:
        self.project, self.folder = project, folder
        self._run: Any = None

    def start(self, run: Run) -> None:
        if self.folder is not None:
            os.environ["TRACKIO_DIR"] = str(Path(self.folder).absolute())  # read as it is imported
        with contextlib.redirect_stdout(io.StringIO()):
            import trackio

            self._run = trackio.init(
                project=self.project,
                name=run.name,
                group=run.group,
                config=public(run.config),
                resume="allow" if run.resumed_at is not None else "never",
                embed=False,
                auto_log_gpu=False,
            )

    def scalars(self, values: Mapping[str, float], env_steps: int, seconds: float) -> None:
        self._run.log({**values, "env_steps": env_steps, "seconds": seconds}, step=int(env_steps))

    def file(self, path: Path, kind: str) -> None:
        """Trackio keeps numbers alone."""

    def finish(self, result: Mapping[str, Any]) -> None:
        known = {f"result/{k}": v for k, v in result.items() if isinstance(v, int | float)}
        self._run.log(known, step=int(result.get("env_steps") or 0))

    def close(self, exit_code: int) -> None:
        if self._run is not None:
            with contextlib.redirect_stdout(io.StringIO()):
                self._run.finish()
