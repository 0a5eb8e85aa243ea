"""Keeps libraries from talking over our own progress and errors: bars, notices and warnings while they load."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_bars(*further: Any) -> Iterator[None]:
    """Without transformers' progress bars; afterwards as it was before, so that one may lie within another.

    Args:
        further: logging modules of other libraries that are made like transformers', diffusers' say.
    """
    from transformers.utils import logging

    shown = [library for library in (logging, *further) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()


@contextmanager
def quiet(*further: Any) -> Iterator[None]:
    """Without bars, notices and warnings; errors still come as exceptions."""
    from transformers.utils import logging

    before = [(library, library.get_verbosity()) for library in (logging, *further)]
    with without_bars(*further), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library, _ in before:
            library.set_verbosity_error()
        try:
            yield
        finally:
            for library, verbosity in before:
                library.set_verbosity(verbosity)
