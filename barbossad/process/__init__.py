"""How a task's process lives and dies: launchers behind one small interface, and the capture of output.

May import the store and everything below it; knows nothing of workflows.
"""
