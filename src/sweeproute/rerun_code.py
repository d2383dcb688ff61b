"""Finds the code by which a trial on record can be run again: what lies here, else its commit with its snapshot."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeproute import code_worktree, rerun
from sweeproute.code_snapshot import GitError, top
from sweeproute.config import WHERE_AND_HOW
from sweeproute.recorded import Recorded, RecordedIn
from sweeproute.rerun import App, Probe, RerunError
from sweeproute.rerun_words import quoted

# What tells apart by which code runs were made.
_OF_CODE = ("git_commit", "git_dirty", "code_hash")
# Digits of a hash that people are told.
_SHOWN = 12
# Modules of ours that a commit of this project has, from its top.
_ROOMS = ("src", "launchers")


@dataclass(frozen=True)
class Code:
    """Code that makes of some words the trials that are on record."""

    app: App
    probed: Probe
    # Overrides that every trial is given besides.
    words: tuple[str, ...] = ()

    def makes(self, runs: Sequence[Recorded]) -> bool:
        """Whether it makes of the words of some trials, of one group, those that are on record."""
        return _are_same(_few(runs), self.probed)


def groups(runs: Sequence[Recorded]) -> list[list[Recorded]]:
    """Trials by the code that they were made by."""
    found: dict[tuple[str | None, ...], list[Recorded]] = {}
    for run in runs:
        found.setdefault((run.origin, *(run.tags.get(tag) for tag in _OF_CODE)), []).append(run)
    return list(found.values())


def here(
    app: App, place: Path, grouped: Sequence[Sequence[Recorded]], words: Callable[[Recorded], list[str]]
) -> list[Code]:
    """Look what the code that lies here would make of some trials.

    Args:
        app: What lies here.
        place: See `rerun.place`.
        grouped: Trials by their code.
        words: By which a trial is run again.

    Returns:
        Of each group the code, as it is known of one trial of each model; see `Code.makes`.

    Raises:
        RerunError: The code does not say.
    """
    few = [_few(runs) for runs in grouped]
    probed = rerun.probe(app, place, [words(run) for some in few for run in some])
    jobs = iter(probed.jobs)
    return [Code(app, replace(probed, jobs=tuple(next(jobs) for _ in some))) for some in few]


@contextmanager
def of_commit(
    found: Code,
    place: Path,
    runs: Sequence[Recorded],
    words: Callable[[Recorded], list[str]],
    store: RecordedIn,
    say: Callable[[str], None],
) -> Iterator[Code]:
    """Lay out the commit of some trials for as long as this lasts, with the snapshot of what it lacked.

    Args:
        found: The code that lies here, which does not make them.
        place: See `rerun.place`.
        runs: Trials of one code.
        words: By which a trial is run again.
        store: Where they are on record.
        say: Takes what a person has to know.

    Yields:
        The code.

    Raises:
        RerunError: It is not at hand, or the data is not what it was.
    """
    few = _few(runs)
    if _only_data_changed(few, found.probed, store, place):
        raise RerunError(_why_not(few, found.probed, "here"))
    with ExitStack() as stack:
        yield _laid_out(
            stack, found.app, place, few, [words(run) for run in few], store, say, _changed(few, found.probed)
        )


def _laid_out(
    stack: ExitStack,
    app: App,
    place: Path,
    few: Sequence[Recorded],
    asked: Sequence[list[str]],
    store: RecordedIn,
    say: Callable[[str], None],
    changed: str,
) -> Code:
    commit, dirty = few[0].tags.get("git_commit"), few[0].tags.get("git_dirty") == "true"
    if commit is None:
        raise RerunError(f"Since then {changed}, and the run does not say of which commit its code was.")
    try:
        repository = top(app.script.parent).resolve()
    except GitError:
        raise RerunError(
            f"Since then {changed}, and {app.script.parent} lies in no repository that could have the commit {commit}."
        ) from None
    if not code_worktree.has(repository, commit):
        raise RerunError(
            f"Since then {changed}, and the repository {repository} does not have the commit {commit}; fetch it."
        )
    patches: list[Path | None] = list(store.patches(few[0], place / "patches"))
    if dirty and not patches:
        raise RerunError(
            f"Since then {changed}. The run is of a working tree that differed from its commit {commit[:_SHOWN]}, and "
            "no snapshot of it was kept."
        )
    why = ""
    for patch in patches if dirty else [None, *patches]:
        tree = place / "code"
        with ExitStack() as tried:
            try:
                tried.enter_context(code_worktree.laid_out(repository, commit, tree, patch))
            except GitError as error:
                why = why or f"The commit {commit[:_SHOWN]} cannot be laid out: {error}."
                continue
            there = _there(app, repository, tree)
            data = () if there.cwd == app.cwd else _places(rerun.probe(there, place, asked[:1]), app.cwd)
            probed = rerun.probe(there, place, [[*words, *data] for words in asked])
            if _are_same(few, probed):
                stack.enter_context(tried.pop_all())
                say(f"Since then {changed}: run again in a worktree of its commit {commit[:_SHOWN]}.")
                if patch is not None:
                    say("Its working tree differed from that commit; the snapshot of it is what is used.")
                return Code(there, probed, data)
            why = _why_not(few, probed, f"in its commit {commit[:_SHOWN]}" + (" with its snapshot" if patch else ""))
    raise RerunError(why)


def _there(app: App, repository: Path, tree: Path) -> App:
    """The app in a worktree, its own modules before those that are installed."""
    script, cwd = code_worktree.moved([app.script], repository, tree), code_worktree.moved([app.cwd], repository, tree)
    if not script:
        raise RerunError(f"The commit has no {app.script.relative_to(repository)}.")
    import sys

    paths = [Path(path) for path in sys.path if path and Path(path).is_absolute()]
    found = code_worktree.moved(paths, repository, tree)
    found += [tree / room for room in _ROOMS if (tree / room).is_dir() and tree / room not in found]
    return replace(app, script=script[0], cwd=cwd[0] if cwd else app.cwd, path=tuple(found))


def _places(probed: Probe, cwd: Path) -> tuple[str, ...]:
    """Where data lies that the config names by a path relative to the working directory."""
    path = (probed.jobs[0].get("config") or {}).get("data", {}).get("path")
    if path is None or Path(path).expanduser().is_absolute():
        return ()
    return (f"data.path={quoted(str(cwd / path))}",)


def _few(runs: Sequence[Recorded]) -> list[Recorded]:
    """One trial of each model, of each data, and of each choice of options: what the others would be follows."""
    told = {
        (run.tags.get("model_type"), run.scored, run.tags.get("data_hash"), _options(run)): run
        for run in reversed(runs)
    }
    return list(reversed(told.values()))


def _options(run: Recorded) -> frozenset[str]:
    """Its words that may have chosen an option of a config group: each is a file of its own, which may have changed."""
    named = ((word.partition("=")[0], word) for word in run.overrides)
    return frozenset(word for name, word in named if "." not in name and name != "seed")


def _are_same(runs: Sequence[Recorded], probed: Probe) -> bool:
    return all(run.tags["fingerprint"] == job.get("fingerprint") for run, job in zip(runs, probed.jobs, strict=True))


def _only_data_changed(runs: Sequence[Recorded], probed: Probe, store: RecordedIn, place: Path) -> bool:
    """Whether code and config are as they were, so that no other code would find the data of then."""
    for run, job in zip(runs, probed.jobs, strict=True):
        if "error" in job or job["code_hash"] != run.tags.get("code_hash"):
            return False
        if job["data_hash"] != run.tags.get("data_hash") and not _config_changes(run, job, store, place):
            return True
    return False


def _config_changes(run: Recorded, job: Mapping[str, Any], store: RecordedIn, place: Path) -> list[str]:
    """Groups of the config that count, and are not what they were."""
    from omegaconf import OmegaConf

    path = store.config(run, place / "config")
    if path is None:
        return []
    then: Any = OmegaConf.to_container(OmegaConf.load(path))
    now = dict(job["config"])
    for config in (then, now):
        config["data"] = {key: value for key, value in config.get("data", {}).items() if key not in ("path", "url")}
        if run.tags.get("ensemble"):
            config.pop("model", None)
    return [key for key in {**then, **now} if key not in WHERE_AND_HOW and then.get(key) != now.get(key)]


def _changed(runs: Sequence[Recorded], probed: Probe) -> str:
    """What is not what it was, as a clause."""
    for run, job in zip(runs, probed.jobs, strict=True):
        if "error" in job:
            return f"something has changed, so that it cannot be begun here ({job['error'].rstrip('.')})"
        if job["code_hash"] != run.tags.get("code_hash"):
            was = run.tags.get("code_hash", "unknown")
            return f"the code has changed ({was[:_SHOWN]} -> {job['code_hash'][:_SHOWN]})"
    return "the configuration has changed"


def _why_not(runs: Sequence[Recorded], probed: Probe, where: str) -> str:
    """Why a code would not make what is on record."""
    for run, job in zip(runs, probed.jobs, strict=True):
        if "error" in job:
            return f"{run.title} cannot be begun {where}: {job['error']}"
        if job["fingerprint"] == run.tags["fingerprint"]:
            continue
        was, now = run.tags.get("data_hash", "unknown"), job["data_hash"]
        if job["code_hash"] != run.tags.get("code_hash"):
            code = run.tags.get("code_hash", "unknown")
            return (
                f"The code {where} is not what {run.title} was made by: its hash was {code[:_SHOWN]}, and is "
                f"{job['code_hash'][:_SHOWN]}."
            )
        if was != now:
            data = job["config"].get("data", {})
            lies = data.get("path") or f"data={data.get('source')}"
            return (
                f"The data is not what {run.title} was made from: its hash was {was[:_SHOWN]}, and is {now[:_SHOWN]}; "
                f"it lies in {lies}. Put back what was there, or say where that is: data.path=FILE."
            )
    return f"The configuration {where} is not that of {runs[0].title}, though code and data are."
