"""Consul's HTTP API, as far as nodegate needs it.

- `client`: requests with fail-over, token and TLS, and Consul's failures as errors of nodegate's tree.
- `failures`: what Consul's error answers mean.
- `watch`: the catalogue with all checks, kept current with few and small requests.
- `kv`: keys with compare-and-set.
- `damping`, `state`, `token`: what of an answer is believed, and what follows from it.
- `budget`: how often a loop that is woken from outside may run.
- `catalog`: Consul's documents as the values of `nodegate.catalog`.
"""
