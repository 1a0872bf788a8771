"""Measures the broker against its rivals, with a generator that accounts for every token."""
