"""The lab's own commands, a module for each group."""
