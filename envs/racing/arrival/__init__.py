"""The way to the Arrival simulator of Learn-to-Race, and a stand-in for it.

Formats and methods are those of the package l2r 0.0.2 (Herman et al. 2021, arXiv:2103.11575).
"""
