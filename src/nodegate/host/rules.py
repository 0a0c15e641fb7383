"""The one table of rules for a host: the role of `nodegate provision` makes them true, `nodegate doctor` holds hosts
against them.

A rule says what is wanted and why; `Wanted` has the values as data, so that role and audit cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a broken rule is; the same words as for events and alerts."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The values that a hardened host has.

    Ports are TCP. `ssh_port` is where the role moves SSH to and the audit expects it; 22 never passes, for that
    port is what scanners knock at. The node's own API port is for the gateway alone; clients use `client_port`.
    `fd_limit` is 16384 because a full node holds a database, its peers and its clients: the usual 1024 is gone in
    an hour of stalled requests.
    """

    ssh_port: int = 19522
    ssh_permit_root_login: str = "no"
    ssh_password_authentication: str = "no"  # noqa: S105  # a word of sshd_config, no password
    ssh_kbd_interactive_authentication: str = "no"
    ssh_permit_empty_passwords: str = "no"
    ssh_pubkey_authentication: str = "yes"
    ssh_x11_forwarding: str = "no"
    ssh_max_auth_tries: int = 4  # at most
    ssh_login_grace_time: int = 60  # seconds, at most; 0 means for ever and is refused
    firewall_policy: str = "drop"  # of the input hook; a final reject counts as well
    client_port: int = 14267  # open to everybody
    node_port: int = 14265  # closed to strangers
    admin_port: int = 9780  # closed to strangers
    vrrp_protocol: int = 112  # IP protocol between gateways that share an address
    fd_limit: int = 16384  # of the running process, at least
    fd_use: float = 0.8  # share of the limit, at most
    sandbox_exposure: float = 5.0  # `systemd-analyze security`, 0 (shut in) to 10, at most
    restart: tuple[str, ...] = ("always", "on-failure")
    close_wait: int = 50  # connections that the peer closed and the node did not, at most
    owed: int = 50  # requests that lie unread in the node's sockets, at most
    disk_free: float = 0.1  # share of each file system, of bytes and of inodes, at least
    memory_free: float = 0.1  # MemAvailable as a share of all, at least
    certificate_days: int = 21  # left before a certificate ends, at least; ACME renews with 30 to go
    haproxy_version: str = "2.8"  # at least
    journal_max_use: str = "500M"  # SystemMaxUse of journald
    secret_mode: int = 0o077  # bits that no file with a secret has
    socket_mode: int = 0o002  # bits that no control socket has: others may not write


WANTED = Wanted()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `why` and `mend` are for the operator; `source` says where the rule or its number comes from;
    `wanted` names the fields of Wanted that it is held against."""

    id: str
    severity: Severity
    title: str
    why: str
    mend: str
    source: str
    wanted: tuple[str, ...] = ()


def role_variables(wanted: Wanted = WANTED) -> Mapping[str, object]:
    """The values as variables for Ansible (`-e @file.json`): `wanted_ssh_port` and so on, plain JSON types."""
    return {
        f"wanted_{name}": list(value) if isinstance(value, tuple) else value
        for name, value in asdict(wanted).items()
    }


_C, _W, _I = Severity.CRITICAL, Severity.WARNING, Severity.INFO
_GUIDE = "security guides for IRI nodes: firewall on, SSH on another port with keys only, no root, no needless commands"
_SSHD = "sshd_config(5)"
_MEASURED = "measured on Debian hosts"

_ROWS: tuple[tuple[str, Severity, str, str, str, str, tuple[str, ...]], ...] = (
    ("ssh-root-login", _C, "root cannot log in over SSH",
     "Root's name is known to everybody; one key or password is then the whole machine.",
     "Set `PermitRootLogin no` in /etc/ssh/sshd_config.d/, check with `sshd -t`, reload ssh; log in as a user with sudo.",
     f"{_SSHD}; {_GUIDE}", ("ssh_permit_root_login",)),
    ("ssh-passwords", _C, "SSH takes keys only",
     "Passwords are guessed day and night on every public address.",
     "Set `PasswordAuthentication no` and `KbdInteractiveAuthentication no`, after a login by key has worked.",
     f"{_SSHD}; {_GUIDE}",
     ("ssh_password_authentication", "ssh_kbd_interactive_authentication", "ssh_permit_empty_passwords")),
    ("ssh-keys", _C, "SSH by key works, and nobody else may write the keys",
     "Without keys that work, closing passwords locks you out; a key file that others may write lets them in.",
     "Set `PubkeyAuthentication yes`; `chmod go-w` each authorized_keys and the directories above it.",
     _SSHD, ("ssh_pubkey_authentication",)),
    ("ssh-port", _W, "SSH is not on port 22",
     "Scanners knock at 22; another port keeps the logs readable and the guesses away.",
     "Set `Port` in /etc/ssh/sshd_config.d/, open it in the firewall first, reload ssh, try it, then close 22.",
     _GUIDE, ("ssh_port",)),
    ("ssh-daemon", _W, "the running SSH daemon has the configuration that is on disk",
     "`sshd -T` reads files: a daemon that was not reloaded still takes root and passwords.",
     "Run `systemctl reload ssh` (with socket activation: `systemctl daemon-reload` and restart ssh.socket).",
     _MEASURED, ()),
    ("ssh-tries", _W, "SSH ends slow and repeated logins",
     "Many tries and a long grace time help those who guess, and hold connections open.",
     "Set `MaxAuthTries 4` and `LoginGraceTime 60`, or less.",
     _SSHD, ("ssh_max_auth_tries", "ssh_login_grace_time")),
    ("ssh-x11", _I, "SSH does not forward X11",
     "A server has no use for it. (TCP forwarding stays: tunnels reach the admin API.)",
     "Set `X11Forwarding no`.", _SSHD, ("ssh_x11_forwarding",)),
    ("firewall-default-drop", _C, "the firewall drops what no rule allows",
     "Every service that somebody installs later would be open to the world.",
     "Load a rule set whose input hook has `policy drop` (nftables), `ufw default deny incoming`, or a firewalld zone that is not `trusted`.",
     _GUIDE, ("firewall_policy",)),
    ("firewall-persistent", _C, "the firewall comes back after a reboot",
     "Rules that were loaded by hand are gone when the machine starts again.",
     "Write the rules to /etc/nftables.conf and `systemctl enable nftables` (or enable ufw, firewalld).",
     "nft(8)", ()),
    ("firewall-admin-closed", _C, "strangers cannot reach the admin API",
     "Whoever reaches it may try tokens, and sees the whole fleet when one leaks.",
     "Keep `gateway.admin` on 127.0.0.1, or allow its port from your own addresses only.",
     _GUIDE, ("admin_port",)),
    ("firewall-node-closed", _C, "strangers cannot reach the node's own API port",
     "Past the gateway there are no limits: one client stalls the node.",
     "Let the node listen on 127.0.0.1, or allow its port from the gateways only. Ports that Docker publishes pass by the input rules: publish on 127.0.0.1.",
     _GUIDE, ("node_port",)),
    ("firewall-clients-open", _W, "clients can reach the gateway",
     "A gateway behind a closed port serves nobody.",
     "Allow the gateway's port in the input rules.", _MEASURED, ("client_port",)),
    ("firewall-ssh-open", _C, "the firewall lets the SSH daemon be reached",
     "With a dropping policy and no rule for SSH, the next connection is the last one.",
     "Allow the port that the daemon listens on before anything else.", _MEASURED, ("ssh_port",)),
    ("api-exposed", _C, "no command answers a stranger that should be closed",
     "Whoever may change neighbours, or have work done for nothing, steers the node.",
     "Name them in REMOTE_LIMIT_API, or put the node behind the gateway's policy.",
     _GUIDE, ()),
    ("node-user", _C, "the node runs as an unprivileged user",
     "A flaw in the node is then not the whole machine.",
     "Give its unit `User=` of its own, and let that user own only its data.", _GUIDE, ()),
    ("node-privileges", _W, "the node can gain no privileges",
     "Capabilities and setuid programs are the next step after a break-in.",
     "Set `NoNewPrivileges=yes` and an empty `CapabilityBoundingSet=` in its unit.",
     "systemd.exec(5)", ()),
    ("node-sandbox", _W, "the node's unit is shut in",
     "`systemd-analyze security` weighs some 80 ways out of a service; most units leave nearly all open.",
     "Add ProtectSystem=strict, ProtectHome, PrivateTmp, PrivateDevices, RestrictAddressFamilies, SystemCallFilter=@system-service and so on; `systemd-analyze security UNIT` lists what counts.",
     "systemd-analyze(1), 5.0 is the upper end of its MEDIUM", ("sandbox_exposure",)),
    ("node-restart", _W, "the node is started again when it ends",
     "A node that ran out of memory at night is down until somebody looks.",
     "Set `Restart=always` and `RestartSec=` in its unit.", "systemd.service(5)", ("restart",)),
    ("node-fd-limit", _C, "the node may open enough descriptors",
     "A node without free descriptors accepts no more connections and may break its database.",
     "Set `LimitNOFILE=` in its unit and restart it; the running process counts, not the unit's text.",
     _MEASURED, ("fd_limit",)),
    ("node-fd-use", _W, "the node has descriptors left",
     "At the limit it stops accepting, usually because unanswered connections pile up.",
     "Find what holds them (`nodegate sockets`), raise `LimitNOFILE=`, restart the node.",
     _MEASURED, ("fd_use",)),
    ("node-close-wait", _W, "no closed connections pile up in the node",
     "CLOSE_WAIT means that the client went and the node did not notice: a worker is stuck.",
     "Capture what never gets an answer, set the matching policy limit, restart the node.",
     _MEASURED, ("close_wait",)),
    ("node-owed", _W, "no unread requests pile up in the node",
     "Requests that lie in the node's sockets mean that all its workers are busy or stuck.",
     "Limit what one node gets at once (`maxconn` of the pool), find the slow command with a capture.",
     _MEASURED, ("owed",)),
    ("tls-certificate", _C, "certificates are valid",
     "Clients refuse an expired certificate; the service is down for them.",
     "Renew it (`certbot renew`, or your authority); nodegate takes a changed file over without a reload.",
     "RFC 5280", ()),
    ("tls-renewal", _W, "certificates are renewed in time",
     "A certificate that should have been renewed by now will not be renewed by itself.",
     "Look at the renewal's timer and log (`systemctl list-timers`, `certbot renew --dry-run`).",
     "ACME clients renew with 30 days to go", ("certificate_days",)),
    ("time-service", _W, "something keeps the clock right",
     "Certificates, tokens, rates and the age of blocks are all judged by the clock.",
     "Install and enable systemd-timesyncd or chrony.", "timedatectl(1)", ()),
    ("time-synchronized", _W, "the clock is synchronised",
     "A time service that reaches no server keeps nothing right.",
     "Let UDP 123 out, name reachable servers, look at `timedatectl timesync-status`.",
     "adjtimex(2)", ()),
    ("upgrades", _W, "security upgrades are installed by themselves",
     "Most break-ins use what was mended long ago.",
     "Install unattended-upgrades and set `APT::Periodic::Unattended-Upgrade \"1\";` (dnf: enable dnf-automatic.timer).",
     "Debian's unattended-upgrades", ()),
    ("reboot-pending", _I, "no upgrade waits for a reboot",
     "The old kernel or library is still the one that runs.",
     "Drain the node, reboot, put it back.", "Debian's unattended-upgrades", ()),
    ("disk-space", _C, "file systems have room",
     "A node that cannot write loses its database, and logs stop.",
     "Free or add space; bound logs (journald `SystemMaxUse=`, logrotate).",
     _MEASURED, ("disk_free",)),
    ("memory", _W, "memory is left",
     "Without headroom the kernel ends the biggest process: the node.",
     "Bound the node's heap, add memory, or move services away.", "proc(5)", ("memory_free",)),
    ("journal-limit", _I, "the journal has an upper size",
     "A chatty node fills the disk that its database needs.",
     "Set `SystemMaxUse=500M` in /etc/systemd/journald.conf.d/.", "journald.conf(5)", ("journal_max_use",)),
    ("vrrp-restart", _C, "keepalived is started again when it ends",
     "A killed keepalived leaves the shared address behind, and another host takes it as well: two answer.",
     "Install the drop-in that `nodegate render keepalived` writes (`Restart=always`).",
     _MEASURED, ()),
    ("vrrp-firewall", _C, "the firewall lets the gateways hear each other",
     "Gateways that cannot hear each other all take the shared address.",
     "Allow IP protocol 112 between them (nftables: `meta l4proto 112 accept`).",
     _MEASURED, ("vrrp_protocol",)),
    ("vrrp-address", _C, "the shared address is held by exactly one host",
     "Held by none nobody is served; held by two, clients reach either by chance.",
     "Look at protocol 112 in both firewalls and at keepalived's log; restart keepalived on the host that should not have it.",
     _MEASURED, ()),
    ("haproxy-version", _W, "HAProxy is new enough",
     "nodegate drives what 2.8 brought; older ones get no more fixes.",
     "Use the HAProxy that comes with nodegate, or upgrade.", "HAProxy's release table", ("haproxy_version",)),
    ("nodegate-version", _W, "nodegate has the same version as here",
     "Gateways of a cluster should run one version for longer than an upgrade takes.",
     "Upgrade the older one; HAProxy keeps serving meanwhile.", "docs/operating.md", ()),
    ("socket-modes", _C, "control sockets are closed to other users",
     "Whoever may write to HAProxy's runtime socket takes every node out.",
     "`chmod 0600` the socket and 0700 its directory; in a haproxy.cfg of your own: `mode 660`.",
     "HAProxy's management guide", ("socket_mode",)),
    ("secret-modes", _C, "secrets are readable by their owner only",
     "Tokens, keys and passwords that every user may read are no secrets.",
     "`chmod 0600` the named files, and give them to the user that reads them.",
     _GUIDE, ("secret_mode",)),
)  # fmt: skip

RULES: tuple[Rule, ...] = tuple(
    Rule(id=id_, severity=severity, title=title, why=why, mend=mend, source=source, wanted=wanted)
    for id_, severity, title, why, mend, source, wanted in _ROWS
)
BY_ID: Mapping[str, Rule] = {rule.id: rule for rule in RULES}
