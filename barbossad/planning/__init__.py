"""What a run would do, without doing any of it, and in what two runs differ. Pure but for looking accounts up.

May import the engine's rules and what is below them; nothing of the engine imports it.
"""
