"""The bill of materials is judged by CycloneDX's own schema, the list of licences by what the packages say of themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra.sbom import NOTICE, notice, parts_in, required_parts, write_bill

PERMISSIVE = ("0BSD", "Apache", "BSD", "CC-BY-4.0", "CC0-1.0", "MIT", "PSF", "Zlib")
"""Beginnings of the licences that layers may hold: none asks that those who deploy them publish their own code."""
METADATA = "Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{licence}Author: Ann\n\n"


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    layer = tmp_path / "dependencies-arm64"
    _install(layer, "Zeta.lib", "2.0", "License-Expression: MIT OR Apache-2.0\n")
    _install(
        layer,
        "alpha",
        "1.0",
        "License: " + "a whole text " * 20 + "\nClassifier: License :: OSI Approved :: MIT License\n",
    )
    return layer


def _install(layer: Path, name: str, version: str, licence: str) -> None:
    folder = layer / "python" / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(METADATA.format(name=name, version=version, licence=licence))


def test_bill_fits_the_schema_of_cyclonedx(layer: Path) -> None:
    bill = write_bill(layer, "a" * 64)
    assert bill.name == "dependencies-arm64.cdx.json"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.read_text()) is None


def test_bill_lists_each_package_with_its_licence(layer: Path) -> None:
    components = json.loads(write_bill(layer, "a" * 64).read_text())["components"]
    assert [(c["purl"], c["licenses"]) for c in components] == [
        ("pkg:pypi/alpha@1.0", [{"license": {"name": "MIT License"}}]),
        ("pkg:pypi/zeta-lib@2.0", [{"expression": "MIT OR Apache-2.0"}]),
    ]


def test_same_layer_has_the_same_bill(layer: Path) -> None:
    first = write_bill(layer, "a" * 64).read_bytes()
    assert write_bill(layer, "a" * 64).read_bytes() == first
    assert write_bill(layer, "b" * 64).read_bytes() != first


def test_notice_names_every_package_of_the_layers() -> None:
    written = NOTICE.read_text().splitlines()
    assert [line for line in notice(required_parts()).splitlines() if line not in written] == []


def test_layers_hold_permissive_licences_only() -> None:
    for part in required_parts():
        names = part.licence.replace(" OR ", " AND ").split(" AND ")
        assert all(name.startswith(PERMISSIVE) for name in names), part


def test_package_without_a_licence_is_called_unknown(tmp_path: Path) -> None:
    _install(tmp_path, "bare", "1.0", "")
    assert [part.licence for part in parts_in(tmp_path / "python")] == ["unknown"]
