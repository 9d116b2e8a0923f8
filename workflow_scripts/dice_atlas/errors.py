"""The error that a user can mend: what was seen, what was expected, how to mend it."""

import zlib

# What reading a damaged file raises, gzipped or plain.
DAMAGED = (OSError, EOFError, zlib.error, UnicodeDecodeError)


class InputError(ValueError):
    """Wrong input or settings. Its message is shown to the user as it stands."""
