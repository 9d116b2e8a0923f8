"""The error that a user can mend: what was seen, what was expected, how to mend it."""


class InputError(ValueError):
    """Wrong input or settings. Its message is shown to the user as it stands."""
