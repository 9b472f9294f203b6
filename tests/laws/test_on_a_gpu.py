"""Law 12 with the learner's tensors on a CUDA device."""

from __future__ import annotations

import pytest
import torch

from paradigms.allreduce import AllReduce
from paradigms.dcollect import DCollect
from paradigms.dupdate import DUpdate
from paradigms.gorila import Gorila
from paradigms.hogwild import Hogwild
from paradigms.sequential import Sequential
from tests import jobs

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize(
    "paradigm", [Sequential(), DCollect(), DUpdate(), Hogwild(), AllReduce(), Gorila(shards=2)]
)
def test_a_paradigm_learns_on_a_gpu(paradigm: object) -> None:
    start = jobs.laid(jobs.sac(jobs.job().spec, 0)).vector.floats
    ended = jobs.run(paradigm, jobs.job(device="cuda", workers=2, crew="process"))
    assert ended.totals["updates"] > 0
    assert torch.isfinite(ended.floats).all()
    assert not torch.equal(ended.floats.cpu(), start)


def test_processes_bound_to_one_cuda_vector_all_move_it() -> None:
    ended = jobs.run(Hogwild(), jobs.job(device="cuda", workers=2, max_ahead=64, crew="process"))
    assert int(ended.result.final.counts[0]) == ended.totals["updates"]
