"""When something recurs: cron expressions, intervals, time zones and their changes, windows, holidays. Pure.

May import the vocabulary and what checks words. Reads nothing but zone data, holidays and calendar files.
"""
