"""Runs: what may start next (pure), who gets a slot, how an attempt is launched and recorded, recovery.

May import tasks, workflows, process, store and what is below them; never the scheduler or the monitor.
"""
