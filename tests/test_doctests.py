"""Every example in a docstring is run. Oracle: what the docstring says."""

import doctest
import importlib
import pkgutil

import pytest

import distill
import filters
import flows
import generators
import limbeck

PACKAGES = (limbeck, generators, filters, distill, flows)
NOT_IMPORTED = {"limbeck.__main__"}  # importing it runs the command line
NAMES = sorted(
    found.name
    for package in PACKAGES
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if found.name not in NOT_IMPORTED
)


@pytest.mark.parametrize("name", NAMES)
def test_examples(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples of {name} don't do what they say"


def test_there_are_examples():
    assert len(NAMES) > 100
