# pyright: basic, reportMissingImports=false
"""All of one region's Designate in one process; runs in the environment of install.py.

Arguments: designate.conf, pools.yaml, api-paste.ini, ADDRESS, PORT. Central, worker, mDNS,
producer and API are Designate's own classes; what is missing is the message bus between them
(`fake://` delivers within a process) and the borders between their processes.
"""

import os
import sys
import traceback

import designate.cmd  # chooses how threads are made, so it comes first
import designate.conf
from designate import context, rpc, utils
from designate.central.service import Service as Central
from designate.manage.pool import PoolCommands
from designate.mdns.service import Service as Mdns
from designate.producer.service import Service as Producer
from designate.worker.service import Service as Worker
from oslo_log import log
from paste import deploy
from serving import serve


def main(config, pools, paste, address, port):
    """Start the services, load the pool, serve the API until killed."""
    utils.read_config("designate", ["designate", "--config-file", config])
    log.setup(designate.conf.CONF, "designate")
    services = [Central(), Worker(), Mdns(), Producer()]
    for service in services:
        service.start()
    # The command that loads pools would speak over a bus; here it stands beside central.
    rpc.init = lambda conf: None
    commands = PoolCommands()
    commands.context = context.DesignateContext.get_admin_context(request_id="pools")
    commands.update(pools, False)
    serve(deploy.loadapp(f"config:{paste}", name="osapi_dns"), address, int(port))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    finally:
        traceback.print_exc()
        os._exit(1)  # the services' threads would go on without an API
