"""What a recipe says of a source; one class a kind."""

from __future__ import annotations

import codecs
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from llm_assets.config import Section
from llm_assets.data.table_config import TableConfig

Split = Literal["train", "validation", "test", "canary"]
MIB = 2**20


class Origin(Section):
    """What every source of one's own says of its rows."""

    split: Split | None = Field(
        default=None, description="put all rows into this split; by default each goes by the hash of its id"
    )
    licence: str = Field(default="unknown", description="the licence of these texts, kept with each row")
    max_rejected_share: float = Field(
        default=0.05, ge=0, le=1, description="more rejected rows than this share stop the acquisition"
    )


class Columns(Origin):
    """Which columns of a table are read."""

    text_column: str = Field(default="text", description="column with the text")
    label_column: str | None = Field(default=None, description="column with the class; none for unlabelled text")
    date_column: str | None = Field(
        default=None, description="column with the date (ISO 8601) that the table gives of a row; fills `fetched_at`"
    )


class InstalledPackages(Section):
    """Docstrings of packages installed beside the project, read without importing them; the label is the package."""

    kind: Literal["installed_packages"] = "installed_packages"
    packages: list[str] = Field(
        description="import names (`sklearn`, not `scikit-learn`); `stdlib` is the standard library"
    )
    max_per_package: int = Field(
        default=4000, ge=1, description="docstrings a package at most, from files drawn by the hash of their path"
    )


class Feedback(Section):
    """People's corrections that were accepted as training data; an absent file is no rows."""

    kind: Literal["feedback"] = "feedback"
    path: str = Field(default="feedback/accepted.jsonl", description="under the state folder, unless absolute")


class Files(Columns):
    """Texts of one's own. The format goes by suffix, and all but Parquet may be packed (.gz .bz2 .xz .zst).

    Tables: .jsonl .ndjson .json .csv .tsv .parquet. Texts: .txt, .md, .html. Crawls: .warc, .wet.
    """

    kind: Literal["files"] = "files"
    paths: list[str] = Field(min_length=1, description="files or globs; a relative one starts at the project's folder")
    text_unit: Literal["line", "paragraph", "file"] = Field(
        default="line", description="what is one document of a .txt: a line, what stands between empty lines, or all"
    )
    columns: list[str] | None = Field(
        default=None, description="names of the columns of a .csv or .tsv without a header line"
    )
    quotes: bool | None = Field(
        default=None, description='whether " quotes fields; by default it does in .csv and does not in .tsv'
    )
    encoding: str = Field(
        default="auto",
        description="`auto`: by byte order mark, else UTF-8 or UTF-16; or the name of a Python codec (cp1252 …)",
    )
    on_bad_rows: Literal["reject", "fail"] = Field(
        default="reject", description="a row that cannot be read goes to rejected.parquet, or stops the acquisition"
    )
    tidy: TableConfig | None = Field(
        default=None,
        description="what is done to the rows of these tables, all files together, before they are documents; the keys "
        "are those of `data.table`. The rows wait on disk",
    )
    max_row_bytes: int = Field(default=16 * MIB, ge=1024, description="longer lines and texts are rejected")
    max_file_bytes: int = Field(default=64 * 1024 * MIB, ge=1, description="of one file, unpacked")
    max_ratio: float = Field(
        default=250, ge=1, description="unpacked to packed size that a file of more than 16 MiB may have"
    )

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            if value != "auto":
                codecs.lookup(value)
        except LookupError:
            raise ValueError("no encoding of that name; use `auto`, utf-8, cp1252, shift_jis …") from None
        return value


class HuggingFace(Columns):
    """A dataset of the Hugging Face hub, or a folder or file of one, streamed."""

    kind: Literal["huggingface"] = "huggingface"
    dataset: str = Field(
        description="hub id (`owner/name`), or a folder or file; a relative path starts at the project"
    )
    subset: str | None = Field(default=None, description="the dataset's own configuration")
    part: str = Field(default="train", description="the dataset's own split")
    revision: str | None = Field(default=None, description="commit or tag of the hub; pins what is read")
    max_rows: int | None = Field(default=None, ge=1, description="stop after so many rows")
    refresh_hours: float | None = Field(
        default=None, gt=0, description="look at the hub again after so long; never while null"
    )


class Web(Origin):
    """Pages of the web, from seeds and sitemaps; the main text of each."""

    kind: Literal["web"] = "web"
    seeds: list[str] = Field(default=[], description="URLs where the crawl starts; links are followed from there")
    sitemaps: list[str] = Field(default=[], description="URLs of sitemaps (or their indices); their pages are read")
    label: str | None = Field(default=None, description="class of all these pages")
    include: list[str] = Field(default=[], description="regular expressions: only URLs that one of them finds")
    exclude: list[str] = Field(default=[], description="regular expressions: no URL that one of them finds")
    same_site: bool = Field(default=True, description="stay on the hosts of seeds and sitemaps")
    max_depth: int = Field(default=2, ge=0, description="links from a seed; 0 reads the seeds alone")
    max_pages: int = Field(default=1000, ge=1, description="URLs asked for, at most")
    max_page_bytes: int = Field(default=5 * MIB, ge=1024, description="of one page, unpacked; larger ones are rejected")
    max_seconds: float = Field(default=3600, gt=0, description="for the whole crawl; what is left is rejected")
    delay_seconds: float = Field(default=1.0, ge=0, description="between two requests to one host")
    timeout_seconds: float = Field(default=20, gt=0, description="for one page, from first byte asked to last read")
    retries: int = Field(default=3, ge=0, le=10, description="after errors that may pass: 429, 5xx, lost connections")
    workers: int = Field(default=8, ge=1, le=64, description="hosts asked at once")
    user_agent: str = Field(default="llm-assets", min_length=1, description="name in requests and in robots.txt")
    allow_hosts: list[str] = Field(
        default=[], description="hosts that may have private, loopback or link-local addresses"
    )
    warc: bool = Field(default=False, description="keep what was fetched as a WARC file under the state folder")
    refresh_hours: float | None = Field(
        default=None,
        gt=0,
        description="ask the sites again after so long (only what changed is sent); never while null",
    )
    max_rejected_share: float = Field(
        default=1.0, ge=0, le=1, description="more rejected pages than this share stop the acquisition"
    )

    @field_validator("seeds", "sitemaps")
    @classmethod
    def _http(cls, urls: list[str]) -> list[str]:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{url!r} is not an http or https URL")
        return urls

    @field_validator("include", "exclude")
    @classmethod
    def _patterns(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns

    @model_validator(mode="after")
    def _starts(self) -> Web:
        if not self.seeds and not self.sitemaps:
            raise ValueError("give seeds or sitemaps")
        return self


class Sql(Columns):
    """Rows of a database, through any SQLAlchemy URL."""

    kind: Literal["sql"] = "sql"
    url: str = Field(
        description="`postgresql+psycopg://user:${DB_PASSWORD}@host/base`; ${NAME} comes from the environment, and "
        "a password only from there"
    )
    table: str | None = Field(default=None, description="table or view, with its schema where that is needed (a.b)")
    query: str | None = Field(default=None, description="a SELECT instead of a table")
    id_column: str | None = Field(default=None, description="what names a row; the key column by default")
    key_column: str | None = Field(
        default=None, description="a column that grows with each new or changed row: only later ones are fetched again"
    )
    refresh_hours: float | None = Field(
        default=None, gt=0, description="without a key column: ask again after so long; never while null"
    )

    @field_validator("url")
    @classmethod
    def _no_password(cls, url: str) -> str:
        # "$" first: `${NAME}` is the one thing that may stand where a password does.
        if "://" not in url and not url.startswith("${"):
            raise ValueError("must be a SQLAlchemy URL (`dialect+driver://…`)")
        if re.search(r"://[^/@]*:(?!\$\{\w+\}@)[^/]*@", url) or re.search(r"(?i)[?&]password=(?!\$\{\w+\})", url):
            raise ValueError("holds a password; write ${NAME} in its place and set that in the environment")
        return url

    @model_validator(mode="after")
    def _one_of(self) -> Sql:
        if (self.table is None) == (self.query is None):
            raise ValueError("give either table or query")
        return self


Source = Annotated[InstalledPackages | Feedback | Files | HuggingFace | Web | Sql, Field(discriminator="kind")]
