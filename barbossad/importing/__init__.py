"""Turn crontabs and systemd timers into workflow files, with notes on what differs: pure, text and facts in, text out.

May import the language and what is below it. It reads no file, asks no systemd and applies nothing.
"""
