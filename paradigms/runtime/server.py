"""Puts the fork server into its own process group, so that a signal to the run's group, such as
SIGTERM from `timeout`, reaches the trainer but does not kill the server that it needs to see how
roles end. The fork server imports this module first; nothing else does."""

import os

os.setpgid(0, 0)
