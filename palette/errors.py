"""Errors that a user can act on. Each carries its exit code; none is shown with a traceback.

UserError
├── ConfigError   2   a config, spec or command line that cannot be honoured
├── DataError     3   a file that is missing, damaged or not what it should be
└── Interrupted  75   stopped by a signal; a stage goes on with the same command
"""


class UserError(Exception):
    """An error whose text names the file, the value, what is allowed and the next step."""

    exit_code = 1


class ConfigError(UserError):
    exit_code = 2


class DataError(UserError):
    exit_code = 3


class Interrupted(UserError):
    exit_code = 75
