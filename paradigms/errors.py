"""The library's errors, as one tree. This file imports nothing and lies below everything else.

    Exception
      PacelineError           root of the errors below
        Failed                a role raised, died or hung (also a RuntimeError)
          ForkServerDied      the process that starts all roles died; no role is to blame
        Deadlock              every role waits for another one (RuntimeError)
        Diverged              a re-execution did something that its journal does not have
                              (RuntimeError)
        NotFinite             a NaN or an infinity where a number is needed (FloatingPointError)
          PolicyNotFinite     one that a policy returned: training has diverged
          GradientNotFinite   one in every gradient of late: training has diverged
        Full                  a bounded buffer has no space: check before you put (BufferError)
        Empty                 a buffer has nothing to take: check before you take (BufferError)
        Damaged               a checkpoint or policy file is not what was written
                              (paradigms/session/checkpoint.py)
        Unsavable             a state that no checkpoint can hold (the same file)
      Wrong                   what was typed cannot run (conf/sentences.py)
    BaseException
      Stopped                 no error: unwinds a role that has to end where it stands

The bases in brackets are there for callers who catch Python's own errors. ValueError and TypeError
are raised for arguments that are wrong, RuntimeError for calls in the wrong order, OSError for what
the system refuses.
"""

from __future__ import annotations


class PacelineError(Exception):
    """Root of this library's errors. restart_helps: whether a role that raises it may be replaced
    by a new one, or would meet it again."""

    restart_helps = True


class Failed(PacelineError, RuntimeError):
    """A role raised, died or hung: `name`, `cause` (a phrase) and `trace` (text, may be empty)."""

    def __init__(self, name: str, cause: str, trace: str = "") -> None:
        super().__init__(f"role {name} {cause}" + (f"\n\n{trace}" if trace else ""))
        self.name, self.cause, self.trace = name, cause, trace

    def __reduce__(self) -> tuple[object, ...]:
        return Failed, (self.name, self.cause, self.trace)


class ForkServerDied(Failed):
    """The fork server died, so the ends of its children can no longer be seen. `name` is "fork
    server"; no role is to blame."""

    def __init__(self) -> None:
        cause = "died (killed, or out of memory): it starts the roles, and none of them is to blame"
        RuntimeError.__init__(self, f"the fork server {cause}")
        self.name, self.cause, self.trace = "fork server", cause, ""

    def __reduce__(self) -> tuple[object, ...]:
        return ForkServerDied, ()


class Deadlock(PacelineError, RuntimeError):
    """Every role waits for another one; the message says which role waits for what."""


class Diverged(PacelineError, RuntimeError):
    """A re-execution did something that its journal does not have; the message has both."""


class NotFinite(PacelineError, FloatingPointError):
    """A NaN or an infinity (or a negative priority); the message names the setting to change."""


class PolicyNotFinite(NotFinite):
    """A NaN or an infinity that a policy returned for finite observations. The message names the
    learning rate. A new role would have the same weights, so that a crew does not replace it."""

    restart_helps = False


class GradientNotFinite(NotFinite):
    """Steps in a row had a loss or a gradient that is not finite, and were left out. The message
    names the learning rate. A new role would have the same weights."""

    restart_helps = False


class Full(PacelineError, BufferError):
    """A bounded buffer has no space for what is put into it."""


class Empty(PacelineError, BufferError):
    """A buffer does not hold what is taken from it."""


class Stopped(BaseException):
    """Unwinds a role that has to end where it stands: crews catch it, roles let it pass."""
