"""The lab's stand-in for Juju 3.6: controller, unit agents, hook tools and command line."""

JUJU_VERSION = "3.6.24"
"""The Juju whose words, shapes and order of hooks are kept here."""
