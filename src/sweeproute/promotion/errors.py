"""What can keep a run from being promoted."""


class PromotionError(LookupError):
    """What was asked for cannot be promoted."""
