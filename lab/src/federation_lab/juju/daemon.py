"""``python -m federation_lab.juju.daemon LAB_HOME``: the controller's process."""

import sys
from pathlib import Path

from federation_lab.juju import server
from federation_lab.juju.labmachines import LabProvider


def main() -> int:
    """Runs the controller of the lab whose home is the first argument."""
    home = Path(sys.argv[1])
    return server.main(home, LabProvider(home))


if __name__ == "__main__":
    sys.exit(main())
