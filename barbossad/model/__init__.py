"""The vocabulary of Barbossa: names, states and their legal moves, records, events. Frozen, no I/O.

May import ``errors`` and ``clock`` only.
"""
