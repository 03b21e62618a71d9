"""The workflow language: from the text of a file to the frozen records that the engine runs.

May import ``model`` and everything on its level and below; knows nothing of processes, and of task types only
what ``contract`` says, so that a type is handed in and never imported.
"""
