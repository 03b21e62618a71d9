"""Tasks as units of systemd: a transient service for each attempt, which outlives the daemon."""
