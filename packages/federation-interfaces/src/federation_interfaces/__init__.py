"""Relation data models of the federation, one pydantic model a side."""
