"""The recipe's section `store`: where versions lie. It enters no fingerprint: every store gives equal versions."""

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from llm_assets.config import Section
from llm_assets.errors import UserError

UI_VARIABLE = "LLM_ASSETS_UI"  # the Dagster UI's URL, where it is known: commits link to their run


class StoreConfig(Section):
    """`store: lakefs`, or a mapping. Keys never stand in a recipe: they come from the environment."""

    kind: Literal["dvc", "lakefs"] = "dvc"
    endpoint: str = Field(
        "", description="lakeFS: the server's URL; $LAKEFS_ENDPOINT goes before it; neither: `up` starts a local server"
    )
    repository: str = Field("llm-assets", pattern=r"^[a-z0-9][a-z0-9-]{2,62}$", description="lakeFS: made when missing")
    storage_namespace: str = Field(
        "",
        pattern="^((s3|gs|https?|mem|local|transient)://.*)?$",
        description="lakeFS: where a new repository's objects lie, e.g. s3://bucket/path; the server's default",
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("endpoint")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        url = urlsplit(value)
        if "@" in url.netloc:  # not a ValueError: that would print the value
            raise UserError(
                "store.endpoint holds a user or a key: take it out, and set LAKEFS_ACCESS_KEY_ID and "
                "LAKEFS_SECRET_ACCESS_KEY in the environment"
            )
        if value and (url.scheme not in ("http", "https") or not url.hostname):
            raise ValueError("must be a URL such as https://lakefs.example.com")
        return value.rstrip("/")
