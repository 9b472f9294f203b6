"""Trains one agent on one env: python train.py paradigm=dcollect env=lander; --help lists the rest.

Composes once, checks, then imports what is heavy, then is the loop over `paradigm.run(job)`.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from conf import check, compose, nodes, trust
from conf.compose import Setup
from conf.sentences import Wrong, line, refuse

if TYPE_CHECKING:
    from paradigms.base import Progress
    from paradigms.session.session import Session


def main() -> None:
    """The console command. Leaves with 2 and one sentence if what was typed cannot run, and with
    130 after a Ctrl-C that came before the run could take it."""
    try:
        typed = check.command_line(sys.argv[1:], plausible=warm)
        if typed.setup is None:
            sys.argv[1:] = typed.arguments
            app()
            return
        setup = typed.setup
        fits(setup)
        if typed.folder is not None:
            run(setup, typed.folder, time.time(), first=True)
        else:
            compose.run(setup, lambda folder: run(setup, folder, time.time(), first=True))
    except Wrong as error:
        refuse(error)
    except KeyboardInterrupt:
        sys.stderr.write("stopped before the run began\n")
        sys.exit(130)


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def app(config: DictConfig) -> float:
    """One job of several that Hydra runs; returns its score."""
    began, first = time.time(), "torch" not in sys.modules
    own = HydraConfig.get()
    try:
        trust.look_in(".")
        setup = compose.setup(config, own)
        check.settings(setup)
        warm(setup)
        check.constructors(setup)
        fits(setup)
        return run(setup, Path(own.runtime.output_dir), began, first=first)
    except Wrong as error:
        refuse(error)
    except Exception as error:  # of any class; this one a launcher's other processes can read
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def warm(setup: Setup) -> None:
    """Starts the fork server, which loads torch while this process does."""
    # before torch is imported: machine sets the number of threads
    from paradigms.runtime import machine, start

    if setup.values["crew"] == "process":
        start.warm(*nodes.modules(setup.values))
    machine.prepare()


def fits(setup: Setup) -> None:
    """Raises Wrong where this machine has no room for the run, before a folder is made."""
    from conf import build

    build.fits(setup.values)


def run(setup: Setup, folder: Path, began: float, *, first: bool) -> float:
    """Trains, in a folder of its own; returns the score. Exits if it ended badly. Raises Wrong."""
    from conf.build import settings
    from paradigms.errors import PacelineError

    with build(setup, folder.absolute(), began, first=first) as session:
        try:
            result = train(session)
        except Exception as error:
            if session.resumed_at is None or session.begun or isinstance(error, PacelineError):
                raise
            raise Wrong(
                f"resume={setup.values['resume']}: its checkpoint is whole, but a run cannot go on"
                f" from it ({type(error).__name__}: {line(error)})"
            ) from error
    if session.signals.caught or result["stopped_by"] == "error":
        sys.exit(128 + session.signals.caught if session.signals.caught else 1)
    if settings(setup.values).score == "seconds":
        return float(result["seconds_to_threshold"] if result["solved"] else "inf")
    return float("nan" if result["final_return"] is None else result["final_return"])


def learn(
    *words: str, on_progress: Callable[[Progress], bool | None] | None = None
) -> dict[str, Any]:
    """Trains from Python as the command line does: learn("env=pendulum", "paradigm=hogwild").

    on_progress: called with every progress of the run; what it returns, if true, ends the run.
    Returns what result.json says, and `folder`, where the run lies. Raises Wrong for words
    that cannot run, and whatever ends the run badly. It needs the main thread, which takes Ctrl-C.
    """
    typed, found = check.command_line([*words], plausible=warm), dict[str, Any]()
    if typed.setup is None or typed.folder is not None:
        raise Wrong("learn trains one new run: leave out -m, resume and Hydra's own flags")
    setup = typed.setup
    fits(setup)

    def one(folder: Path) -> float:
        with build(setup, folder.absolute(), time.time(), first=False) as session:
            found.update(train(session, on_progress), folder=str(folder.absolute()))
        return float("nan")

    compose.run(setup, one)
    return found


def build(setup: Setup, folder: Path, began: float, *, first: bool) -> Session:
    """Everything a run needs, from checked values. Raises Wrong for what only now can be known."""
    from conf.build import assemble, settings
    from conf.nodes import made
    from paradigms.session import files
    from paradigms.session.checkpoint import Damaged
    from paradigms.session.clock import run_began
    from paradigms.session.folder import RunFolder, choices_of
    from paradigms.session.session import Session

    if setup.auto:
        import probe

        setup = probe.settled(setup)
    v = setup.values
    journal = str(folder / "journal.bin") if settings(v).journal else None
    job, paradigm = assemble(v, started=run_began(began, first=first), journal=journal)
    try:
        choices = choices_of(Path(v["resume"])) if v["resume"] else {}
        where = RunFolder(
            folder, config=v, choices=choices or setup.choices, trust=trust.foreign(v)
        )
        session = Session(
            job,
            paradigm,
            where,
            settings(v),
            random_return=v["env"]["random_return"],
            sinks={name: made(node, f"logger.{name}") for name, node in v["logger"].items()},
        )
    except (ValueError, Damaged) as error:
        raise Wrong(line(error)) from error
    try:
        text = yaml.safe_dump(setup.stored or v, sort_keys=False)
        files.write_text(folder / "config.yaml", text)  # not before a refusal
    except OSError as error:
        raise Wrong(f"the run's folder {folder} cannot be written: {line(error)}") from error
    return session


def train(
    session: Session, on_progress: Callable[[Progress], bool | None] | None = None
) -> dict[str, Any]:
    """The loop: log, evaluate, save, stop. Returns what result.json says; it is always written."""
    run = session.paradigm.run(session.job)
    try:
        while True:
            try:
                progress = next(run)
            except StopIteration as end:
                session.finish(end.value)
                break
            session.note(progress)
            session.evaluate(progress)
            session.save_if_due(progress)
            if session.enough(progress) or (on_progress and on_progress(progress)):
                progress.stop()
    except BaseException as error:
        session.fail(error, traceback.format_exc())
        raise
    finally:
        run.close()
        result = session.result()
    return result


if __name__ == "__main__":
    main()
