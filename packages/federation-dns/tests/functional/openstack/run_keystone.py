# pyright: basic, reportMissingImports=false
"""Keystone in one process; runs in the environment of install.py: CONFIG_DIR ADDRESS PORT."""

import os
import sys

from serving import serve

if __name__ == "__main__":
    folder, address, port = sys.argv[1:]
    sys.argv = sys.argv[:1]  # Keystone reads them when it is imported
    os.environ["OS_KEYSTONE_CONFIG_DIR"] = folder
    from keystone.wsgi.api import application

    serve(application, address, int(port))
