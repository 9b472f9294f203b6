"""Benchmarks and studies: each file name is a question, each figure comes from a stored JSON."""
