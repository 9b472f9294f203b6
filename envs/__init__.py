"""Envs: building them (`make`), what they are wrapped in (`wrappers`), tiny ones (`toys`)."""
