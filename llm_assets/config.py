"""What every section of a recipe is: typed, closed, frozen."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of every config class. An unknown key is an error; a section never changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)
