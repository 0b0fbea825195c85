"""The KubeFed API in Python: kinds, membership, federation and the embedded controller."""
