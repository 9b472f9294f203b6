"""An agent in a folder of the user's own is trained, evaluated and resumed, and needs trust."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MINE = "from agents.sac import SAC\n\nclass Mine(SAC):\n    pass\n"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_agent_of_ones_own_is_trained_evaluated_and_resumed(tmp_path: Path) -> None:
    """By the commands that the run prints, from the folder that it was started in."""
    (tmp_path / "mine" / "agent").mkdir(parents=True)
    (tmp_path / "mine" / "my_agent.py").write_text(MINE)
    yaml_of_sac = (ROOT / "conf/agent/sac.yaml").read_text()
    mine = yaml_of_sac.replace("agents.sac.SAC", "my_agent.Mine")
    (tmp_path / "mine" / "agent" / "mine.yaml").write_text(mine)

    def command(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(ROOT / script), *arguments]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)

    small = ["env=identity", "agent=mine", "agent.hidden_sizes=[8,8]", "warmup=32"]
    small += ["budget.env_steps=96", "evaluation.confirm_episodes=5", "logger=[]"]
    small += ["paradigm=dcollect", "workers=1", "hydra.run.dir=run"]
    done = command("train.py", "--config-dir=mine", *small)
    assert done.returncode == 0, done.stderr
    printed = dict(line.split(":", 1) for line in done.stdout.splitlines() if "python " in line)
    play, further = (printed[name].split()[2:] for name in ("  evaluate", "  go on"))
    assert "trust=mine/my_agent" in play and "trust=mine/my_agent" in further

    play = [word for word in play if word != "video=true"]
    assert command("evaluate.py", *play).returncode == 0
    untrusted = command("evaluate.py", "run=run")
    assert untrusted.returncode == 2 and "add trust=my_agent" in untrusted.stderr
    gone_on = command("train.py", *further)
    assert gone_on.returncode == 0, gone_on.stderr
    untrusted = command("train.py", *(word for word in further if "trust" not in word))
    assert untrusted.returncode == 2 and "add trust=my_agent" in untrusted.stderr
