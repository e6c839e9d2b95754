"""The JSON schema in the documentation equals the schema of the code."""

from __future__ import annotations

import json
from pathlib import Path

from recon.report.schema import json_schema

KEPT = Path(__file__).resolve().parents[2] / "docs" / "data" / "document-schema.json"


def test_the_documentation_has_the_schema_of_the_code() -> None:
    """Renew it with: recon schema > docs/data/document-schema.json."""
    assert json.loads(KEPT.read_text(encoding="utf-8")) == json_schema()


def test_every_part_of_the_document_forbids_other_keys() -> None:
    parts = [json_schema(), *json_schema()["$defs"].values()]
    assert all(part["additionalProperties"] is False for part in parts)
    assert set(json_schema()["properties"]) == {
        "schema", "run", "as_of", "status", "accounts", "bots", "restatements", "findings",
        "violations", "breaks", "journal", "pages",
    }  # fmt: skip
