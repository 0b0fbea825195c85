"""What is refused, sorted by what to do about it."""


class JujuError(Exception):
    """A refusal, in Juju's words where Juju has words for it.

    Args:
        message: What is wrong, naming the thing, and the mend where one is known.
        code: Juju's error code where programs look at it (``not found``, ...).
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class NotFoundError(JujuError):
    """The named thing does not exist."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "not found")


class UsageError(JujuError):
    """The command line itself is wrong; exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "usage")


class ControllerError(JujuError):
    """The controller cannot be reached or started, or its state cannot be read."""


class ToolError(JujuError):
    """A hook tool's refusal: the text after ``ERROR`` and the exit code.

    Args:
        message: The text.
        exit_code: 1 for a refusal, 2 for a wrong command line.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
