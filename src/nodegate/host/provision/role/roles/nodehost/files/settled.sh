#!/bin/sh
# Services that were started: do they stay up? Looks for some seconds; a program that ends at once is told with its
# last words.
for _ in 1 2 3 4 5 6; do
    sleep 1
    for unit in "$@"; do
        state=$(systemctl show "$unit" --property=ActiveState,SubState,NRestarts --value | tr '\n' ' ')
        case "$state" in
        *failed* | *auto-restart* | "active running "[1-9]* | [1-9]*)
            echo "$unit does not stay up:" >&2
            journalctl --unit="$unit" --lines=5 --no-pager --output=cat >&2
            exit 1
            ;;
        esac
    done
done
