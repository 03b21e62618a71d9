"""When workflows run by themselves: pure functions decide what is due, and a loop that sleeps until then does it.

May import what lies below the engine, never the engine: runs are started through what ``assembly`` hands in.
"""
