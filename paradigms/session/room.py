"""Whether this machine has room for a run: bytes, processes and open files, counted from its
settings before anything starts. What is counted is the least that a run takes, so that no run is
refused that would have fitted.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.base import Agent
from paradigms.base import Job, Paradigm
from paradigms.experience.layout import layout_of
from paradigms.loop.build import make_agent

PROCESS = 40 * 2**20  # bytes of a process of its own; 60 to 90 MiB were measured
ENV = 2**10  # bytes of an env slot
EPISODE = 2**5  # bytes of a played episode: its seed, return and length
FILES, FILES_OF_A_PROCESS = 32, 3  # a pipe with two ends and a sentinel
SHARED = 2**16  # bytes of /dev/shm for the locks of processes
UNKNOWN = 2**62


@dataclass(frozen=True)
class Room:
    """What a machine has left: bytes of memory, processes, open files of this process, and bytes of
    /dev/shm."""

    memory: int = UNKNOWN
    processes: int = UNKNOWN
    files: int = UNKNOWN
    shared: int = UNKNOWN


@dataclass(frozen=True)
class Need:
    """Bytes that a part of a run takes, and what to say of it: the settings that it comes from."""

    part: str
    bytes: int
    change: str


def check(job: Job, paradigm: Paradigm, room: Room | None = None) -> None:
    """Raises ValueError, in a sentence that names the setting to change, where a run takes more
    than there is. room: of this machine, if not given."""
    room = here() if room is None else room
    agent = make_agent(job)
    wanted = children(job, paradigm)
    if wanted > room.processes:
        raise ValueError(
            f"{_who(job, paradigm)} makes {wanted:,} processes, and this user may start"
            f" {room.processes:,} more: choose fewer workers"
        )
    files = FILES + FILES_OF_A_PROCESS * wanted
    if files > room.files:
        raise ValueError(
            f"{_who(job, paradigm)} needs at least {files:,} open files, and {room.files:,} are"
            " left: choose fewer workers, or raise the limit by ulimit -n"
        )
    if wanted and room.shared < SHARED:
        raise ValueError(
            f"/dev/shm has {room.shared:,} bytes left, and the locks of processes need"
            f" {SHARED:,}: make it larger, or set crew=inline"
        )
    needs = sorted(parts(job, paradigm, agent), key=lambda need: -need.bytes)
    total = sum(need.bytes for need in needs)
    if total > room.memory:
        most = needs[0]
        raise ValueError(
            f"the run takes at least {_size(total)}, and {_size(room.memory)} are free; most of it"
            f" are {most.part}, {_size(most.bytes)}: {most.change}"
        )


def children(job: Job, paradigm: Paradigm) -> int:
    """The processes that a run starts, at the least."""
    apart = job.evaluation.where == "process" and (
        job.evaluation.every_seconds is not None or job.evaluation.confirm_episodes > 0
    )
    roles = getattr(paradigm, "members", job.workers) + getattr(paradigm, "shards", 0)
    if paradigm.name == "sequential" or job.crew == "inline":
        roles = 0
    return roles + int(apart)


def parts(job: Job, paradigm: Paradigm, agent: Agent) -> list[Need]:
    """What takes memory, at the least."""
    ignored: Collection[str] = getattr(paradigm, "ignores", ())
    spec = job.spec.with_extras(agent.extras)
    layout = layout_of(job.make_replay, spec, 1, 1)
    row = layout.stored
    slots, wanted = job.workers * job.num_envs, children(job, paradigm)
    weights = 4 * agent.vector.size("all")
    found = [
        Need("the processes", PROCESS * wanted, f"choose fewer than {_who(job, paradigm)}"),
        Need(
            "the weights in every process",
            weights + weights // 4 * wanted,
            "make agent.hidden_sizes smaller, or choose fewer workers",
        ),
        Need("the envs", ENV * slots, f"choose fewer than num_envs={job.num_envs}"),
        Need(
            "the envs of the evaluation",
            ENV * job.evaluation.episodes,
            f"choose fewer than evaluation.episodes={job.evaluation.episodes}",
        ),
    ]
    if pairs := getattr(paradigm, "pairs", 0):
        change = f"choose fewer than paradigm.pairs={pairs}"
        found.append(Need("the returns of a generation", 16 * pairs, change))
    if job.policy_lag:
        change = f"choose less than policy_lag={job.policy_lag}"
        found.append(Need("the weights that are kept", weights * job.policy_lag, change))
    if job.evaluation.confirm_episodes:
        episodes = job.evaluation.confirm_episodes
        change = f"choose fewer than evaluation.confirm_episodes={episodes}"
        found.append(Need("the confirmation episodes", EPISODE * episodes, change))
    if job.batch_size and "replay" not in ignored:
        size = job.batch_size * layout.sampled.itemsize
        found.append(Need("the batches", size, f"make replay.batch_size={job.batch_size} smaller"))
    if "rollout_length" not in ignored:
        found.append(
            Need(
                "the fragments of the workers",
                row * slots * job.rollout_length,
                f"make num_envs={job.num_envs} or rollout_length={job.rollout_length} smaller",
            )
        )
    if "replay" not in ignored and (rows := stored(job)):
        change = "make replay.capacity smaller"
        found.append(Need("the transitions of the replay", row * rows, change))
    return found


def _who(job: Job, paradigm: Paradigm) -> str:
    """The setting that most processes come from."""
    for name in ("shards", "members"):
        if (many := getattr(paradigm, name, 0)) > job.workers:
            return f"paradigm.{name}={many}"
    return f"workers={job.workers}"


def stored(job: Job) -> int:
    """The transitions that the replay holds when it is full, or the budget is spent."""
    options = getattr(job.make_replay, "keywords", {})
    capacity = options.get("capacity")
    if not isinstance(capacity, int):
        return 0
    if getattr(getattr(job.make_replay, "func", None), "once", False):
        return capacity * job.workers * job.num_envs * job.rollout_length
    return int(min(capacity, job.budget.env_steps // job.spec.action_repeat))


def here() -> Room:
    """What this machine has left, as far as it says."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    return Room(
        memory=min(_free_memory(), _group("memory.max") - _used_by_group()),
        processes=min(
            UNKNOWN if processes < 0 or os.geteuid() == 0 else processes - _processes(),
            _group("pids.max") - _group("pids.current", 0),
            _number(Path("/proc/sys/kernel/pid_max")),
        ),
        files=UNKNOWN if soft < 0 else soft - _open_files(),
        shared=_shared(),
    )


def _free_memory() -> int:
    """Available bytes, swap included."""
    try:
        rows = dict(row.split(":") for row in Path("/proc/meminfo").read_text().splitlines())
        return 1024 * sum(int(rows[name].split()[0]) for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError):
        return UNKNOWN


def _group(name: str, otherwise: int = UNKNOWN) -> int:
    """A number of this process's control group, where there are such groups (version 2)."""
    try:
        return _number(_own_group() / name, otherwise)
    except (OSError, StopIteration):
        return otherwise


def _own_group() -> Path:
    """The folder of this process's control group. Raises OSError or StopIteration without one."""
    rows = Path("/proc/self/cgroup").read_text().splitlines()
    return Path("/sys/fs/cgroup" + next(row[3:] for row in rows if row.startswith("0::")))


def _used_by_group() -> int:
    """Bytes of this process's control group, without what the system drops when it needs room."""
    try:
        text = (_own_group() / "memory.stat").read_text()
        cached = next(int(r.split()[1]) for r in text.splitlines() if r.startswith("inactive_file"))
    except (OSError, ValueError, IndexError, StopIteration):
        cached = 0
    return max(0, _group("memory.current", 0) - cached)


def _number(file: Path, otherwise: int = UNKNOWN) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # there is none, or it says max
        return otherwise


def _processes() -> int:
    """Of this user."""
    own = os.geteuid()
    found = 0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            found += place.stat().st_uid == own
        except OSError:  # it has ended
            continue
    return found


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def _shared() -> int:
    try:
        place = os.statvfs("/dev/shm")
    except OSError:  # a system without it
        return UNKNOWN
    return int(place.f_bavail) * int(place.f_frsize)


def _size(bytes: int) -> str:
    return f"{np.ceil(bytes / 2**20):,.0f} MiB" if bytes < 2**33 else f"{bytes / 2**30:,.0f} GiB"
