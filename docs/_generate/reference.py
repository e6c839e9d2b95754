"""The reference in Markdown: commands from click, configuration keys from the pydantic models.

A page of the reference has a line `<!-- generated: NAME -->`; `expand` puts the generated text in
its place. The descriptions of keys are the docstrings below the models' attributes.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from datetime import date, time
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import click
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from recon.bot_databases.mapping_rules import FUNCTIONS
from recon.cli import cli
from recon.config.settings import Config
from recon.core.limits import Limits

TYPES: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    Decimal: "number",
    date: "date",
    time: "time of day",
    Path: "path",
    SecretStr: "[secret](../server/secrets.md)",
}
BOUNDS = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}


class Key(NamedTuple):
    """One configuration key: its full name, and what a user may write."""

    name: str
    type: str
    default: str
    description: str


class Section(NamedTuple):
    """One table of `recon.toml`, as one model describes it."""

    title: str
    intro: str
    keys: tuple[Key, ...]


def expand(page: str) -> str:
    """Return a page with its generated parts in place."""
    return re.sub(
        r"^<!-- generated: (\w+) -->$", lambda m: GENERATORS[m[1]](), page, flags=re.MULTILINE
    )


def commands(group: click.Group = cli, prefix: str = "") -> dict[str, click.Command]:
    """Return every command by its words, such as `run` and `mapping new`."""
    found: dict[str, click.Command] = {}
    for name, command in sorted(group.commands.items()):
        words = f"{prefix}{name}"
        if isinstance(command, click.Group):
            found |= commands(command, f"{words} ")
        else:
            found[words] = command
    return found


def command_reference() -> str:
    """Return a table of all commands, then a section for each with its options."""
    parts = ["| command | does |\n|---|---|"]
    for name, command in commands().items():
        link = f"#recon-{name.replace(' ', '-')}"
        parts[0] += f"\n| [`recon {name}`]({link}) | {_cell(_paragraphs(command)[0])} |"
    parts += [_command("recon", cli)]
    parts += [_command(f"recon {name}", command) for name, command in commands().items()]
    return "\n\n".join(parts)


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = [f"## {name}", *_paragraphs(command), f"```text\n{usage}\n```"]
    rows = ["| option | does |", "|---|---|"]
    for option in command.params:
        if isinstance(option, click.Option):
            names, text = option.get_help_record(context) or ("", "")
            rows.append(f"| `{_cell(names)}` | {_cell(_escaped(text))} |")
    return "\n\n".join([*lines, "\n".join(rows)])


def _paragraphs(command: click.Command) -> list[str]:
    """Return the help of a command as paragraphs of one line each."""
    text = inspect.cleandoc(command.help or "").replace("\b", "")
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def configuration() -> Iterator[Section]:
    """Yield every section of `recon.toml` with its keys, in the order of the models."""
    yield from _sections(Config, "", is_list=False)


def configuration_reference() -> str:
    """Return a table for each section of `recon.toml`."""
    parts = []
    for section in configuration():
        rows = ["| key | type | default | description |", "|---|---|---|---|"]
        for key in section.keys:
            cells = (f"`{key.name}`", key.type, key.default, key.description)
            rows.append(f"| {' | '.join(map(_cell, cells))} |")
        parts.append("\n\n".join([f"## {section.title}", section.intro, "\n".join(rows)]))
    return "\n\n".join(parts)


def limits_reference() -> str:
    """Return the table of the limits on a bot database."""
    rows = [f"| `{key.name}` | {key.default} | {key.description} |" for key in _limits("")]
    return "\n".join(["| limit | default | bounds |", "|---|---|---|", *rows])


def functions_reference() -> str:
    """Return the DuckDB functions that a mapping may call."""
    names = sorted(name for name in FUNCTIONS if name.isidentifier() and name[0] != "_")
    operators = sorted(FUNCTIONS - set(names))
    listed = f"{' '.join(names)}\n\n{' '.join(operators)}"
    wrapped = [textwrap.fill(part, 96) for part in listed.split("\n\n")]
    return "```text\n" + "\n\n".join(wrapped) + "\n```"


def _sections(model: type[BaseModel], prefix: str, *, is_list: bool) -> Iterator[Section]:
    """Yield the section of one model, then those of the models below it."""
    own: list[Key] = []
    below: list[Section] = []
    inherited = _base(model).model_fields.keys() - inspect.get_annotations(model).keys()
    for name, field in model.model_fields.items():
        table = f"{prefix}{name}."
        if name in inherited or (model is Config and name == "path"):  # the file's own path
            continue
        if field.annotation is Limits:
            below.append(Section(f"[{prefix}{name}]", _intro(Limits), tuple(_limits(table))))
        elif inner := models(field.annotation):
            is_each = get_origin(field.annotation) is tuple
            shared = dict.fromkeys(base for base in map(_base, inner) if base.model_fields)
            for one in (*shared, *inner):
                below += _sections(one, table, is_list=is_each)
        elif _is_settable(field):
            own.append(_key(model, name, field, prefix))
    if own:
        yield Section(_title(model, prefix, is_list=is_list), _intro(model), tuple(own))
    yield from below


def _base(model: type[BaseModel]) -> type[BaseModel]:
    """Return the model that this one extends: what several models share has its own section."""
    base = model.__bases__[0]
    return base if issubclass(base, BaseModel) else BaseModel


def _is_settable(field: FieldInfo) -> bool:
    """Return whether a user can write anything other than the default."""
    return field.annotation is not NoneType and get_args(field.annotation) != (False,)


def _title(model: type[BaseModel], prefix: str, *, is_list: bool) -> str:
    table = f"[{prefix.rstrip('.')}]"
    venue = model.model_fields.get("venue")
    of = ""
    if venue is not None:
        words = get_args(venue.annotation)
        of = f", venue {words[0]}" if words else ", a ccxt venue"
    return (f"[{table}]" if is_list else table) + of


def _intro(model: type) -> str:
    return inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def _key(model: type[BaseModel], name: str, field: FieldInfo, prefix: str) -> Key:
    kind = _type(field.annotation)
    bounds = [
        f"{sign} {getattr(one, attribute)}"
        for one in field.metadata
        for bound, (attribute, sign) in BOUNDS.items()
        if isinstance(one, bound)
    ]
    if bounds:
        kind = f"{kind} ({', '.join(bounds)})"
    return Key(f"{prefix}{name}", kind, _default(field), descriptions(model).get(name, ""))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value == ():
        return ""
    if isinstance(value, tuple):
        return f"`[{', '.join(repr(one) for one in value)}]`".replace("'", '"')
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _limits(prefix: str) -> Iterator[Key]:
    described = descriptions(Limits)
    for one in fields(Limits):
        text = described.get(one.name, "")
        yield Key(f"{prefix}{one.name}", "whole number (≥ 1)", f"`{one.default:_}`", text)


def models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a field's annotation is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in {Annotated, Union, UnionType, tuple}:
        return [model for part in get_args(annotation) for model in models(part)]
    return []


def _type(annotation: Any) -> str:
    """Return the words for what a user writes."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{_toml_text(part)}`" for part in parts)
    if origin is Annotated:
        return _type(parts[0])
    if origin is tuple:
        return f"list: {_type(parts[0])}"
    if origin in {Union, UnionType}:
        return " or ".join(_type(part) for part in parts if part is not NoneType)
    return TYPES.get(annotation, "table")


def _toml_text(value: object) -> str:
    """Return a value as TOML writes it."""
    return str(value).lower() if isinstance(value, bool) else f'"{value}"'


def descriptions(model: type) -> dict[str, str]:
    """Return the docstrings below a class's attributes, its bases' included."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if (path := getattr(inspect.getmodule(one), "__file__", None)) is not None:
            found |= _described(path).get(one.__name__, {})
    return found


@cache
def _described(path: str) -> dict[str, dict[str, str]]:
    """Return the docstrings below the attributes of each class of a source file."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return {each.name: dict(_attributes(each.body)) for each in classes}


def _attributes(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(body):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(docstring))),
            ):
                yield name, " ".join(docstring.split())
            case _:
                pass


def _escaped(text: str) -> str:
    """Return text in which Markdown reads no emphasis, link or HTML."""
    return re.sub(r"([\[\]<>*_])", r"\\\1", text)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


GENERATORS = {
    "commands": command_reference,
    "configuration": configuration_reference,
    "limits": limits_reference,
    "functions": functions_reference,
}
