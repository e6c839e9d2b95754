"""Write a Flex document as IBKR does: the other way round from `connectors.ibkr_flex.statement`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from connectors.ibkr_flex.statement import Row

Sections = Mapping[str, Iterable[Row]]


def document(*statements: tuple[Mapping[str, str], Sections]) -> str:
    """Return the document of these statements, each its attributes and its sections.

    A row that has its section's own name is the section itself, with attributes and without rows.
    """
    root = Element("FlexQueryResponse", queryName="recon", type="AF")
    listed = SubElement(root, "FlexStatements", count=str(len(statements)))
    for attributes, sections in statements:
        statement = SubElement(listed, "FlexStatement", dict(attributes))
        for name, rows in sections.items():
            _write(statement, name, list(rows))
    indent(root, space="")
    return tostring(root, encoding="unicode")


def _write(statement: Element, name: str, rows: Sequence[Row]) -> None:
    section = SubElement(statement, name)
    for tag, attributes in rows:
        if tag == name:
            section.attrib.update(attributes)
        else:
            SubElement(section, tag, attributes)
