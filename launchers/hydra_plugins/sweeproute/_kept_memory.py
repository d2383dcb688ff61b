"""Lets the process of a search keep the few megabytes that each point of Optuna's tpe takes and frees."""

import ctypes

# glibc's mallopt: above how many free bytes some go back to the system, and from how many on a block has pages of its
# own. No other C library has it.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 2**26


def keep() -> bool:
    """Have memory kept, for this process and as long as it lives.

    With 1,000 trials of 10 parameters each step of tpe's arithmetic is an array of 2 MB. By its defaults the C library
    hands that back at once, and the next step waits for fresh pages: a quarter of what an ask costs.

    Returns:
        Whether the C library takes it.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    # 32 MB is the most that it takes for a block.
    return tune is not None and bool(tune(_TRIM_THRESHOLD, KEPT_BYTES)) and bool(tune(_MMAP_THRESHOLD, KEPT_BYTES // 2))
