"""A population of runs of another paradigm, of which the worst copy the best and change settings.

member i: run of `of` --ready--> publish (weights, settings, score) -> wait for all members
          bottom 20 %: weights and settings of one of the top 20 %, perturbed -> the run goes on

Jaderberg et al. 2017, Population Based Training of Neural Networks, arXiv:1711.09846, with
truncation selection (section 4.1.1).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le

from agents.parts.draws import reseed
from paradigms.base import Job, Paradigm, Progress, Result
from paradigms.loop.build import Components, without_replay
from paradigms.loop.drive import ENV_OF_WORKER, Driver
from paradigms.loop.search import Space
from paradigms.runtime.crew import Crew
from paradigms.runtime.link import Link, Role
from paradigms.weights.population import Population


@dataclass(frozen=True)
class PBT:
    """of: the paradigm of each member, whose workers are threads of the member's process. ready:
    env steps of each member between two selections. search: keywords of the agent's factory, each
    {low, high} with log: true for a logarithmic scale, or {choices: [...]}. resample: the
    probability with which a setting is drawn anew instead of perturbed. exploit: False copies
    nothing, so that the members are a random search with as many points.

    A member that copies takes the whole vector, with targets, moments and statistics, and goes on
    with an agent built from the perturbed settings; its replay stays its own. One that dies is
    replaced by one that goes on from the end of its last round, with the state of its whole run.

    Deviations from the paper: members wait for each other at each selection, so that a run's bits
    depend on its seed alone; the score is the mean return of the episodes that ended since the last
    selection, with their exploration.
    """

    of: Any
    members: Annotated[int, Ge(1)] = 4
    ready: Annotated[int, Ge(1)] = 5000
    resample: Annotated[float, Ge(0), Le(1)] = 0.25
    search: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    exploit: bool = True

    name = "pbt"
    workers = None
    needs = frozenset[str]()
    offers = frozenset[str]()

    def __post_init__(self) -> None:
        self.space()

    def space(self) -> Space:
        """What is searched. Raises ValueError for a range that is none."""
        return Space(self.search, "paradigm.search")

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """Starts a process for each member, which is replaced if it dies, with an equal share of
        the budget of env steps. Yields a Progress at each of their reports, whose snapshots are the
        best member's of the last selection, and whose `save` has what each member had at the end of
        its last round. Raises Failed if members fail too often, Deadlock inline, ValueError if the
        agent has no such setting or cannot copy what it changes."""
        self.space().check(job.make_agent, job.spec)
        run, population = self.shared(job)
        member = self.member(job)
        crew = Crew(job.crew, job.order, journal=job.journal)
        for rank in range(self.members):
            args = (run.components, member, rank, population, self)
            crew.add(f"worker-{rank}", PBTMember, *args, rank=rank, restartable=True)
        following = run.follow(crew, population, moved=(population,))
        try:
            while True:
                progress = next(following)
                notes = (*progress.notes, *lineage(progress.metrics))
                save = functools.partial(saved, progress.save, population)
                yield replace(progress, notes=notes, save=save)
        except StopIteration as end:
            result: Result = end.value
            return result
        finally:
            following.close()

    def shared(self, job: Job) -> tuple[Driver, Population]:
        """What the processes of a run share, with what a resumed job's state has of it. Raises
        ValueError for the state of another population, and LookupError for that of none."""
        run = Driver(without_replay(job), workers=self.members)
        population = Population(run.vector, self.members, len(self.search))
        if job.resume is not None:
            population.load(job.resume)
        return run, population

    def member(self, job: Job) -> Job:
        """The job of each member, which begins anew."""
        share = -(-job.budget.env_steps // self.members)
        return replace(
            job,
            workers=self.of.workers or job.workers,
            crew="inline",
            order=None,
            journal=None,
            resume=None,
            budget=replace(job.budget, env_steps=share),
        )

    def resumed(self, job: Job) -> list[Job]:
        """The jobs of members as they go on in a resumed job. Raises as `shared` does."""
        self.shared(job)
        member, kept = self.member(job), (job.resume or {})["members"]
        return [replace(member, resume=one["run"]) for one in kept if one is not None]


def saved(save: Callable[[], dict[str, Any]], population: Population) -> dict[str, Any]:
    """The complete state of a run."""
    return {**save(), **population.save()}


def lineage(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """The copies among a member's metrics, in words for the log."""
    parents = {k.partition("/")[0]: int(v) for k, v in metrics.items() if k.endswith("/parent")}
    said = []
    for name, parent in parents.items():
        if name != f"member-{parent}":
            own = (f"{k.partition('/')[2]} {v:g}" for k, v in metrics.items() if k.startswith(name))
            said.append((f"{name} goes on from member-{parent}: {', '.join(own)}", ""))
    return said


class PBTMember(Role):
    """A member: its own run of the wrapped paradigm, which a copy replaces by one that goes on.

    number: rounds that it has ended and selected after. ended: whether it has ended this one, too,
    and waits for the others.
    """

    def __init__(
        self, components: Components, job: Job, rank: int, population: Population, pbt: PBT
    ) -> None:
        self.ledger, self.rank, self.population = components.ledger, rank, population
        seed = job.seed if rank == 0 else job.seed + 7_368_787 * rank
        self.seed, self.job = job.seed, replace(job, seed=seed)
        self.pbt, self.space = pbt, pbt.space()
        self.number, self.ended = 0, False
        self.state: dict[str, Any] | None = None  # of its run, at the end of a round
        self.score = -math.inf
        self.returns = self.stretch = (0.0, 0)  # their sum and number: now, and a round ago

    def run(self, link: Link) -> None:
        self.ledger.count("lost", self.rank, int(link.life > 0))  # the round of the one it replaces
        going, progress = self.go_on(), None
        try:
            while link.go():
                if self.ended:
                    number = self.number
                    if not link.wait("population", lambda: self.population.complete(number)):  # noqa: B023
                        break
                    going = self.select(link, going)
                assert going is not None, "a run that has not ended its round goes on"
                progress = next(going)
                self.note(progress)
                due = (self.number + 1) * self.pbt.ready
                if due <= progress.env_steps and due < self.job.budget.env_steps:
                    link.busy(60)
                    self.publish(progress.save(), ended=True)
        except StopIteration:
            if progress is not None:
                self.publish(progress.save(), ended=False)
            self.population.leave(self.rank, self.number)
            link.report(self.told())
            return
        finally:
            if going is not None:
                going.close()
            self.count({} if progress is None else progress.totals())
        if progress is not None and not self.ended:  # the run was stopped in the middle of a round
            self.publish(progress.save(), ended=False)

    def go_on(self) -> Generator[Progress, None, Result] | None:
        """The member's run: from its beginning, or from what one before it has kept in the middle
        of a round; None where it stands at the end of a round."""
        kept = self.population.kept(self.rank)
        if kept is None:
            self.point = self.space.draw(reseed(torch.Generator(), self.seed, "search", self.rank))
            return self.begin(None)
        self.number, self.ended, self.point = kept["number"], kept["ended"], kept["point"]
        self.returns, self.stretch = kept["returns"], kept["stretch"]
        if not self.ended:
            return self.begin(kept["run"])
        self.state = kept["run"]
        self.score = float(self.population.scores(self.number)[self.rank])
        self.population.end(self.rank, self.number)  # its predecessor may have died before
        return None

    def select(
        self, link: Link, going: Generator[Progress, None, Result] | None
    ) -> Generator[Progress, None, Result]:
        """What goes on after a round that all have ended: the run itself; or one from the donor's
        weights, with its settings perturbed, and with the member's own transitions and counters."""
        donor, state = None, self.state
        assert state is not None, "publish has left the state of the round's end"
        if self.pbt.exploit:
            donor = self.population.donor(self.rank, self.number, seed=self.seed)
        at = f"member-{self.rank}"
        told = {f"{at}/parent": float(self.rank if donor is None else donor), **self.told()}
        if link.life:
            told[f"{at}/restarts"] = float(link.life)
        if donor is not None:
            if going is not None:
                going.close()
            copied = self.population.copy(self.rank, donor, self.number)
            state["floats"], state["counts"], point = copied
            draws = reseed(torch.Generator(), self.seed, "explore", self.rank, self.number)
            self.point = self.space.perturb(point, draws, resample=self.pbt.resample)
            going = None
        self.state, self.ended, self.number = None, False, self.number + 1
        link.report({**told, **self.settings()})
        return self.begin(state) if going is None else going

    def begin(self, state: dict[str, Any] | None) -> Generator[Progress, None, Result]:
        """The member's run, from its beginning or going on from a state, with the settings that it
        has now."""
        of: Paradigm = self.pbt.of
        make_agent = functools.partial(self.job.make_agent, **self.space.values(self.point))
        return of.run(replace(self.job, make_agent=make_agent, resume=state))

    def note(self, progress: Progress) -> None:
        """Brings the population's ledger up to the member's."""
        returns, episodes = progress.means["episode/return"]
        self.returns = (returns, episodes)
        self.ledger.stands(
            self.rank,
            env_steps=progress.env_steps,
            updates=progress.updates,
            episodes=episodes,
            returns=returns,
            length=int(progress.means["episode/length"][0]),
        )
        for words, trace in progress.notes:
            if words.startswith(ENV_OF_WORKER):
                self.ledger.failed(self.rank, 0, trace)

    def count(self, totals: Mapping[str, Any]) -> None:
        """Adds what the member's own ledger has counted beside progress."""
        self.ledger.skipped(self.rank, totals.get("skipped", 0))
        self.ledger.failed(self.rank, totals.get("env_errors", 0), "")

    def publish(self, state: dict[str, Any], *, ended: bool) -> None:
        """Shows what the others need, and keeps what the member goes on from; the score is -inf if
        no episode has ended since the round began. ended: whether the round has; else the run."""
        (returns, episodes), (before, first) = self.returns, self.stretch
        self.score = (returns - before) / (episodes - first) if episodes > first else -math.inf
        population, rank, number = self.population, self.rank, self.number
        if ended:
            self.stretch, self.state = self.returns, state
        population.show(rank, number, state["floats"], state["counts"], self.point, self.score)
        kept = {"number": number, "ended": ended, "point": self.point, "run": state}
        population.keep(rank, {**kept, "returns": self.returns, "stretch": self.stretch})
        population.end(rank, number)
        self.ended = ended

    def told(self) -> dict[str, float]:
        """The member's score, by TensorBoard name."""
        return {f"member-{self.rank}/return": self.score} if math.isfinite(self.score) else {}

    def settings(self) -> dict[str, float]:
        """The settings that the member goes on with, by TensorBoard name."""
        at, out = f"member-{self.rank}", dict[str, float]()
        for (name, said), value in zip(self.space.search.items(), self.point, strict=True):
            out[f"{at}/{name}{'_choice' if 'choices' in said else ''}"] = float(value)
        return out
