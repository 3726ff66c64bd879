"""What the plugin imports of treason."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_public_names_only() -> None:
    """The plugin keeps to the public names, as its pyproject.toml says."""
    lint = Path(sys.executable).with_name("lint-imports")
    subprocess.run([lint, "--no-cache"], cwd=ROOT, check=True)
