#!/bin/sh
# Changes SSH and the firewall without ever shutting the operator out: `arm SECONDS` keeps what there is and sets a
# timer that puts it back, `apply` loads what was written, `disarm` ends the timer once a new login has worked.
set -eu
KEPT=/var/lib/nodehost/kept
DIGEST=/var/lib/nodehost/nft.sha256
FILES="/etc/nftables.conf /etc/ssh/sshd_config.d/00-nodehost.conf"
UNIT=nodehost-rollback

keep() {
    for file in $FILES; do
        if [ -e "$file" ]; then cp -p "$file" "$KEPT/$(basename "$file")"; fi
    done
    # Only this table is ever changed, so only it has to come back.
    printf 'table inet nodehost\ndelete table inet nodehost\n' > "$KEPT/ruleset"
    nft list table inet nodehost >> "$KEPT/ruleset" 2> /dev/null || true
    if [ -e /etc/nftables.conf ] && ! grep -q 'table inet nodehost' /etc/nftables.conf; then
        cp -p /etc/nftables.conf /etc/nftables.conf.before-nodehost
    fi
    systemctl is-enabled nftables > "$KEPT/enabled" 2> /dev/null || true
}

reload_ssh() {
    if systemctl is-active --quiet ssh.socket; then
        # Ubuntu: systemd itself listens, on ports that a generator takes from sshd's configuration.
        systemctl daemon-reload
        systemctl restart ssh.socket
    else
        systemctl reload-or-restart ssh.service
    fi
}

case "${1:-}" in
arm)
    systemctl stop $UNIT.timer $UNIT.service 2> /dev/null || true
    systemctl reset-failed $UNIT.timer $UNIT.service 2> /dev/null || true
    rm -rf "$KEPT"
    mkdir -p -m 0700 "$KEPT"
    keep
    cp "$0" "$KEPT/guard"
    systemd-run --quiet --collect --unit=$UNIT --on-active="$2" --timer-property=AccuracySec=1s /bin/sh "$KEPT/guard" rollback
    ;;
apply)
    /usr/sbin/sshd -t
    ports=$(/usr/sbin/sshd -T | sed -n 's/^port //p' | sort -u | tr '\n' ' ')
    if [ "$ports" != "$2 " ]; then
        echo "sshd would listen on ${ports}instead of $2: another file sets Port" >&2
        exit 1
    fi
    nft -c -f /etc/nftables.conf
    systemctl enable --quiet nftables
    nft -f /etc/nftables.conf
    reload_ssh
    ;;
disarm)
    systemctl stop $UNIT.timer
    # `stop` of a transient timer leaves a roll-back that has just begun: only a kept state says it has not.
    [ -d "$KEPT" ]
    rm -rf "$KEPT"
    nft -s list table inet nodehost | sha256sum | cut -d' ' -f1 > "$DIGEST"
    ;;
rollback)
    [ -d "$KEPT" ] || exit 0
    for file in $FILES; do
        if [ -e "$KEPT/$(basename "$file")" ]; then cp -p "$KEPT/$(basename "$file")" "$file"; else rm -f "$file"; fi
    done
    nft -f "$KEPT/ruleset" || nft delete table inet nodehost || true
    if [ "$(cat "$KEPT/enabled")" != enabled ]; then systemctl disable --quiet nftables; fi
    reload_ssh
    rm -rf "$KEPT"
    ;;
*)
    echo "usage: $0 arm SECONDS | apply PORT | disarm | rollback" >&2
    exit 2
    ;;
esac
