"""Files for other programs, made from nodegate's settings: keepalived, Consul, systemd, Prometheus, Grafana. Pure.

Nothing here reads a file, a clock or a random number: what is secret or new is passed in.
"""
