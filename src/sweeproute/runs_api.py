"""Reads runs through MLflow's public API, which knows every store and every version of one."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from sweeproute.configuration import RULE_TAGS
from sweeproute.journal import SYSTEM
from sweeproute.runs_query import TRIAL_TAGS, Answer, FoundRun, Question, Trial, answer, earliest, in_order, meets
from sweeproute.selection import finite
from sweeproute.store import connect, masked

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_PAGE = 1000


class ApiRuns:
    """The runs of any MLflow store; see runs_query.Runs."""

    def __init__(self, uri: str) -> None:
        self.how = f"MLflow's search in {masked(uri)}"
        self.uri = uri

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's own client."""
        return connect(self.uri)

    def best(self, question: Question) -> Answer:
        """Find the best run; of equals the earlier trial."""
        conditions = ["attributes.status = 'FINISHED'", "tags.`sweeproute.current` = 'true'"]
        runs = [run for run in self.search(question, conditions) if question.metric in run.data.metrics]
        able = {run.info.run_id: run for run in runs if finite(run.data.metrics[question.metric])}
        if not able:
            return Answer(None, len(runs))
        values = [run.data.metrics[question.metric] for run in able.values()]
        extreme = max(values) if question.maximize else min(values)
        ties = [run for run in able.values() if run.data.metrics[question.metric] == extreme]
        best = self._found(able[earliest(_tie(run) for run in ties)])
        return answer(best, len(runs) - len(able), [run.data.tags for run in able.values()])

    def trials(self, question: Question, metrics: Sequence[str]) -> list[Trial]:
        """All trials of the question's sweep and experiment, in their order, whatever became of them."""
        found = []
        for run in self.search(question, ["tags.`sweeproute.kind` = 'trial'"]):
            finished = run.info.status == "FINISHED" and run.data.tags.get("sweeproute.current") == "true"
            tags = {tag: run.data.tags[tag] for tag in TRIAL_TAGS if tag in run.data.tags}
            scores = {name: run.data.metrics[name] for name in metrics if name in run.data.metrics}
            found.append((run.info.start_time, Trial(run.info.run_id, finished, tags, scores)))
        return in_order(found)

    def run(self, run_id: str) -> FoundRun:
        """One run with all that it holds."""
        return self._found(self.client.get_run(run_id))

    def histories(self, run_ids: Sequence[str]) -> dict[str, dict[str, dict[int, float]]]:
        """Every value of every metric of some runs: by run, name and step; of one step the last that was written."""
        found: dict[str, dict[str, dict[int, float]]] = {}
        for run_id in run_ids:
            metrics = found.setdefault(run_id, {})
            for name in sorted(_own(self.client.get_run(run_id).data.metrics)):
                written = self.client.get_metric_history(run_id, name)
                rows = sorted(written, key=lambda one: (one.step, one.timestamp))
                metrics[name] = {one.step: one.value for one in rows}
        return found

    def sweep_tags(self, sweep: str) -> dict[str, str]:
        """What the sweep's own run says of what the sweep chooses by."""
        question = Question(metric="", maximize=True, sweep=sweep)
        runs = self.search(question, ["tags.`sweeproute.kind` = 'sweep'"])
        return {tag: run.data.tags[tag] for run in runs for tag in RULE_TAGS if tag in run.data.tags}

    def metric_names(self, question: Question) -> list[str]:
        """The metrics that were logged within the question's sweep and experiment."""
        return sorted({name for run in self.search(question, []) for name in _own(run.data.metrics)})

    def states(self, question: Question) -> dict[str, int]:
        """How many trials of the question's sweep and experiment are in which state."""
        counts: dict[str, int] = {}
        for run in self.search(question, ["tags.`sweeproute.kind` = 'trial'"]):
            counts[run.info.status] = counts.get(run.info.status, 0) + 1
        return counts

    def sweeps(self) -> list[tuple[str, str]]:
        """Id and name of every sweep, the newest first."""
        everywhere = Question(metric="", maximize=True)
        runs = self.search(everywhere, ["tags.`sweeproute.kind` = 'sweep'"])
        return [(run.data.tags.get("sweeproute.sweep", ""), run.info.run_name) for run in runs]

    def experiments(self) -> list[str]:
        """The names of the experiments."""
        return sorted(self._experiments.values())

    def search(self, question: Question, conditions: list[str]) -> Iterator["Run"]:
        """The runs of the question's sweep and experiment that meet conditions in MLflow's language, newest first."""
        where = list(conditions)
        if question.sweep is not None:
            quote = '"' if "'" in question.sweep else "'"
            where.append(f"tags.`sweeproute.sweep` = {quote}{question.sweep}{quote}")
        ids = [id for id, name in self._experiments.items() if question.experiment in (None, name)]
        token = None
        while ids:
            page = self.client.search_runs(
                ids,
                " and ".join(where),
                max_results=_PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            yield from (run for run in page if meets(run.data.params, run.data.tags, question.where))
            token = page.token
            if not token:
                return

    @cached_property
    def _experiments(self) -> dict[str, str]:
        found: dict[str, str] = {}
        token = None
        while True:
            page = self.client.search_experiments(max_results=_PAGE, page_token=token)
            found |= {experiment.experiment_id: experiment.name for experiment in page}
            token = page.token
            if not token:
                return found

    def _found(self, run: "Run") -> FoundRun:
        return FoundRun(
            run.info.run_id,
            self._experiments[run.info.experiment_id],
            run.info.artifact_uri,
            dict(run.data.params),
            _own(run.data.metrics),
            dict(run.data.tags),
        )


def _own(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a run without those of its machine."""
    return {name: value for name, value in metrics.items() if not name.startswith(SYSTEM)}


def _tie(run: "Run") -> tuple[str, int, str, str]:
    tags = run.data.tags
    return run.info.run_id, run.info.start_time, tags.get("sweeproute.sweep", ""), tags.get("sweeproute.trial", "")
