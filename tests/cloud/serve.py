"""Serves one OpenStack API. usage: serve.py SERVICE PORT PROCESSES THREADS, in the folder with its configuration.

Runs in the servers' own environment, not in nodegate's.
"""

import os
import signal
import socket
import sys

here = os.getcwd()
what, port, processes, threads = sys.argv[1], *map(int, sys.argv[2:])
sys.argv = sys.argv[:1]  # oslo.config reads what is left
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
if what == "keystone":
    os.environ.update(OS_KEYSTONE_CONFIG_DIR=here, OS_KEYSTONE_CONFIG_FILES="keystone.conf")
    from keystone.wsgi.api import application
elif what == "neutron":
    os.environ.update(OS_NEUTRON_CONFIG_DIR=here, OS_NEUTRON_CONFIG_FILES="neutron.conf")
    from neutron import policy
    from neutron.wsgi.api import application

    policy.init()  # else two first requests at once may find half of the rules, and be refused
elif what == "placement":
    os.environ["OS_PLACEMENT_CONFIG_DIR"] = here
    from placement.wsgi.api import application
else:  # Nova: oslo.messaging's fake transport lives within one process, so the API and its daemons share one
    os.environ.update(OS_NOVA_CONFIG_DIR=here, OS_NOVA_DISABLE_EVENTLET_PATCHING="1")
    # First of all that is Nova's: the application sets its threading up.
    from nova.wsgi.osapi_compute import application  # isort: skip
    from nova import service  # isort: skip

    for name in ("conductor", "scheduler", "compute"):
        service.Service.create(binary=f"nova-{name}", host="undercloud", topic=name).start()

import waitress  # noqa: E402 -- after the services have set their modules up

with socket.create_server(("127.0.0.1", port)) as listener:
    for _ in range(processes - 1):
        if os.fork() == 0:
            break
    waitress.serve(application, sockets=[listener], threads=threads, ident=None)
