"""The table of docs/cluster.md is what its script prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_table_is_that_of_the_script(repository: Path) -> None:
    script = repository / "benchmarks" / "cluster_model.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("| videos |")
    assert f"\n{done.stdout}\n" in (repository / "docs" / "cluster.md").read_text()
