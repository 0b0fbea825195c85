"""The `kubefed` command: verbs and flags as users of kubefedctl know them."""

from kubefed.cli.app import app, main

__all__ = ["app", "main"]
