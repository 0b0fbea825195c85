"""What runs inside a machine: its boot, its service manager, systemctl and journalctl.

Only the standard library is imported here, and little of it: every machine pays for it in memory,
and every systemctl in time. `boot` runs on the host and makes the machine; `init` is its PID 1.
"""
