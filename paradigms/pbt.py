"""A population of runs of another paradigm, of which the worst copy the best and change settings.

member i: run of `of` --ready--> publish (weights, settings, score) -> wait for all members
          bottom 20 %: weights and settings of one of the top 20 %, perturbed -> the run goes on

Jaderberg et al. 2017, Population Based Training of Neural Networks, arXiv:1711.09846, with
truncation selection (section 4.1.1).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le

from agents.parts.draws import reseed
from paradigms.base import Job, Paradigm, Progress, Result, Snapshot
from paradigms.experience.nothing import Nothing
from paradigms.loop.build import Components
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
    with an agent built from the perturbed settings; its replay stays its own.

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
        Space(self.search, "paradigm.search")

    def run(self, job: Job) -> Generator[Progress, None, Result]:
        """Starts a process for each member, with an equal share of the budget of env steps. Yields
        a Progress at each of their reports, whose snapshots are the best member's of the last
        selection. Raises Failed with the first member that fails, Deadlock inline, ValueError if
        the run was to be resumed or the agent has no such setting."""
        if job.resume is not None:
            raise ValueError(
                "a checkpoint of paradigm=pbt holds the best member's weights alone, so the run"
                " cannot go on: begin a new one"
            )
        space = Space(self.search, "paradigm.search")
        try:
            job.make_agent(
                job.spec,
                seed=job.seed,
                device="cpu",
                **space.values(space.draw(torch.Generator())),
            )
        except TypeError as error:
            raise ValueError(
                f"paradigm.search={[*self.search]} must name settings of the agent: {error}"
            ) from error
        kept = {"make_replay": Nothing, "updates_per_env_step": 0.0, "warmup": 0}
        run = Driver(replace(job, **kept), workers=self.members)  # type: ignore[arg-type]
        population = Population(run.vector, self.members, len(self.search))
        share = -(-job.budget.env_steps // self.members)
        member = replace(
            job,
            workers=self.of.workers or job.workers,
            crew="inline",
            order=None,
            journal=None,
            budget=replace(job.budget, env_steps=share),
        )
        crew = Crew(job.crew, job.order, journal=job.journal)
        for rank in range(self.members):
            args = (run.components, member, rank, population, self.of, space)
            rules = (self.ready, self.resample, self.exploit)
            crew.add(f"worker-{rank}", PBTMember, *args, *rules, rank=rank)
        following = run.follow(crew, population, moved=(population,))
        try:
            while True:
                progress = next(following)
                yield replace(progress, notes=(*progress.notes, *lineage(progress.metrics)))
        except StopIteration as end:
            result: Result = end.value
            return result
        finally:
            following.close()


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
    """A member: its own run of the wrapped paradigm, which a copy replaces by one that goes on."""

    def __init__(
        self,
        components: Components,
        job: Job,
        rank: int,
        population: Population,
        of: Paradigm,
        space: Space,
        ready: int,
        resample: float,
        exploit: bool,
    ) -> None:
        self.ledger, self.rank, self.population = components.ledger, rank, population
        seed = job.seed if rank == 0 else job.seed + 7_368_787 * rank
        self.seed, self.job = job.seed, replace(job, seed=seed)
        self.of, self.space, self.ready = of, space, ready
        self.resample, self.exploit = resample, exploit
        self.score = -math.inf
        self.noted: tuple[float, ...] = (0, 0, 0, 0, 0)
        self.returns = self.stretch = (0.0, 0)  # their sum and number: now, and at the last copy

    def run(self, link: Link) -> None:
        draws = reseed(torch.Generator(), self.seed, "search", self.rank)
        self.point, number = self.space.draw(draws), 0
        going, newest = self.begin(None), None
        try:
            while link.go():
                progress = next(going)
                self.note(progress)
                newest, due = progress, (number + 1) * self.ready
                if progress.env_steps < due or due >= self.job.budget.env_steps:
                    continue
                self.publish(number, newest.snapshot("all"))
                if not link.wait("population", lambda: self.population.complete(number)):  # noqa: B023
                    break
                donor = None
                if self.exploit:
                    donor = self.population.donor(self.rank, number, seed=self.seed)
                parent = {
                    f"member-{self.rank}/parent": float(self.rank if donor is None else donor)
                }
                told = {**parent, **self.told()}
                if donor is not None:
                    going = self.copy(donor, number, going, progress)
                link.report({**told, **self.settings()})
                number += 1
        except StopIteration as end:
            self.publish(number, end.value.final)
            link.report(self.told())
            return
        finally:
            going.close()
            self.count({} if newest is None else newest.totals())
        if newest is not None:  # the run was stopped
            self.publish(number, newest.snapshot("all"))

    def copy(
        self, donor: int, number: int, going: Generator[Progress, None, Result], progress: Progress
    ) -> Generator[Progress, None, Result]:
        """The run that goes on from the donor's weights, with its settings perturbed, and with the
        member's own transitions and counters."""
        state = progress.save()
        going.close()
        state["floats"], state["counts"], point = self.population.copy(self.rank, donor, number)
        draws = reseed(torch.Generator(), self.seed, "explore", self.rank, number)
        self.point = self.space.perturb(point, draws, resample=self.resample)
        return self.begin(state)

    def begin(self, state: dict[str, Any] | None) -> Generator[Progress, None, Result]:
        """The member's run, from its beginning or going on from a state, with the settings that it
        has now."""
        values = self.space.values(self.point)
        make_agent = functools.partial(self.job.make_agent, **values)
        return self.of.run(replace(self.job, make_agent=make_agent, resume=state))

    def note(self, progress: Progress) -> None:
        """Brings the population's ledger up to the member's."""
        returns, episodes = progress.means["episode/return"]
        lengths, _ = progress.means["episode/length"]
        now = (progress.env_steps, progress.updates, episodes, returns, lengths)
        steps, updates, ended, gained, length = (
            a - b for a, b in zip(now, self.noted, strict=True)
        )
        self.noted, self.returns = now, (returns, episodes)
        told = [(gained, int(length)), *[(0.0, 0)] * int(ended)][: int(ended)]  # only sums count
        transitions = int(steps) // self.job.spec.action_repeat
        self.ledger.collected(self.rank, transitions, told)
        self.ledger.stored(self.rank, transitions, self.ledger.total("updates"))
        self.ledger.learned(self.rank, int(updates), int(updates))
        for words, trace in progress.notes:
            if words.startswith(ENV_OF_WORKER):
                self.ledger.failed(self.rank, 0, trace)

    def count(self, totals: Mapping[str, Any]) -> None:
        """Adds what the member's own ledger has counted beside progress."""
        self.ledger.skipped(self.rank, totals.get("skipped", 0))
        self.ledger.failed(self.rank, totals.get("env_errors", 0), "")

    def publish(self, number: int, newest: Snapshot) -> None:
        """What the others need; the score is -inf if no episode has ended since the last time."""
        (returns, episodes), (before, first) = self.returns, self.stretch
        self.stretch = self.returns
        self.score = (returns - before) / (episodes - first) if episodes > first else -math.inf
        self.population.publish(self.rank, number, newest, self.point, self.score)

    def told(self) -> dict[str, float]:
        """The member's score, by TensorBoard name."""
        return {f"member-{self.rank}/return": self.score} if math.isfinite(self.score) else {}

    def settings(self) -> dict[str, float]:
        """The settings that the member goes on with, by TensorBoard name."""
        at, out = f"member-{self.rank}", dict[str, float]()
        for (name, said), value in zip(self.space.search.items(), self.point, strict=True):
            out[f"{at}/{name}{'_choice' if 'choices' in said else ''}"] = float(value)
        return out
