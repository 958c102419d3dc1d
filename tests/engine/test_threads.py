"""How many threads an engine computes with, in a process of its own: OpenMP is set up only once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
import torch
from whisper_service.engine.engine import load_engine
torch.set_num_threads(int(sys.argv[2]))
load_engine("demo", Path(sys.argv[1]), device="cpu").warm_up()
print(torch.get_num_threads())
"""


@pytest.mark.model
def test_warming_up_leaves_the_threads_as_they_were_set(demo_path: Path) -> None:
    """The first alignment starts numba's pool, which sets them to all cores of the machine."""
    n_threads = str((os.cpu_count() or 1) + 1)
    command = [sys.executable, "-c", SCRIPT, str(demo_path.parent), n_threads]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == [n_threads], done.stderr
