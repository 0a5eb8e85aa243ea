"""What a recipe says about one model: `ModelSpec`, the value of an entry of `[models]`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Settings that change how, not what, a model answers: they stay out of its identity.
_NOT_IDENTITY = frozenset(
    {"device", "offload", "api_key_env", "concurrency", "timeout_s", "tries", "price_in", "price_out", "sees"}
)


_EXAMPLE = "http://localhost:8000/v1"


class ModelSpec(BaseModel):
    """One model: a built-in `mini:NAME`, a local folder, a Hub id, or an OpenAI-compatible endpoint.

    A plain string in a recipe is the `id`. Keys and other secrets are never part of it; `api_key_env` names the
    environment variable that holds the key.

    Attributes:
        id: `mini:NAME`, a folder, or a Hub id; empty for an endpoint.
        revision: branch, tag or commit of a Hub id.
        variant: file variant of a diffusers model, such as `fp16`.
        dtype: a torch dtype's name, or `auto`.
        vae_dtype: dtype of a diffusers model's VAE.
        device: a torch device, or `auto`.
        offload: where a diffusers model's idle components wait.
        sampler: of an image model, or `auto`.
        spacing: of its timesteps, or `auto`.
        size: side of its pictures in pixels; None is the model's own.
        resize: preprocessing of a score model: the model's own, or `ip2p` (aliased bicubic, as the reference has it).
        batch_size: most rows in one forward pass; None is the backend's default.
        sees: whether a chat model takes pictures.
        base_url: address of an endpoint, up to and including `/v1`.
        model: the name that the endpoint knows the model by.
        api_key_env: environment variable that holds the endpoint's key.
        concurrency: most requests in flight.
        timeout_s: seconds of silence after which a request counts as lost.
        tries: most requests for one answer.
        price_in: price of a million prompt tokens, in `dataset.currency`; None is unknown, never guessed.
        price_out: price of a million completion tokens.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    id: str = ""
    revision: str | None = None
    variant: str | None = None
    dtype: str = "auto"
    vae_dtype: str = "auto"
    device: str = "auto"
    offload: Literal["none", "model", "sequential"] = "none"
    sampler: str = "auto"
    spacing: Literal["auto", "linspace", "leading", "trailing"] = "auto"
    size: Annotated[int, Field(gt=0)] | None = None
    resize: Literal["model", "ip2p"] = "model"
    batch_size: Annotated[int, Field(gt=0)] | None = None
    sees: bool = False
    base_url: str | None = None
    model: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: Annotated[int, Field(gt=0)] = 64
    timeout_s: Annotated[float, Field(gt=0)] = 300.0
    tries: Annotated[int, Field(gt=0)] = 9
    price_in: Annotated[float, Field(ge=0)] | None = None
    price_out: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, value: Any) -> Any:
        if isinstance(value, dict) and (secret := value.keys() & {"api_key", "key", "token", "password"}):
            raise ValueError(
                f"{min(secret)!r}: a secret doesn't belong in a recipe; "
                "put it in an environment variable and name that with api_key_env"
            )
        return value

    @model_validator(mode="after")
    def _one_place(self) -> ModelSpec:
        if bool(self.id.strip()) == bool(self.base_url):
            raise ValueError("expected either `id` or `base_url`" + ("; found both" if self.id else "; found neither"))
        if self.base_url and not self.model:
            raise ValueError("an endpoint needs `model`, the name it knows the model by")
        if self.base_url and not re.match(r"https?://[^/\s]", self.base_url):
            raise ValueError(f"base_url = {self.base_url!r}; expected http:// or https:// and a host, as in {_EXAMPLE}")
        return self

    @property
    def is_mini(self) -> bool:
        """Whether it is one of the built-in miniatures.

        >>> ModelSpec.model_validate("mini:llm").is_mini
        True
        """
        return self.id.startswith("mini:")

    @property
    def is_endpoint(self) -> bool:
        """Whether its answers come from a server, and may cost money."""
        return self.base_url is not None

    @property
    def called(self) -> str:
        """Its id, or the name that its endpoint knows it by."""
        return self.id or str(self.model)

    def identity(self) -> dict[str, Any]:
        """The settings that change what the model answers, without those left at their default.

        >>> ModelSpec(id="openai/clip-vit-large-patch14", device="cuda:1", dtype="float16").identity()
        {'id': 'openai/clip-vit-large-patch14', 'dtype': 'float16'}
        """
        return self.model_dump(exclude=set(_NOT_IDENTITY), exclude_defaults=True)
