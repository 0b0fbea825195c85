"""Makes the programs of tools/ importable."""

import sys
from pathlib import Path

# With importlib's import mode nothing else makes them importable.
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
