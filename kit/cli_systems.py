"""What is done with systems that are not only this project's base and tuned: asked elsewhere, compared."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli_words import HERE, Overrides, Root, console, errors, say, warn


def answer(
    overrides: Overrides = None,
    project: Root = HERE,
    *,
    base_url: Annotated[str, typer.Option(help="The endpoint, such as http://localhost:8000/v1.")],
    model: Annotated[str, typer.Option(help="The model's name there.")],
    out: Annotated[Path, typer.Option(help="The file of answers; one that was begun is gone on with.")],
    api_key_env: Annotated[
        str | None, typer.Option(help="The environment variable that holds the key.")
    ] = None,
    request: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=JSON", help="Sent along, such as temperature=0; may be repeated."),
    ] = None,
    num_concurrent: Annotated[int, typer.Option(min=1, max=256, help="Prompts asked at once.")] = 4,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to a whole answer.")] = 120.0,
    retries: Annotated[int, typer.Option(min=0, help="How often a prompt is asked again.")] = 5,
    max_prompts: Annotated[int | None, typer.Option(min=1, help="At most so many prompts.")] = None,
    answers: Annotated[
        int, typer.Option(min=1, help="Answers to each prompt; several need a temperature.")
    ] = 1,
) -> None:
    """Answer the held-out prompts with a model that is served elsewhere, for `casekit compare`."""
    from kit import pipeline
    from kit.config import load_config
    from kit.evaluate.endpoint import Endpoint, parse_request

    loaded = load_config(project, overrides or [])
    asked = {"temperature": 0, "max_tokens": loaded.config.evaluate.max_new_tokens}
    endpoint = Endpoint(
        model=model,
        base_url=base_url,
        api_key_env=api_key_env,
        request=asked | parse_request(request or []),
        timeout=timeout,
        retries=retries,
        num_concurrent=num_concurrent,
        who=f"model {model!r}",
        named=lambda key: f"--{key.replace('_', '-')}",
        again="casekit answer",
    )
    count, empty = pipeline.answer(loaded, endpoint, out, max_prompts, answers)
    say("answers", out)
    if empty:
        errors.print(f"{empty} of {count} replies held no text and count as empty answers", style="yellow")


def compare(
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C…]", help="Files of answers, evaluations or runs (`ID:base`: its base)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The report's folder.")],
    settings: Annotated[
        Path | None, typer.Option("--config", help="Metrics and gates, instead of the project's.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="A metric, instead of a file; may be repeated.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="With --metric: the policy of those that need one.")
    ] = None,
    project: Root = HERE,
) -> None:
    """Hold systems that answered the same prompts against the first of them; the exit code is the verdict."""
    from kit import pipeline
    from kit.evaluate.comparison import comparison_settings
    from kit.terminal import comparison

    config, root = comparison_settings(project, settings, metric or [], policy)
    result = pipeline.compare(config, root, systems, out, project, warn)
    console.print(comparison(result.folder))
    say("report", result.folder / "report.html")
    raise typer.Exit(int(result.exit_code))
