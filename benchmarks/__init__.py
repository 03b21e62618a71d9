"""Workloads W1 to W8, each measured as a ratio to its floor in the same run.

An absolute time says nothing on a shared machine; a ratio to the least that the host can do says how much
the daemon adds. One file is one workload; `python -m benchmarks --help` lists them. What lives here speaks
to the daemon over its socket like any client; of `barbossad` it may import `wire` alone.
"""
