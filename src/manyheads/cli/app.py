"""The commands, their options, and how errors become exit codes."""

from __future__ import annotations

import io
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from manyheads import __version__
from manyheads.cli.streams import outliving_readers
from manyheads.errors import ManyheadsError, Problem, RecipeError, ResourceError

app = typer.Typer(
    name="manyheads",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train one encoder on many tasks, and answer for all of them in one pass.",
    epilog="Exit codes: 0 done, 1 a bug, 2 usage or recipe, 3 data, 4 missing extra, 5 artefact, 6 numbers, 7 memory or disk, "
    "75 interrupted but saved, 130 Ctrl-C.",
)

_CTRL_C = 130  # what typer makes of KeyboardInterrupt, and shells of SIGINT

RecipePath = Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="key.path=value; overrides the recipe.", metavar="[KEY=VALUE]...", show_default=False)
]
ArtefactPath = Annotated[Path, typer.Argument(help="The folder that training left, or its run.", show_default=False)]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="A Python file whose components the recipe names; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"manyheads {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""
    os.environ["MANYHEADS_DEBUG"] = "1" if debug or os.environ.get("MANYHEADS_DEBUG") == "1" else "0"


@app.command()
def init(
    files: Annotated[list[Path], typer.Argument(help="Data files: a task each, or one for its train, dev and test files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the recipe.")] = Path("recipe.yaml"),
    encoder: Annotated[str, typer.Option(help="Pretrained encoder.")] = "minilm",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the recipe.")] = False,
) -> None:
    """Write a commented recipe from data files."""
    from manyheads.cli.drafting import init as command

    command(files, output, encoder, force)


@app.command()
def convert(
    kind: Annotated[str, typer.Argument(help="Whose configuration it is: pytext.", metavar="KIND", show_default=False)],
    file: Annotated[Path, typer.Argument(help="The configuration, a JSON file.", show_default=False)],
    to: Annotated[Path | None, typer.Option("--to", help="Where to write the recipe; default: standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the recipe.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a commented recipe from another system's configuration, and list what it cannot say."""
    from manyheads.cli.converting import convert as command

    command(kind, file, to, force, as_json)


@app.command()
def check(recipe: RecipePath, overrides: Overrides = None, plugin: Plugins = None, as_json: AsJson = False) -> None:
    """Show what training would do: rows, labels, lengths, updates of each task, memory, time. Writes nothing."""
    from manyheads.cli.planning import check as command

    _load(plugin)
    command(recipe, overrides or [], as_json)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A recipe or an artefact.")],
    overrides: Overrides = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Draw tasks, their paths, what they share, and parameters."""
    from manyheads.cli.planning import inspect as command

    _load(plugin)
    command(path, overrides or [], as_json)


@app.command()
def train(
    recipe: RecipePath,
    overrides: Overrides = None,
    plugin: Plugins = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Refuse to continue an earlier run.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train, or continue where the last run of this recipe stopped."""
    from manyheads.cli.training import train as command

    _load(plugin)
    command(recipe, overrides or [], fresh, as_json)


@app.command()
def evaluate(
    artefact: ArtefactPath,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", "-d", help="task=file, or task:format=file; default: the recipe's dev and test rows."),
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="A folder for the answers to the recipe's dev and test rows.")
    ] = None,
    glue: Annotated[Path | None, typer.Option("--glue", help="A folder for the files that the GLUE server takes.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Score a trained model, and write down its answers."""
    from manyheads.cli.scoring import evaluate as command

    _load(plugin)
    command(artefact, data or [], predictions, glue, as_json)


@app.command()
def predict(
    artefact: ArtefactPath,
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; without any, lines of --input or of standard input.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--input", "-i", help="A file: plain lines, or JSON lines of text, pair or words; - is stdin."),
    ] = None,
    tasks: Annotated[list[str] | None, typer.Option("--task", "-t", help="Ask this task only; may be repeated.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Answer for texts with all tasks, from one pass through the encoder."""
    from manyheads.cli.predicting import predict as command

    _load(plugin)
    command(artefact, texts or [], source, tasks, as_json)


@app.command()
def embed(
    artefact: ArtefactPath,
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; without any, lines of --input or of standard input.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--input", "-i", help="A file: plain lines, or JSON lines of text; - is stdin.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="The matching task whose vectors they are; default: the only one.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .npy file to write; default: JSON lines on standard output.")
    ] = None,
    plugin: Plugins = None,
) -> None:
    """Give the vectors of texts that a matching task compares."""
    from manyheads.cli.embedding import embed as command

    _load(plugin)
    command(artefact, texts or [], source, task, output)


@app.command()
def export(
    artefact: ArtefactPath,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write: in it, one a task.", show_default=False)],
    tasks: Annotated[list[str] | None, typer.Option("--task", "-t", help="Write this task only; may be repeated.")] = None,
) -> None:
    """Write tasks as folders that plain transformers loads, with equal logits."""
    from manyheads.cli.exporting import export as command

    command(artefact, target, tasks)


@app.command()
def merge(
    artefact: ArtefactPath,
    output: Annotated[Path, typer.Argument(help="A new folder for the merged model.", show_default=False)],
) -> None:
    """Fold adapters into the weights of their encoders, for serving without peft."""
    from manyheads.cli.merging import merge as command

    command(artefact, output)


@app.command()
def recipes(
    name: Annotated[
        str | None, typer.Argument(help="A recipe of the package; without one they are listed.", show_default=False)
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Where to write it; default: standard output.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The folder of its data; default: data, beside it.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the recipe and its plug-in.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the recipes that come with the package, or write one of them."""
    from manyheads.cli.shipping import recipes as command

    command(name, to, data, force, as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes."""
    from manyheads.config.dump import schema_text

    typer.echo(schema_text(), nl=False)


def _load(plugins: list[Path] | None) -> None:
    """Import plug-in files; the commands without one need not wait for what such files build on."""
    if plugins:
        from manyheads.cli.plugging import load

        load(plugins)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with the code of the error, if there is one."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """The exit code of a command; errors are told on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console that lacks a letter shows its number
    with outliving_readers():
        return _run(arguments)


def _run(arguments: list[str] | None) -> int:
    try:
        result: Any = app(args=arguments, prog_name="manyheads", standalone_mode=False)
        sys.stdout.flush()  # here, where a disk that is full can still be told
        if result == _CTRL_C:
            _say("stopped; what was saved before is intact")
        return result if isinstance(result, int) else 0
    except ManyheadsError as error:
        return _tell(error, error)
    except typer.TyperException as error:
        return _tell_usage(error)
    except SystemExit as error:  # so typer hides a broken pipe, which is not standard output: that one ends no command
        if isinstance(error.__context__, OSError):
            return _tell(_resource(error.__context__), error.__context__)
        return error.code if isinstance(error.code, int) else 1
    except (MemoryError, OSError) as error:
        return _tell(_resource(error), error)
    except Exception as error:
        traceback.print_exc()
        _say(f"error: this is a bug of manyheads: {type(error).__name__}: {error}")
        return 1


def _resource(error: MemoryError | OSError) -> ResourceError:
    """What the system refused, in our words, with the file where it names one."""
    if isinstance(error, MemoryError):
        rule = "memory ran out" + (f": {error}" if str(error) else "")
        return ResourceError(Problem(rule, remedy="fewer or shorter texts at a time, or a smaller encoder, need less"))
    rule = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return ResourceError(Problem(f"a file or a connection failed: {rule}"))
    return ResourceError(Problem(rule, str(error.filename)))


def _tell_usage(error: typer.TyperException) -> int:
    context = getattr(error, "ctx", None)
    if context is not None:
        _say(context.get_usage())
    _say(f"error: {error.format_message()}")
    return RecipeError.exit_code


def _tell(error: ManyheadsError, cause: BaseException) -> int:
    """Print an error; `cause` is what was raised, for its traceback."""
    if os.environ.get("MANYHEADS_DEBUG") == "1":
        traceback.print_exception(cause)
    for line in str(error).splitlines() or [type(error).__name__]:
        _say(line if line.startswith("    ") else f"error: {line}")
    return error.exit_code


def _say(line: str) -> None:
    """A line on standard error; on a terminal it takes the place of the progress that stands there."""
    print(f"\r\x1b[K{line}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)
