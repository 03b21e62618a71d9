"""What tasks can do: one public file per type, found by its name; a leading ``_`` marks plumbing.

A type's file has ``SUMMARY`` and ``EXAMPLE`` for the reference pages, ``BARE`` (which field a value that is no map
stands for), ``class Params`` with every field described, and ``command(ctx, params)``, which says what process does the
work; it needs no other edit anywhere. Other packages bring types of their own by the entry point group
``barbossa.tasks``. May import ``workflows``, ``process.launcher`` and what is below them.
"""
