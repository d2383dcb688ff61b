"""The settings of the `routed` launcher and the `search` sweeper, as Hydra finds them."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore


@dataclass
class SpecsConf:
    """What a platform has."""

    cpu_cores: int | None = None
    # GB of main memory.
    memory_gb: float | None = None
    # false, true, or the name of the GPU; a size such as "24GB" in it is read as its memory.
    gpu: Any = False
    # Version of the driver's CUDA.
    cuda_version: str | None = None


@dataclass
class PlatformConf:
    """A place with capacity; the field names are those of a hardware registry kept by hand."""

    # For people.
    name: str = ""
    # What it can do, by any names; a job may require some. That jobs there see the folders of sweeps (`sweep_folders`)
    # is known of this machine, and of a cluster, and need not be named.
    capabilities: list[str] = field(default_factory=list)
    specs: SpecsConf = field(default_factory=SpecsConf)
    best_for: list[str] = field(default_factory=list)
    # Slots: jobs that run at the same time.
    max_concurrent_jobs: int = 1
    # joblib (this machine), ssh or slurm (from a login node); null is joblib for the registry's first platform, ssh for
    # the others.
    backend: str | None = None
    # What ssh is given, as in user@box; null for this machine, or for a machine not there yet.
    host: str | None = None
    # Path of an ssh configuration other than ~/.ssh/config.
    ssh_config: str | None = None
    # Python on the platform; null is the one that runs this, or over ssh the one that `sweeproute setup` made.
    python: str | None = None
    # Folder on the far machine for all that is kept there; null is ~/.sweeproute.
    root: str | None = None
    # GB that code and data take there before those go that nobody has used for longest; null is no limit. What jobs
    # need, or was used within a day, stays all the same.
    cache_gb: float | None = 20
    # Whether the far machine sees this one's folders under the same paths, as over a network disk.
    shared_disk: bool = False
    # Of SLURM: the partition, null for the cluster's default.
    partition: str | None = None
    # Minutes that a job may take; null is what the partition allows, a day at most.
    timeout_min: int | None = None
    # Shell lines that run before a job's Python, as in "module load cuda".
    setup: list[str] = field(default_factory=list)
    # More parameters of submitit's SLURM executor, by its names: account, qos, gres, additional_parameters.
    slurm: dict[str, Any] = field(default_factory=dict)
    # How many times faster than normal, by model type; used until durations are measured.
    speed: dict[str, float] = field(default_factory=dict)
    # Overrides that a job gets there; of the keys named in `hydra.launcher.sets` alone.
    overrides: list[str] = field(default_factory=list)


@dataclass
class RegistryConf:
    """The hardware registry: every platform, and the ordered rules that route to them."""

    platforms: dict[str, PlatformConf] = field(default_factory=dict)
    # model_type (or any field), route_to, reason; the first rule that matches decides.
    task_routing_rules: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class RoutedLauncherConf:
    """The launcher that sends each job to the platform that the rules name."""

    _target_: str = "hydra_plugins.sweeproute.launcher.RoutedLauncher"
    # The settings below are data for the launcher, never objects that Hydra should build.
    _recursive_: bool = False
    # Platforms by name, as in RegistryConf; empty is this machine with a slot per core.
    platforms: Any = field(default_factory=dict)
    # Rules in order, as in RegistryConf.
    rules: Any = field(default_factory=list)
    # The platform that this machine is, where the coordinator runs on another one than usual: its jobs run here, and no
    # other platform is used; null is whichever has the backend joblib.
    here: str | None = None
    # Where jobs go that no rule matches; null is the first platform.
    default_platform: str | None = None
    # never, when_faster or always: whether a job goes elsewhere when its platform is full.
    overflow: str = "when_faster"
    # Whether a job that runs slowly is started again on a free slot where it is expected to end first; the first result
    # counts.
    restart_slow: bool = True
    # Attempts at a job whose machine or worker failed.
    max_attempts: int = 3
    # Whether a job whose task raised is tried again, too.
    retry_user_errors: bool = False
    # Key of the app's config for each thing that rules and admission read: platform, priority, memory_gb,
    # gpu_memory_gb, minutes, capabilities (a list of those that its platform has to have), and whatever rules match on.
    fields: dict[str, str] = field(default_factory=dict)
    # Key of the app's config for each thing that a platform settles: device (cpu, cuda), threads.
    # Only keys that the app left null or "auto" are set.
    sets: dict[str, str] = field(default_factory=dict)
    # Dotted path of a function(config) that warms a worker: imports, data.
    preload: str | None = None
    # Dotted path of a function(config) that raises where a composed config cannot run.
    validate: str | None = None
    # Dotted path of a function(capability) that says, as a clause, why this machine lacks it; None where it does not.
    lacks: str | None = None
    # Dotted path of a function(config) to a dict of hashes (fingerprint, code_hash, data_hash).
    identity: str | None = None
    # Dotted path of a function(config, rule) that raises where no sweep may begin, or go on, with this config; asked
    # before anything runs, for one job of each choice of groups, and not for a plan. The rule says what the sweep
    # chooses by: metric, direction, repeats; its id as `sweep`, and whether it goes on as `resumed`. Of one that is to
    # run on another machine it is asked here, too, before anything is sent: `on` then names the platform.
    admit: str | None = None
    # Dotted path of a function(launch records, rule, config) to lists of overrides: of further jobs, by which nothing
    # is chosen. They run where all others have ended well; `failed` in the rule says that one has not. It is asked
    # again when they have ended, with their records as `followed` in the rule, until it names no new one.
    follow_up: str | None = None
    # Dotted path of a function(jobs, rule) that says before anything has run what `follow_up` will call for: plans and
    # estimates ask it. A job is a mapping: its overrides, and the config of one of its choice of groups. It gives a
    # list of mappings: round, 1 for what starts when the sweep's own jobs have ended, 2 for what waits for that; says,
    # a sentence; jobs, overrides of as many as there may be, and where that hangs on the results of some that could be.
    foresee: str | None = None
    # Keys of the app's config that name files which a job reads: a far machine gets them by their content.
    files: list[str] = field(default_factory=list)
    # Minutes of silence after which what runs on a far machine counts as lost, and is run again.
    lost_after_min: float = 30
    # Run one job in this process, so that a debugger stops in it.
    debug: bool = False
    # Say what would run where, write plan.json into the sweep's folder, and run nothing.
    dry_run: bool = False
    # A command, as a string or a list, that runs when a sweep finishes, fails or loses a platform: the facts are in its
    # environment (SWEEP_EVENT and others) and, as JSON, on its input. No shell reads it.
    notify: Any = None
    # Path of a plan.json: its jobs run, each where it is planned, elsewhere only while that platform is not there.
    plan: str | None = None
    # When the sweep has to have ended, as in 2026-11-25T18:00 or 2026-11-25 (the end of that day): a plan warns of it.
    deadline: str | None = None
    # The local backend's, of hydra-joblib-launcher's own class: n_jobs (-1: the platform's slots), temp_folder.
    # Kept as a mapping: Hydra's scan may run that plugin's module after this one, and then its class is another.
    joblib: dict[str, Any] = field(default_factory=lambda: {"n_jobs": -1, "temp_folder": None})


@dataclass
class SearchSweeperConf:
    """The sweeper that asks for the next trial when a slot is free."""

    _target_: str = "hydra_plugins.sweeproute.sweeper.SearchSweeper"
    _recursive_: bool = False
    # How the next trial is chosen: grid, random, tpe, cmaes, qmc, nsga or gp.
    sampler: str = "grid"
    # The sampler's own options, by the names of Optuna's constructor, as in {n_startup_trials: 20}.
    sampler_options: Any = None
    # Options of groups that a sampler searches under, where the command line chooses none of that group, as in
    # search_space={search_space}_ranges: that of the option that the config has; one that is not there is left out.
    sampler_defaults: list[str] = field(default_factory=list)
    # What ends a trial without prospects early: none, median, halving, hyperband or wilcoxon.
    pruner: str = "none"
    # The pruner's own options, by the names of Optuna's constructor, as in {n_warmup_steps: 2}.
    pruner_options: Any = None
    # Distinct points that a sampler has run in all, shared equally by the spaces of a sweep; null for no limit.
    n_trials: int | None = None
    # Minutes after which no further point is proposed, counted anew by each start; null for no limit.
    timeout_min: float | None = None
    # Seed of the sampler.
    seed: int = 0
    # Jobs that a sampler sends ahead to a machine with a queue of its own; null is as many as it has slots.
    ask_ahead: int | None = None
    # Points that a sampler begins with: a mapping of keys to values, `defaults`, or `best:SWEEP` for an earlier one's.
    enqueue: list[Any] = field(default_factory=list)
    # URL of a database for the studies, as Optuna takes it; null keeps them in the sweep's folder.
    storage: str | None = None
    # Key of the app's config under which a search space lies, a mapping of dotted key to values; null for none.
    space: str | None = None
    # Key of the app's config under which the space's constraints lie, a list of expressions; null for none.
    constraints: str | None = None
    # Key of the app's config that declares along which axis of a grid one fit serves several points, a mapping of `key`
    # and `when`; null for none.
    prefix: str | None = None
    # Keys whose values are repeats of one configuration, as seeds are: every point is run under each of them, and no
    # sampler searches over them.
    repeats: list[str] = field(default_factory=list)
    # Keys of the app's config that are the sweep's, as those of what is made of its results: no part of its jobs.
    apart: list[str] = field(default_factory=list)
    # Axes of every sweep, as in Hydra's basic sweeper: dotted key to a sweep expression.
    params: dict[str, Any] | None = None
    # Path of a JSON file with the overrides of each job, a list of lists of words: these run as they stand, and neither
    # space nor sampler adds to them. What the command line says besides is of the sweep, and not of its jobs.
    jobs: str | None = None
    # Metric of the task's result that decides, where the result is a mapping; a list for several objectives.
    metric: Any = None
    # maximize or minimize; null follows from the metric. A list for several objectives.
    direction: Any = None
    # Jobs handed over at a time; null is all of a grid, and of a sampler as many as the launcher runs at once.
    max_batch_size: int | None = None
    # false, true, keep or rerun: go on with the newest unfinished sweep of the same overrides.
    resume: Any = False
    # Take the result of a finished job of the same fingerprint from an earlier sweep instead of running it again.
    reuse: bool = False
    # Identifier, name and note of the sweep; the identifier is made from the time when null.
    id: str | None = None
    name: str | None = None
    note: str | None = None


def register() -> None:
    """Store the settings under the names that users select them by."""
    store = ConfigStore.instance()
    store.store(group="hydra/launcher", name="routed", node=RoutedLauncherConf, provider="sweeproute")
    store.store(group="hydra/sweeper", name="search", node=SearchSweeperConf, provider="sweeproute")
    store.store(group="sweeproute", name="registry", node=RegistryConf, provider="sweeproute")


register()
