"""Says by which words a trial on record is run again: its own, but for those that say where, and what follows it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sweeproute.config import WHERE_AND_HOW

# What a trial that is run again says itself, whatever its own words were.
_SETTLED = {
    "holdout": "false",
    "ensemble": "[]",
    "reuse": "false",
    "plots": "false",
    "search_space": "none",
    "tracking.models": "none",
}
# What is of a sweep, or is settled anew, and so left out: a key, with all that is below it.
_LEFT_OUT = (*_SETTLED, "resume", "device", "threads", "sweep", "report")
# Where data lies is no part of a fingerprint: its content is.
_DATA_PLACES = ("data.path", "data.url")


class WordError(ValueError):
    """A word that would make another trial."""


def check(extra: Sequence[str]) -> None:
    """Refuse words that would make another trial than the one on record.

    Args:
        extra: Overrides that a person gives for all trials.

    Raises:
        WordError: In a sentence.
    """
    for word in extra:
        key = _key(word)
        if key not in _DATA_PLACES and key.partition(".")[0].partition("/")[0] not in WHERE_AND_HOW:
            raise WordError(
                f"{word} would make another trial. A reproduction takes what says where it runs and where its data "
                f"lies, as in registry.platforms.NAME.host=HOST or data.path=FILE."
            )


def again(
    overrides: Sequence[str],
    tags: Mapping[str, str],
    extra: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> list[str]:
    """The words by which a trial is run again.

    Args:
        overrides: Those that made it.
        tags: What its run says of it, without `sweeproute.`: its device and threads are taken again, as far as any
            machine has them.
        extra: What a person says besides.
        files: What paths are called here that have other names where the sweep ran.
        cwd: The working directory that its data's path is relative to; None leaves the path as it is.

    Returns:
        The words.
    """
    words = [word for word in overrides if not any(_is_below(_key(word), one) for one in _LEFT_OUT)]
    for there, here in (files or {}).items():
        words = [word.replace(there, here) for word in words]
    words += [f"{key}={value}" for key, value in _SETTLED.items()]
    # A GPU of then may not be here: what is here takes its place.
    words.append(f"device={'cpu' if tags.get('device') == 'cpu' else 'auto'}")
    if tags.get("threads", "").isdecimal():
        words.append(f"threads={tags['threads']}")
    if tags.get("ensemble") and tags.get("members_of"):
        # `last` was another then.
        words.append(f"model.params.sweep={quoted(tags['members_of'])}")
    words = _replaced(words, extra)
    return [_from(word, cwd) for word in words]


def of_sweep(jobs: Sequence[Sequence[str]], extra: Sequence[str] = ()) -> list[str]:
    """The words of a sweep that runs some jobs: what all of them say of the platforms that there are."""
    told = [word for word in jobs[0] if _key(word).partition(".")[0] == "registry"]
    alike = [word for word in told if all(word in job for job in jobs)]
    return _replaced(alike, [word for word in extra if _key(word).partition(".")[0] == "registry"])


def quoted(text: str) -> str:
    """A text as Hydra reads it as text, whatever it looks like."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()


def _replaced(words: Sequence[str], by: Sequence[str]) -> list[str]:
    keys = {_key(word) for word in by}
    return [*(word for word in words if _key(word) not in keys), *by]


def _from(word: str, cwd: Path | None) -> str:
    """A word whose path, where it is one of data, begins at the root."""
    key, _, value = word.partition("=")
    if cwd is None or key.lstrip("+") != "data.path" or value in ("", "null"):
        return word
    path = Path(value.strip("'\"")).expanduser()
    return word if path.is_absolute() else f"{key}={quoted(str(cwd / path))}"


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def _is_below(key: str, above: str) -> bool:
    return key == above or key.startswith((f"{above}.", f"{above}/"))
