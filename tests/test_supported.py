"""The page of what is supported says what the package declares and what CI tries."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGE = (ROOT / "docs" / "reference" / "supported.md").read_text()


def declared() -> list[tuple[str, str, str, str]]:
    extras = PROJECT["optional-dependencies"]
    groups = {"chaospoint": PROJECT["dependencies"]}
    groups |= {f"`chaospoint[{extra}]`": extras[extra] for extra in extras}
    return [
        (group, one.name, bounds(one, ">="), bounds(one, "!="))
        for group, requirements in groups.items()
        for one in map(Requirement, requirements)
    ]


def bounds(requirement: Requirement, operator: str) -> str:
    return ", ".join(
        sorted(
            (one.version for one in requirement.specifier if one.operator == operator), key=Version
        )
    )


def told() -> list[tuple[str, str, str, str]]:
    rows, group = [], ""
    for line in PAGE.partition("| needed by |")[2].partition("\n\n")[0].splitlines()[2:]:
        needed_by, package, oldest, but = (cell.strip() for cell in line.strip("|").split("|"))
        group = needed_by or group
        rows.append((group, package, oldest, but))
    return rows


def test_the_packages_are_those_that_are_declared() -> None:
    assert told() == declared()


def test_the_versions_of_python_are_those_of_the_classifiers_and_of_ci() -> None:
    versions = re.findall(r"Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    assert f"| CPython | {', '.join(versions)} |" in PAGE
    script = (ROOT / ".ci" / "run").read_text()
    found = re.findall(r'^(?:OLDEST|NEWEST|NEWER|BETWEEN)="?([\d. ]+)', script, re.M)
    oldest, newest, newer, between = found
    assert [oldest, *between.split(), newer, newest] == versions
