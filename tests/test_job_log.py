"""The log files of consecutive jobs of one warm process are those that Hydra would have written."""

import logging
import logging.handlers
import re
from pathlib import Path

import pytest
from hydra.core.utils import configure_log
from omegaconf import open_dict

from hydra_plugins.sweeproute import _job_log
from hydra_plugins.sweeproute._compose import Composer
from hydra_plugins.sweeproute._job_log import JobLog
from small_app import start_sweep

CUSTOM = """
  job_logging:
    version: 1
    disable_existing_loggers: false
    formatters: {plain: {format: "%(levelname)s %(name)s %(message)s"}}
    handlers: HANDLERS
    root: {level: INFO, handlers: [file]}
    loggers: {quiet: {level: ERROR}}
"""
FILE = "class: logging.FileHandler, formatter: plain"
OTHER_FILES = {
    "default": "",
    "elsewhere": f'{{file: {{{FILE}, filename: "${{hydra.sweep.dir}}/logs-${{hydra.job.num}}.txt"}}}}',
    "one_for_all": f'{{file: {{{FILE}, filename: "${{hydra.sweep.dir}}/all.txt"}}}}',
    "overwritten": f'{{file: {{{FILE}, mode: w, filename: "${{hydra.sweep.dir}}/all.txt"}}}}',
    "delayed": f'{{file: {{{FILE}, delay: true, filename: "${{hydra.runtime.output_dir}}/late.txt"}}}}',
    "relative": f"{{file: {{{FILE}, filename: here.txt}}}}",
    "of_a_value": f'{{file: {{{FILE}, filename: "${{hydra.sweep.dir}}/seed-${{seed}}.txt"}}}}',
    "rotating": "{file: {class: logging.handlers.RotatingFileHandler, formatter: plain, maxBytes: 50, backupCount: 9, "
    'filename: "${hydra.runtime.output_dir}/turn.txt"}}',
}


class Process:
    """Runs jobs one after the other, as a warm worker or as Hydra does."""

    def __init__(self, folder, composer, configure):
        self.composer = composer
        self.folder = folder
        self.configure = configure

    def job(self, number, task, *overrides):
        config = self.composer.compose(overrides or [f"seed={number}"], number)
        output = self.folder / "out" / str(number)
        output.mkdir(parents=True, exist_ok=True)
        with open_dict(config.hydra.runtime):
            config.hydra.runtime.output_dir = str(output)
        self.configure(config)
        task(config)

    def files(self):
        """What all log files hold, without the times in them."""
        paths = sorted(
            path for path in self.folder.rglob("*") if path.suffix in (".log", ".txt") or ".txt." in path.name
        )
        return {
            str(path.relative_to(self.folder)): re.sub(r"\[\d{4}-[^]]*\]", "[time]", path.read_text()) for path in paths
        }


@pytest.fixture(autouse=True)
def logs_restored():
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield
    for name in ("task", "quiet", "other"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.setLevel(before[0])
    for handler in list(root.handlers):
        root.removeHandler(handler)
        if handler not in before[1]:
            handler.close()
    for handler in before[1]:
        root.addHandler(handler)


def talk(config):
    logging.getLogger("task").info("info of %s", config.seed)
    logging.getLogger("task").debug("debug of %s", config.seed)
    logging.getLogger("quiet").warning("warning of %s", config.seed)


def composer_of(folder, words, handlers):
    conf = "seed: 0\nhydra:\n  sweep: {dir: out, subdir: '${hydra.job.num}'}\n"
    if handlers:
        conf += CUSTOM.replace("HANDLERS", handlers)
    return Composer(*start_sweep(folder, {"config.yaml": conf}, words))


def side_by_side(tmp_path, monkeypatch, jobs, words=(), handlers=""):
    """Run the same jobs as Hydra and as we do, each in a folder of its own."""
    log = JobLog()
    found = []
    # Which folder a job's files lie in is said where it runs, and so both can do with one.
    composer = composer_of(tmp_path, words, handlers)
    for name, configure in {
        "theirs": lambda config: configure_log(config.hydra.job_logging, config.hydra.verbose),
        "ours": lambda config: log.configure(config, "base"),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.chdir(folder)
        process = Process(folder, composer, configure)
        jobs(process)
        logging.shutdown([lambda handler=handler: handler for handler in logging.getLogger().handlers])
        found.append(process.files())
    return found


@pytest.mark.parametrize("handlers", OTHER_FILES.values(), ids=OTHER_FILES)
def test_files_of_consecutive_jobs_hold_what_hydra_would_have_put_there(
    tmp_path, monkeypatch, hydra_restore_singletons, handlers
):
    def jobs(process):
        for number in range(3):
            process.job(number, talk)

    theirs, ours = side_by_side(tmp_path, monkeypatch, jobs, handlers=handlers)
    assert ours == theirs
    assert any("info of 2" in text for text in ours.values())


def test_a_file_that_is_opened_late_is_not_there_for_a_job_without_lines(
    tmp_path, monkeypatch, hydra_restore_singletons
):
    def jobs(process):
        for number in range(3):
            process.job(number, talk if number != 1 else lambda config: None)

    theirs, ours = side_by_side(tmp_path, monkeypatch, jobs, handlers=OTHER_FILES["delayed"])
    assert ours == theirs
    assert list(ours) == ["out/0/late.txt", "out/2/late.txt"]


def test_each_job_has_its_own_lines_only(tmp_path, monkeypatch, hydra_restore_singletons):
    def jobs(process):
        for number in range(3):
            process.job(number, talk)

    _, ours = side_by_side(tmp_path, monkeypatch, jobs)
    for number in range(3):
        assert ours[f"out/{number}/app.log"].splitlines() == [
            f"[time][task][INFO] - info of {number}",
            f"[time][quiet][WARNING] - warning of {number}",
        ]


@pytest.mark.parametrize("word", ["hydra.verbose=true", "hydra.verbose=task", "hydra.verbose=[task,other]"])
def test_verbose_stays_so_from_job_to_job(tmp_path, monkeypatch, hydra_restore_singletons, word):
    def jobs(process):
        for number in range(3):
            process.job(number, talk)
        for name in ("task", "other"):
            logging.getLogger(name).setLevel(logging.NOTSET)

    theirs, ours = side_by_side(tmp_path, monkeypatch, jobs, [word])
    assert ours == theirs
    assert all("debug of" in text for text in ours.values())


def own_file(config):
    """A task with a log file of its own, which it never closes."""
    logging.getLogger().addHandler(logging.FileHandler(Path(config.hydra.runtime.output_dir) / "own.log"))
    talk(config)


def louder(config):
    if config.seed == 0:
        logging.getLogger().setLevel(logging.DEBUG)
    talk(config)


def listed_louder(config):
    if config.seed == 0:
        logging.getLogger("quiet").setLevel(logging.DEBUG)
    talk(config)


def without_handlers(config):
    if config.seed == 0:
        logging.getLogger().handlers.clear()
    talk(config)


def forced(config):
    if config.seed == 0:
        logging.basicConfig(
            force=True, level=logging.ERROR, filename=Path(config.hydra.runtime.output_dir) / "basic.log"
        )
    talk(config)


def configured_anew(config):
    if config.seed == 0:
        logging.config.dictConfig({"version": 1, "root": {"level": "ERROR"}, "disable_existing_loggers": False})
    talk(config)


@pytest.mark.parametrize("task", [own_file, louder, listed_louder, without_handlers, forced, configured_anew])
@pytest.mark.parametrize("handlers", ["default", "elsewhere"])
def test_what_a_job_does_to_logging_ends_with_it(tmp_path, monkeypatch, hydra_restore_singletons, task, handlers):
    def jobs(process):
        for number in range(3):
            process.job(number, task)

    theirs, ours = side_by_side(tmp_path, monkeypatch, jobs, handlers=OTHER_FILES[handlers])
    assert ours == theirs
    assert any("info of 2" in text for text in ours.values())


def test_loggers_that_a_configuration_disables_are_disabled(tmp_path, monkeypatch, hydra_restore_singletons):
    def jobs(process):
        for number in range(2):
            process.job(number, lambda config: logging.getLogger("fresh").info("job %s", config.seed))
        del logging.root.manager.loggerDict["fresh"]

    words = ["hydra.job_logging.disable_existing_loggers=true"]
    theirs, ours = side_by_side(tmp_path, monkeypatch, jobs, words)
    assert ours == theirs
    assert [bool(text) for text in ours.values()] == [True, False]


def test_a_log_that_only_moves_is_not_configured_anew(tmp_path, monkeypatch, hydra_restore_singletons):
    configured = []
    monkeypatch.setattr(_job_log, "configure_log", lambda *a: configured.append(a) or configure_log(*a))

    def jobs(process):
        for number in range(4):
            process.job(number, talk)

    side_by_side(tmp_path, monkeypatch, jobs)
    assert len(configured) == 1


def test_no_logging_is_none(tmp_path, monkeypatch, hydra_restore_singletons):
    def jobs(process):
        for number in range(2):
            process.job(number, talk)

    theirs, ours = side_by_side(tmp_path, monkeypatch, jobs, ["hydra/job_logging=none"])
    assert ours == theirs == {}


def test_a_file_of_a_job_that_has_ended_is_closed(tmp_path, monkeypatch, hydra_restore_singletons):
    opened = []

    def jobs(process):
        for number in range(3):
            process.job(number, talk)
            opened.extend(h.stream for h in logging.getLogger().handlers if type(h) is logging.FileHandler)

    side_by_side(tmp_path, monkeypatch, jobs)
    ours = opened[3:]
    assert [stream.closed for stream in ours[:-1]] == [True, True]
