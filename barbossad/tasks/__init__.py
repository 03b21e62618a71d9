"""What tasks can do: one public file per type, found by its name; a leading ``_`` marks plumbing.

A type's file has ``SUMMARY`` and ``EXAMPLE`` for the reference pages, ``BARE`` (which field a value that is no map
stands for), ``class Params`` with every field described, and one of two functions: ``command(ctx, params)``, which says
what program does the work, or ``async def run(ctx, params)``, which does it in a worker and returns its outputs. One of
our own with a ``KIND`` has neither: the engine carries it out. A type needs no other edit anywhere. Other packages
bring types of their own by the entry point group ``barbossa.tasks`` (docs/task-types.md); what they need is found here.
May import ``workflows``, ``process.launcher`` and what is below; what runs in the worker imports neither.
"""

from barbossad.tasks._api import Argument, Command, TaskContext, TaskError, TaskOutputs, TaskParams, WorkerContext

__all__ = ["Argument", "Command", "TaskContext", "TaskError", "TaskOutputs", "TaskParams", "WorkerContext"]
