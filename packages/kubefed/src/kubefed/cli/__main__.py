"""`python -m kubefed.cli`, where the environment's scripts aren't on the path."""

from kubefed.cli.app import main

main()
