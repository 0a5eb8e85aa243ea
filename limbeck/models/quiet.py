"""Keeps transformers from talking over our own progress and errors: bars, notices and warnings while it loads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_bars() -> Iterator[None]:
    """Without transformers' progress bars; afterwards as it was before, so that one may lie within another."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def quiet() -> Iterator[None]:
    """Without bars, notices and warnings; errors still come as exceptions."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    with without_bars(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
