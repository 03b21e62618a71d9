"""The only SQL of Barbossa: one writer that commits in groups, readers of their own, a file per aggregate.

May import the model and what is below it. Instants become integer milliseconds, run ids integers, and JSON
text here and nowhere else.
"""
