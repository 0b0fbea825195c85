"""Gives a charm a hook when its status has become untrue; for services of charms.

A charm can set its status in a hook only, and Juju runs the next one after minutes. A program that
looks at what the status is about, and has `follow` ask Juju for a hook, mends that. It runs for
ever, so nothing here imports more than it must.
"""
