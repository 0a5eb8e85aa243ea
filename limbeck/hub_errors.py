"""What the Hub's client raises when the Hub can't be reached or says no."""

from __future__ import annotations


def hub_errors() -> tuple[type[Exception], ...]:
    """Exceptions of huggingface_hub and of the HTTP library beneath it.

    The library has been `requests`, `httpx` and `httpx2` by turns. It is taken from where `HfHubHTTPError` has it, so
    that a new one doesn't turn "the Hub is away" into a traceback.

    >>> OSError in hub_errors()
    True
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return (*HfHubHTTPError.__bases__, HFValidationError)
