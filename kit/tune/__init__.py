"""Searching for settings: many short runs, the hopeless ones given up early, one curve."""
