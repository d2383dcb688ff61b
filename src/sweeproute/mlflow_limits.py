"""Fits what is logged into MLflow's limits of names, lengths and requests."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeproute.store import masked

# Entities in a request; characters of names, parameters and tags; bytes of a request, with room to spare.
_METRICS, _PARAMS, _TAGS, _ENTITIES = 1000, 100, 100, 1000
KEY_LENGTH, PARAM_LENGTH, TAG_LENGTH, _REQUEST_BYTES = 250, 6000, 8000, 800_000


def clean_params(params: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Parameters as MLflow takes them: a value that is too long is cut, and says so."""
    for name, text in params.items():
        value = masked(text)
        if len(value) > PARAM_LENGTH:
            note = f" ... (cut: {len(value)} characters)"
            value = value[: PARAM_LENGTH - len(note)] + note
        yield clean_key(name), value


def clean_tags(tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Tags as MLflow takes them."""
    for name, value in tags.items():
        yield clean_key(name), masked(value)[:TAG_LENGTH]


def clean_key(name: str) -> str:
    """A name that MLflow takes: letters, digits and `_-. /:`, no path that leads upwards."""
    return re.sub(r"[^\w\-. /:]", "_", name, flags=re.ASCII).replace("..", "__").strip("/")[:KEY_LENGTH] or "_"


def batches(
    metrics: Sequence[Any], params: Sequence[tuple[str, str]], tags: Sequence[tuple[str, str]]
) -> Iterator[tuple[Sequence[Any], Sequence[tuple[str, str]], Sequence[tuple[str, str]]]]:
    """Split what is to be written into requests within MLflow's limits, tags and parameters first."""
    kept_params: list[tuple[str, str]] = []
    kept_tags: list[tuple[str, str]] = []
    size = 0
    pairs = [(kept_tags, _TAGS, pair) for pair in tags] + [(kept_params, _PARAMS, pair) for pair in params]
    for kept, limit, pair in pairs:
        # Six bytes a character is the most that JSON makes of one.
        bytes_of_pair = 6 * (len(pair[0]) + len(pair[1])) + 30
        if len(kept) == limit or size + bytes_of_pair > _REQUEST_BYTES:
            yield [], list(kept_params), list(kept_tags)
            kept_params.clear()
            kept_tags.clear()
            size = 0
        kept.append(pair)
        size += bytes_of_pair
    room = max(0, min(_METRICS, _ENTITIES - len(kept_params) - len(kept_tags)))
    # About 400 bytes a metric, at the longest name.
    if size > _REQUEST_BYTES // 2:
        room = 0
    if kept_params or kept_tags or metrics[:room]:
        yield metrics[:room], kept_params, kept_tags
    for start in range(room, len(metrics), _METRICS):
        yield metrics[start : start + _METRICS], [], []
