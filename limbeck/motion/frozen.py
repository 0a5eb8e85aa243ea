"""The parent of every specification in this package."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Immutable, JSON-serialisable; unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
