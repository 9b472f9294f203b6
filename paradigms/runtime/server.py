"""Imported by the fork server alone, first of all: a signal to the run's process group, such as
`timeout` sends, is for the run to answer. Without the server it could not hear how roles end."""

import os

os.setpgid(0, 0)
