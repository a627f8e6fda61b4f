"""Errors a person can act on."""


class UserError(Exception):
    """Something the user can mend. The message names the thing, the value and what to do.

    The command line prints it without a stack trace; Dagster shows it as the step's failure.
    """
