"""Tests of the lab's Juju."""
