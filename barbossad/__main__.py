"""``python -m barbossad``."""

from barbossad.cli import main

main()
