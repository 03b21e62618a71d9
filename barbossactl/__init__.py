"""The command line: a thin client of the daemon's socket.

Of ``barbossad`` it imports ``wire`` alone, and at module level nothing slow: a command group is
imported when it is called, ``rich`` when a terminal is there to draw on.
"""
