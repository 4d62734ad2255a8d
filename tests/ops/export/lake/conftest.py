"""A small lake, made once for all tests here; tests that change it copy it first."""

from pathlib import Path

import pytest

from tests.harness.lake_values import Trade, small_lake

Small = tuple[Path, dict[str, list[Trade]]]


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The lake of three recorders (see lake_values.small_lake), and what each stored."""
    folder = tmp_path_factory.mktemp("small") / "lake"
    return folder, small_lake(str(folder))
