"""What a comparison measures: by named metrics, a file of settings, or a project's."""

from collections.abc import Sequence
from pathlib import Path

from kit.config import Config, load_config
from kit.config.errors import ConfigError, Problem
from kit.config.layers import PROJECT_FILE, RECIPE_FILE, validate_tree
from kit.config.yaml_lines import load_yaml


def comparison_settings(
    project: Path, file: Path | None, metrics: Sequence[str], policy: Path | None
) -> tuple[Config, Path]:
    """The settings of a comparison, and the folder that paths in them start from.

    Args:
        project: its settings are taken where neither of the others is given.
        file: a YAML file with the sections of a project's, such as `evaluate`, `gates` and `data.slices`.
        metrics: names of metrics, in place of a file; then there are no gates.
        policy: with names of metrics, the policy of those that judge by one.

    Raises:
        ConfigError: more than one is given, or none and there is no project; or the settings are wrong.
    """
    from kit.evaluate.policy_metric import metrics_with_policy

    if file is not None and (metrics or policy):
        hint = "leave --metric and --policy out, or put everything into the file"
        raise ConfigError(Problem("command line: --config", "names the metrics, and so does --metric", hint))
    if policy is not None and not metrics:
        hint = "name the metrics with --metric as well"
        raise ConfigError(Problem("command line: --policy", "belongs to --metric", hint))
    if metrics:
        with_policy = metrics_with_policy(metrics)
        _refuse_unfit(metrics, with_policy, policy)
        given = {} if policy is None else {"policy": str(policy.resolve())}
        uses = [{"name": name, "params": given if name in with_policy else {}} for name in metrics]
        tree = {"evaluate": {"metrics": uses}}
        return validate_tree(tree, {("evaluate", "metrics"): "command line: --metric"}), project
    if file is not None:
        content, lines = load_yaml(file)
        if not isinstance(content, dict | None):
            raise ConfigError(Problem(f"{file}:1", "expected `key: value` lines", "see conf/recipe.yaml"))
        return validate_tree(
            content or {}, {key: f"{file}:{line}" for key, line in lines.items()}
        ), file.parent
    if not any((project / path).is_file() for path in (RECIPE_FILE, PROJECT_FILE)):
        hint = "name metrics with --metric or a file of settings with --config, or go to a project's folder"
        raise ConfigError(
            Problem(str(project), "not a casekit project, so nothing says what to measure", hint)
        )
    return load_config(project).config, project


def _refuse_unfit(metrics: Sequence[str], with_policy: set[str], policy: Path | None) -> None:
    """Metrics that answers alone do not do for, and a policy that is missing, absent or for nothing.

    Raises:
        ConfigError: all of them, at once.
    """
    from kit.evaluate.metrics import not_of_answers

    problems = [
        Problem(
            f"command line: --metric {name}",
            "does not score answers, and a comparison holds nothing else",
            "evaluate a run of a project for it, with `casekit evaluate`",
        )
        for name in metrics
        if not_of_answers(name)
    ]
    needing = [name for name in metrics if name in with_policy and name != _POLICY_IS_OPTIONAL]
    if policy is None and needing:
        hint = "add --policy FILE, such as --policy conf/policy.yaml"
        problems.append(
            Problem(f"command line: --metric {needing[0]}", "judges by a policy, and none is named", hint)
        )
    elif policy is not None and not policy.is_file():
        problems.append(Problem(f"command line: --policy {policy}", "is not there", "name the policy's file"))
    elif policy is not None and not with_policy:
        hint = "leave it out, or name a metric that does, such as violation_rate"
        problems.append(
            Problem(f"command line: --policy {policy}", "no metric named judges by a policy", hint)
        )
    if problems:
        raise ConfigError(problems)


_POLICY_IS_OPTIONAL = "contradiction"
