"""Runs a script in two processes that train together."""

import os
import subprocess
import sys
from pathlib import Path


def run_in_two_processes(script: Path, *words: object) -> None:
    """As torchrun does; fails with what they printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join([str(script.parent), *sys.path])
    done = subprocess.run(
        [*command, str(script), *map(str, words)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
