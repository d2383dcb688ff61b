"""Builds the JobReturn of a job that ran elsewhere, its config composed again only when somebody looks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import version
from hydra.core.utils import JobReturn, JobRuntime, JobStatus
from omegaconf import DictConfig, OmegaConf, open_dict

from ._errors import JobFailedError
from ._records import DONE


class RoutedReturn(JobReturn):
    """A JobReturn whose `cfg` and `hydra_cfg` are composed when they are first read."""

    def __init__(self, launch: dict[str, Any], folder: Path, compose: Callable[[], DictConfig]) -> None:
        self._folder = folder
        self._compose = compose
        self._configs: tuple[DictConfig, DictConfig] | None = None
        super().__init__(overrides=list(launch["overrides"]), task_name=JobRuntime.instance().get("name"))
        self.launch = launch
        if launch["state"] in DONE:
            self.status = JobStatus.COMPLETED
            self._return_value = launch["value"]
            self._unfit = launch["unfit"]
        else:
            self.status = JobStatus.FAILED
            error = launch["error"]
            self._return_value = JobFailedError(error["message"], error["type"], error["class"], error["traceback"])

    @property
    def return_value(self) -> Any:
        """The task's value; raises what the job failed with, or that its value does not fit into JSON."""
        if self.status == JobStatus.COMPLETED:
            if self._unfit:
                raise TypeError(
                    f"The job finished, but its return value could not be sent: {self._unfit}. "
                    "Return numbers, strings, lists or mappings, and write the rest to the job's folder."
                )
            return self._return_value
        return super().return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value

    def _composed(self) -> tuple[DictConfig, DictConfig]:
        if self._configs is None:
            config = self._compose()
            with open_dict(config.hydra.runtime):
                config.hydra.runtime.output_dir = str(self._folder)
            hydra_config = DictConfig({})
            hydra_config.__dict__["_content"]["hydra"] = config._get_node("hydra")
            task_config = self._compose()
            with open_dict(task_config):
                del task_config["hydra"]
            OmegaConf.set_readonly(config.hydra, True)
            self._configs = task_config, hydra_config
        return self._configs

    @property
    def cfg(self) -> DictConfig:
        """The job's config without its hydra node."""
        return self._composed()[0]

    @cfg.setter
    def cfg(self, value: Any) -> None:
        pass  # the dataclass's own constructor sets it to None

    @property
    def hydra_cfg(self) -> DictConfig:
        """The job's hydra node."""
        return self._composed()[1]

    @hydra_cfg.setter
    def hydra_cfg(self, value: Any) -> None:
        pass  # see cfg

    @property
    def working_dir(self) -> str:
        """The folder the task worked in."""
        chdir = self.hydra_cfg.hydra.job.chdir
        if chdir is None:
            chdir = not version.base_at_least("1.2")
        return str(self._folder) if chdir else str(Path.cwd())

    @working_dir.setter
    def working_dir(self, value: Any) -> None:
        pass  # see cfg
