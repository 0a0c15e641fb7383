"""Figures of nodegate, measured: `python -m bench [NAME …]`.

Nothing here asserts on time. A figure that misses its aim is said and shown; only a benchmark that cannot run
makes the exit code other than 0.
"""
