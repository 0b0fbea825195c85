"""The whole federation on one machine."""
