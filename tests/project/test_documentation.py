"""What the code can do and what the README says must be the same."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from recon import __version__
from recon.cli import cli
from recon.config.settings import Config
from recon.core.limits import Limits
from recon.errors import ExitCode
from recon.system.resources import sql_root

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(group: click.Group) -> dict[str, click.Command]:
    """Return every command by its words: `run`, `mapping new`."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        inner = commands(command) if isinstance(command, click.Group) else {"": command}
        found |= {f"{name} {within}".strip(): one for within, one in inner.items()}
    return found


EVERY_COMMAND = commands(cli)
COMMANDS = sorted(EVERY_COMMAND)


def table(first_column: str) -> list[list[str]]:
    """Return the rows of the README's table whose first column is called so."""
    lines = README.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def options(command: click.Command) -> set[str]:
    return {
        text
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for text in (*parameter.opts, *parameter.secondary_opts)
    }


def arguments(command: click.Command) -> list[str]:
    found = [each for each in command.params if isinstance(each, click.Argument)]
    return [each.metavar or str(each.name).upper() for each in found]


def documented_options() -> dict[str, set[str]]:
    """Return the options that the README's table gives each command."""
    found: dict[str, set[str]] = {name: set() for name in COMMANDS}
    for names, of, _does in table("option"):
        commands = COMMANDS if of == "all" else [name.strip() for name in of.split(",")]
        for command in commands:
            found.setdefault(command, set()).update(re.findall(r"--?[a-z-]+", names))
    return found


def test_every_command_is_documented_and_no_other() -> None:
    named = [cell.strip("`").removeprefix("recon ") for cell, _ in table("command")]
    typed = [" ".join([name, *arguments(EVERY_COMMAND[name])]) for name in COMMANDS]
    assert sorted(named) == sorted(typed)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_with_its_command(name: str) -> None:
    of_all = {"-h", "--help"}
    assert documented_options()[name] - of_all == options(EVERY_COMMAND[name])


def test_the_options_of_the_program_itself_are_documented() -> None:
    assert documented_options()["recon"] == options(cli)


def test_every_exit_code_is_documented_and_no_other() -> None:
    assert [int(code) for code, _ in table("exit code")] == [int(code) for code in ExitCode]


def test_every_key_of_the_configuration_is_documented_and_no_other() -> None:
    documented = [row[0].strip("`") for row in table("key") if "." in row[0]]
    assert sorted(documented) == sorted(keys(Config) - {"path"})


def test_every_default_is_the_documented_one() -> None:
    stated = {row[0].strip("`"): row[1] for row in table("key") if "." in row[0]}
    for key, value in defaults(Config).items():
        for shown in value:
            assert f"`{shown}`" in stated[key], f"{key}: {stated[key]}, and not {shown}"


def test_every_limit_is_documented_with_its_default() -> None:
    stated = {row[0].strip("`"): row[1].strip("`") for row in table("limit")}
    assert stated == {one.name: f"{one.default:_}" for one in fields(Limits)}


def test_every_shipped_mapping_is_documented() -> None:
    for folder in (sql_root() / "mappings").iterdir():
        if folder.is_dir():
            assert f'mapping = "{folder.name}"' in README


def test_the_version_is_the_same_everywhere() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[([^\]]+)\]", changelog, re.MULTILINE)[0] == __version__
    said = CliRunner().invoke(cli, ["--version"]).output
    assert __version__ in said
    assert "version" in _project()["dynamic"], "it is read from recon/__init__.py"


def test_every_dependency_has_its_reason_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    project = _project()
    extra = [each for group in project["optional-dependencies"].values() for each in group]
    for requirement in (*project["dependencies"], *extra):
        name = re.split(r"[<>=\[ ]", requirement)[0]
        assert re.search(rf"^\| {re.escape(name)}( \(extra\))? \|", changelog, re.MULTILINE), name


def models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a field's annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in {Annotated, Union, UnionType, tuple}:
        return [model for part in get_args(annotation) for model in models(part)]
    return []


def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Return each key as a user would write it, sections joined by dots."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        inner = models(field.annotation)
        found |= {key for one in inner for key in keys(one, f"{prefix}{name}.")}
        found |= set() if inner else {f"{prefix}{name}"}
    return found


def defaults(model: type[BaseModel], prefix: str = "") -> dict[str, set[str]]:
    """Return the defaults that are single values, by key: an account's may differ by venue."""
    found: dict[str, set[str]] = {}
    for name, field in model.model_fields.items():
        for one in models(field.annotation):
            for key, values in defaults(one, f"{prefix}{name}.").items():
                found.setdefault(key, set()).update(values)
        is_single = not models(field.annotation) and not isinstance(field.default, tuple)
        if is_single and not field.is_required() and not field.default_factory and field.default:
            found.setdefault(f"{prefix}{name}", set()).add(str(field.default))
    return found


def _project() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project: dict[str, Any] = tomllib.loads(text)["project"]
    return project
