"""Let ``python -m barbossactl`` be the command line where nothing is installed."""

from __future__ import annotations

from barbossactl.cli import main

if __name__ == "__main__":
    main()
