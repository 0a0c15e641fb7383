"""Starting and stopping the whole cloud."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

from cloud.configs import Place, write_all
from cloud.install import environment, run
from shared import Facts
from support import free_port, until_sync

DATABASES = ("keystone", "neutron", "placement", "nova_api", "nova_cell0", "nova_cell1")
PATIENCE = 120.0
SERVE = Path(__file__).with_name("serve.py")
AGENT = """insert into agents(id,agent_type,`binary`,topic,host,admin_state_up,created_at,started_at,heartbeat_timestamp,
configurations,`load`) values(uuid(),'Open vSwitch agent','neutron-openvswitch-agent','N/A','undercloud',1,utc_timestamp(),
utc_timestamp(),utc_timestamp(),'{"bridge_mappings":{"ctlplane":"br-ctlplane"},"tunnel_types":["vxlan"],
"tunneling_ip":"127.0.0.1","datapath_type":"system"}',0)"""
"""One row that says that an agent lives on the host, so that Neutron binds ports."""


def missing() -> str:
    """Why the cloud cannot run here; empty when it can."""
    if os.geteuid() != 0:
        return "needs root for a private MariaDB"
    tools = [name for name in ("mariadbd", "mariadb-install-db", "mariadb") if shutil.which(name) is None]
    return f"needs the package mariadb-server ({', '.join(tools)} not found)" if tools else ""


def start(folder: Path) -> Facts:
    """Start everything in `folder`; returns the OS_* variables of three users and the pids."""
    place = Place(
        environment=environment(), folder=folder, socket=folder / "mysql.sock", keystone=free_port(),
        neutron=free_port(), placement=free_port(), nova=free_port(),
    )  # fmt: skip
    for name in ("fernet", "credential", "state", "lock"):
        (folder / name).mkdir()
    pids = [_mariadb(folder, place.socket)]
    try:
        write_all(place)
        _databases(place)
        _sql(place, "neutron", AGENT)
        pids.append(_serve(place, "keystone", place.keystone, threads=4))
        pids.append(_serve(place, "neutron", place.neutron, processes=2, threads=4))
        answers_at(place.url(place.keystone) + "/v3")
        _catalogue(place)
        pids.append(_serve(place, "placement", place.placement, threads=2))
        answers_at(place.url(place.neutron))
        answers_at(place.url(place.placement))
        pids.append(_serve(place, "nova", place.nova, threads=4))
        answers_at(place.url(place.nova))
        _discover(place)
    except BaseException:
        kill(pids)
        raise
    users = {name: rc(place, name, name) for name in ("admin", "demo", "other")}
    return {
        "pids": pids,
        "folder": str(folder),
        "rc": users,
        "neutron_pid": pids[2],
        "nova_pid": pids[4],
        "neutron_port": place.neutron,
    }


def stop(facts: Facts) -> None:
    """Stop all of it."""
    kill(facts["pids"])


def rc(place: Place, user: str, project: str) -> dict[str, str]:
    """The variables of an rc file."""
    return {
        "OS_AUTH_URL": place.url(place.keystone), "OS_USERNAME": user, "OS_PASSWORD": "secret",
        "OS_PROJECT_NAME": project, "OS_PROJECT_DOMAIN_NAME": "Default", "OS_USER_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3", "OS_REGION_NAME": "regionOne",
    }  # fmt: skip


def _mariadb(folder: Path, socket: Path) -> int:
    data = folder / "mysql"
    run(
        "mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}",
        "--auth-root-authentication-method=normal", "--skip-test-db",
    )  # fmt: skip
    command = (
        "mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={socket}", f"--pid-file={folder}/mysql.pid",
        "--skip-networking", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=256M", "--max-connections=300",
        f"--log-error={folder}/mysql.err",
    )  # fmt: skip
    pid = spawn(command, folder, folder / "mysql.out", dict(os.environ))
    until_sync(lambda: _sql_answers(socket), within=PATIENCE, what="MariaDB answers", every=0.1)
    return pid


def _sql_answers(socket: Path) -> bool:
    command = ["mariadb", "--no-defaults", "-S", str(socket), "-u", "root", "-e", "select 1"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _sql(place: Place, database: str, text: str) -> None:
    run(
        "mariadb",
        "--no-defaults",
        "-S",
        str(place.socket),
        "-u",
        "root",
        *([database] if database else []),
        "-e",
        text,
    )


def _databases(place: Place) -> None:
    """Make the schemas, those of different services side by side."""
    _sql(place, "", "".join(f"create database {name} character set utf8mb3;" for name in DATABASES))
    keystone = place.url(place.keystone) + "/v3"
    steps = {
        "keystone-manage": [
            ["db_sync"],
            ["fernet_setup", "--keystone-user", "root", "--keystone-group", "root"],
            ["credential_setup", "--keystone-user", "root", "--keystone-group", "root"],
            [
                "bootstrap", "--bootstrap-username", "admin", "--bootstrap-password", "secret", "--bootstrap-project-name",
                "admin", "--bootstrap-role-name", "admin", "--bootstrap-service-name", "keystone", "--bootstrap-region-id",
                "regionOne", *(part for kind in ("public", "internal", "admin") for part in (f"--bootstrap-{kind}-url", keystone)),
            ],
        ],
        "neutron-db-manage": [["upgrade", "heads"]],
        "nova-manage": [
            ["api_db", "sync"],
            ["cell_v2", "map_cell0", "--database_connection", place.database("nova_cell0")],
            ["db", "sync"],
            ["cell_v2", "create_cell", "--name", "cell1"],
        ],
    }  # fmt: skip

    def all_of(tool: str) -> None:
        for step in steps[tool]:
            _tool(place, tool, *step)

    with ThreadPoolExecutor() as pool:
        list(pool.map(all_of, steps))


def _tool(place: Place, tool: str, *arguments: str) -> str:
    service = tool.partition("-")[0]
    command = (str(place.environment / "bin" / tool), "--config-file", f"{service}.conf", *arguments)
    return run(*command, cwd=place.folder, env=quiet())


def quiet() -> dict[str, str]:
    """The environment of the servers. They keep what they compile, for it is not compiled at their installation."""
    return os.environ | {
        "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "", "OS_NOVA_DISABLE_EVENTLET_PATCHING": "1",
    }  # fmt: skip


def _serve(place: Place, service: str, port: int, *, threads: int, processes: int = 1) -> int:
    numbers = map(str, (port, processes, threads))
    command = (str(place.environment / "bin/python"), str(SERVE), service, *numbers)
    return spawn(command, place.folder, place.folder / f"{service}.out", quiet())


def spawn(command: tuple[str, ...], folder: Path, out: Path, env: dict[str, str]) -> int:
    """Start in a session of its own: it outlives the worker that started it."""
    with out.open("ab") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    process.returncode = 0  # nobody waits for it here
    return process.pid


def answers_at(url: str) -> None:
    def answers() -> bool:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except HTTPError as error:
            error.close()
            return error.code < 500
        except OSError:
            return False
        return True

    until_sync(answers, within=PATIENCE, what=f"{url} answers", every=0.1)


CATALOGUE = """
import sys, openstack
identity = openstack.connect(load_yaml_config=False).identity
for (name, kind), url in zip((("neutron", "network"), ("nova", "compute"), ("placement", "placement")), sys.argv[1:]):
    service = identity.create_service(name=name, type=kind)
    for interface in ("public", "internal", "admin"):
        identity.create_endpoint(service_id=service.id, interface=interface, url=url, region_id="regionOne")
service = identity.create_project(name="service", domain_id="default")
roles = {name: identity.find_role(name).id for name in ("admin", "service", "member")}
def user(name, project, *given):
    made = identity.create_user(name=name, password="secret", domain_id="default", default_project_id=project.id)
    for role in given:
        identity.assign_project_role_to_user(project.id, made.id, roles[role])
for name in ("nova", "neutron", "placement"):
    user(name, service, "admin", "service")
for name in ("demo", "other"):
    user(name, identity.create_project(name=name, domain_id="default"), "member")
"""


def _catalogue(place: Place) -> None:
    urls = (place.url(place.neutron), place.url(place.nova) + "/v2.1", place.url(place.placement))
    python = str(place.environment / "bin/python")
    run(python, "-c", CATALOGUE, *urls, env=quiet() | rc(place, "admin", "admin"))


def _discover(place: Place) -> None:
    until_sync(
        lambda: "Found 1" in _tool(place, "nova-manage", "cell_v2", "discover_hosts", "--verbose"),
        within=PATIENCE, what="Nova knows its compute host",
    )  # fmt: skip


def kill(pids: list[int]) -> None:
    for pid in reversed(pids):
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
