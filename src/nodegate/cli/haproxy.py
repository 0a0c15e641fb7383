"""`nodegate haproxy`."""

from __future__ import annotations

import os

from nodegate.cli.options import State
from nodegate.cli.up import ConfigFile


def haproxy(config: ConfigFile = None, state: State = None) -> None:
    """Become the gateway's HAProxy, in the foreground, for a service manager.

    Starts from the configuration that the state directory holds, nodes included; without one, an empty
    gateway that the next `nodegate up` fills. With `gateway.start_haproxy = false`, nodegate leaves starting
    and stopping to this command. `nodegate render systemd` writes the units for both.
    """
    from nodegate.cli.start import settings_for
    from nodegate.daemon.state import default_state_dir
    from nodegate.dataplane.launcher import become_haproxy

    settings = settings_for(config, os.environ)
    become_haproxy(settings, state or default_state_dir(os.environ))
