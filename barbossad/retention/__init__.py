"""What is old goes: which runs, logs and events (``rules``, pure), deleting them (``pruner``), and when (``loop``).

It may import the store, the logs of ``process``, the settings and what is below them.
"""
