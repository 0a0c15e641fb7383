"""Simulated full nodes with faults, and a client that measures: for demos, tests and trying things out.

- `lab.Lab` runs nodes in this process, `process.LabProcess` in a child.
- `load.Load` is a stream of client requests that counts and times its answers.

Everything stays on the loopback.
"""
