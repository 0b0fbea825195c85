"""A federation in a file: its objects and memberships, encrypted, and their way back.

`take` reads the host cluster as it is at one moment. `restore` puts it into a host cluster, an
empty one mostly, such that the members' objects are found as what they are, and none is written.
"""

from kubefed.backup.envelope import KEY_BYTES, header_of, key_id, key_text, read_key
from kubefed.backup.restore import Restored, Wish, restore
from kubefed.backup.take import Taken, take

__all__ = [
    "KEY_BYTES",
    "Restored",
    "Taken",
    "Wish",
    "header_of",
    "key_id",
    "key_text",
    "read_key",
    "restore",
    "take",
]
