"""The software bill of materials of a layer, as CycloneDX, and the file NOTICE.

``build_layers`` writes the bill beside each layer: ``build/layers/dependencies-arm64.cdx.json``. The same layer has the
same bill: it holds no date, and its serial number is made of its content.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from uuid import UUID, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

from infra.assets import ROOT
from promptmill import __version__

NOTICE = ROOT / "NOTICE"
_REQUIREMENTS = tuple(ROOT / "layers" / layer / "requirements.txt" for layer in ("dependencies", "tables", "ner"))
_NAMESPACE = UUID("5b1ff7f6-6d3e-4b63-9a5b-0b8f7d0c4a11")
_MAX_LICENCE = 60
"""Longer than any name of a licence: some packages put the whole text there."""
_TITLE = "License :: OSI Approved :: "
_HEAD = """Promptmill

Promptmill is licensed under the Apache License 2.0 (see LICENSE). Its Lambda layers hold the packages below, unchanged
but for tests and headers that are left out; each lies there with its own licence and notices (*.dist-info). `make
notice` writes this list from what is installed.

"""


@dataclass(frozen=True, order=True)
class Part:
    """A package of a layer, with its licence (an SPDX expression or a name) and authors as its own metadata states them."""

    name: str
    version: str
    licence: str
    authors: str


def parts_in(folder: Path) -> list[Part]:
    """Return the packages that are unpacked in ``folder``."""
    return sorted(_part(found) for found in distributions(path=[str(folder)]))


def required_parts() -> list[Part]:
    """Return the packages of all layers, as this environment has them. ``make install ner`` installs them."""
    return sorted({_part(distribution(name)) for name in _required()})


def write_bill(layer: Path, digest: str) -> Path:
    """Write the bill of one built layer beside it, and return its path. ``digest`` is the SHA-256 of its content."""
    components = [_component(part) for part in parts_in(layer / "python")]
    whole = Component(
        name=f"promptmill-{layer.name}",
        version=__version__,
        type=ComponentType.PLATFORM,
        bom_ref=layer.name,
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    bill = Bom(serial_number=uuid5(_NAMESPACE, digest), components=components)
    bill.metadata.component = whole
    bill.register_dependency(whole, components)
    path = layer.with_name(f"{layer.name}.cdx.json")
    written = json.loads(JsonV1Dot6(bill).output_as_string())
    del written["metadata"]["timestamp"]  # the same layer has the same bill
    path.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    return path


def notice(parts: Iterable[Part]) -> str:
    """Return the text of NOTICE. It names no versions: those are in the requirement files and in the bills."""
    return _HEAD + "".join(f"{part.name}: {part.licence}; {part.authors}\n" for part in parts)


def _component(part: Part) -> Component:
    where = PackageURL("pypi", name=part.name, version=part.version)
    return Component(
        name=part.name,
        version=part.version,
        type=ComponentType.LIBRARY,
        purl=where,
        bom_ref=str(where),
        licenses=[LicenseFactory().make_from_string(part.licence)],
    )


def _part(found: Distribution) -> Part:
    name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
    authors = _field(found, "Author") or _field(found, "Author-email") or _field(found, "Maintainer-email") or name
    return Part(
        name=name,
        version=found.version,
        licence=_licence(found),
        authors=", ".join(person.partition("<")[0].strip(' "') for person in authors.split(",")),
    )


def _licence(found: Distribution) -> str:
    """Return the licence by the newest of its fields: an expression, a name, or the classifiers."""
    stated = _field(found, "License-Expression") or _field(found, "License")
    if stated and len(stated) <= _MAX_LICENCE and "\n" not in stated:
        return stated
    classifiers = found.metadata.get_all("Classifier") or ()
    return " AND ".join(sorted(c.removeprefix(_TITLE) for c in classifiers if c.startswith(_TITLE))) or "unknown"


def _field(found: Distribution, name: str) -> str:
    return next(iter(found.metadata.get_all(name) or ()), "")


def _required() -> Iterator[str]:
    for file in _REQUIREMENTS:
        for line in file.read_text().splitlines():
            if "==" in line:
                requirement = Requirement(line.rstrip(" \\"))
                if requirement.marker is None or requirement.marker.evaluate():
                    yield requirement.name


def main() -> int:
    NOTICE.write_text(notice(required_parts()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
