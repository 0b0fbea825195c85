"""Whole regions of the lab: who is alive, kill, revive, and taking everything down."""

from __future__ import annotations
