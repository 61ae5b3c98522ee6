"""The one error type that means: the user can mend this."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in what the user gave; its message is one line naming the file or key, the value and the fix.

    The command line prints the message alone and exits with code 2. Anything else that escapes is a
    fault of ours: traceback, exit code 1.
    """


class StrandedError(UserError):
    """A mistake that this process found alone, of several: the others wait for it, and threads of its own for them.

    The command line ends the process at once. The others are told by its end.
    """
