"""The outermost ring: the packaged daemon under a real systemd, in a container that the tests boot themselves."""
