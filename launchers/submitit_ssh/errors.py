"""What can go wrong between this machine and a far one, named for what happened to the caller."""


class SubmititSshError(Exception):
    """Whatever this package raises by itself."""


class FarError(SubmititSshError, RuntimeError):
    """A far machine cannot be used, or has refused what it was asked; the message says why."""


class SettingError(SubmititSshError, ValueError):
    """A setting that cannot be served."""


class ResultError(SubmititSshError, TypeError):
    """A job has ended well, and has returned what cannot travel."""
