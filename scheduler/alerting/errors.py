"""What a channel says when a message has not arrived."""


class NotArrivedError(Exception):
    """It has not arrived, or nobody knows whether it has; the message is fit for the operator.

    `gone` means that the receiver asks for no more.
    """

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone
