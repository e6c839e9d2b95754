"""What the code can do and what the documentation says must be the same."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from docs._generate.reference import (
    command_reference,
    commands,
    configuration,
    configuration_reference,
    descriptions,
    expand,
)
from recon import __version__
from recon.cli import cli
from recon.config.settings import Config
from recon.core.limits import Limits
from recon.core.records import Cause
from recon.errors import ExitCode
from recon.system.resources import sql_root
from recon.warehouse.database import Warehouse

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
EVERY_COMMAND = {"": cli, **commands()}
KEYS = {key.name: key for section in configuration() for key in section.keys}


def page(name: str) -> str:
    return expand((DOCS / name).read_text(encoding="utf-8"))


def table(name: str, first_column: str) -> list[list[str]]:
    """Return the rows of a page's table whose first column is called so."""
    lines = page(name).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option)]


def test_every_command_is_documented_and_no_other() -> None:
    headings = re.findall(r"^## recon ?(.*)$", page("reference/cli.md"), re.MULTILINE)
    assert sorted(headings) == sorted(EVERY_COMMAND)


@pytest.mark.parametrize("name", EVERY_COMMAND, ids=lambda name: name or "recon")
def test_every_command_has_a_help_text_and_so_has_each_option(name: str) -> None:
    command = EVERY_COMMAND[name]
    assert command.help
    for option in options(command):
        assert option.help, option.opts


@pytest.mark.parametrize("name", EVERY_COMMAND, ids=lambda name: name or "recon")
def test_every_option_is_in_the_section_of_its_command(name: str) -> None:
    section = f"{command_reference()}\n\n## ".partition(f"## {f'recon {name}'.strip()}\n")[2]
    section = section.partition("\n\n## ")[0]
    documented = set(re.findall(r"(?<![\w-])--?[a-z-]+", section.partition("| option |")[2]))
    for option in options(EVERY_COMMAND[name]):
        assert {*option.opts, *option.secondary_opts} <= documented


def test_a_command_without_a_help_text_would_be_noticed() -> None:
    group = click.Group("recon", commands={"new": click.Command("new")})
    assert [command.help for command in commands(group).values()] == [None]


def test_every_exit_code_is_documented_and_no_other() -> None:
    documented = [int(code) for code, _ in table("reference/cli.md", "exit code")]
    assert documented == [int(code) for code in ExitCode]


def test_every_key_of_the_configuration_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"^\| `([a-z_.]+)` \|", configuration_reference(), re.MULTILINE))
    limits = {f"recon.limits.{one.name}" for one in fields(Limits)}
    assert documented == settable_keys(Config) - {"path", "recon.limits"} | limits


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_a_description(key: str) -> None:
    assert re.search(r"\w.*\.$", KEYS[key].description), f"put a docstring below {key} in its model"


def test_a_key_without_a_description_would_be_noticed() -> None:
    class Section(BaseModel):
        described: int = 1
        """A number."""
        silent: int = 2

    assert "silent" not in descriptions(Section)


def test_every_default_is_the_documented_one() -> None:
    for key, value in defaults(Config).items():
        for shown in value:
            rows = re.findall(rf"^\| `{key}` \|.*$", configuration_reference(), re.MULTILINE)
            assert any(f"`{shown}`" in row for row in rows), f"{key}: {rows}, and not {shown}"


def test_every_limit_is_documented_with_its_default() -> None:
    stated = {row[0].strip("`"): row[1].strip("`") for row in table("reference/limits.md", "limit")}
    assert stated == {one.name: f"{one.default:_}" for one in fields(Limits)}


def test_every_cause_is_documented_and_no_other() -> None:
    rows = table("trader/divergences.md", "cause")
    named = [cause for row in rows for cause in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(get_args(Cause))
    assert all(row[1] for row in rows)


def test_every_shipped_mapping_is_documented() -> None:
    text = page("trader/bot-databases.md")
    for folder in (sql_root() / "mappings").iterdir():
        if folder.is_dir():
            assert f'mapping = "{folder.name}"' in text


def test_a_fill_takes_at_most_24_hops_and_each_name_exists(tmp_path: Path) -> None:
    names = [row[1].strip("`") for row in table("design/walk.md", "hop")]
    assert 0 < len(names) <= 24
    with Warehouse(tmp_path / "warehouse.duckdb") as warehouse:
        for name in names:
            room, _, last = name.rpartition(".")
            if room.startswith(("recon", "connectors")):
                assert hasattr(import_module(room), last), name
            elif room == "raw":
                found = "select 1 from duckdb_views() where schema_name = 'raw' and view_name = ?"
                assert warehouse.rows(found, [last]), name
            else:
                assert last in dict(warehouse.queries(room)), name


def test_every_page_is_in_the_contents_of_its_folder() -> None:
    for path in DOCS.rglob("*.md"):
        is_index = path.name == "index.md"
        contents = path.parent.parent / "index.md" if is_index else path.parent / "index.md"
        name = f"{path.parent.name}/index" if is_index else path.stem
        if path != DOCS / "index.md":
            lines = contents.read_text(encoding="utf-8").splitlines()
            assert name in lines, f"{path}: not in the toctree of {contents}"


@pytest.mark.skipif(find_spec("sphinx") is None, reason="`make docs` installs Sphinx")
def test_the_documentation_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-b", "dummy", "-E", "-W", "--keep-going", "-q"]
    done = subprocess.run(
        [*command, str(DOCS), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


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


def settable_keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    """Return each key as a user would write it, sections joined by dots."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        inner = models(field.annotation)
        found |= {key for one in inner for key in settable_keys(one, f"{prefix}{name}.")}
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
