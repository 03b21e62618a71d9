"""Tasks as processes of the daemon: a session for each attempt, under a reaper that lets nothing escape."""
