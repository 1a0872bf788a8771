"""Why a turn or a tool call failed, as its user may know."""


class TurnFailed(Exception):
    """Raise it inside a turn, to tell the user why: other exceptions stay private."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
