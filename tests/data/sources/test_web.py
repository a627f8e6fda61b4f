"""Crawls of a real server on loopback: what is read, how politely, and what is refused."""

from __future__ import annotations

import gzip
import ssl
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from web_site import Site, drip

from llm_assets.data.acquire import acquire_documents
from llm_assets.data.config import Files, Web
from llm_assets.data.sources import addresses
from llm_assets.data.sources.addresses import is_public
from llm_assets.data.sources.found import Found
from llm_assets.data.sources.html import main_text
from llm_assets.data.sources.http import normal_url
from llm_assets.data.sources.read import Count, read_source
from llm_assets.data.sources.state import sources_state
from llm_assets.data.sources.web import read_web

PROSE = "<p>" + "This page says something that is long enough to be kept as the main text of it. " * 4 + "</p>"
MODIFIED = "2024-05-17T09:30:00+00:00"


def to_loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def crawl(site: Site, home: Path, resolver: Any = to_loopback, **settings: Any) -> tuple[list[Found], dict[str, Found]]:
    """(documents, rejects by path or URL) of a crawl in which site.test is allowed."""
    defaults = {"delay_seconds": 0, "retries": 1, "allow_hosts": ["site.test"], "workers": 2}
    source = Web.model_validate(defaults | {"seeds": [f"{site.url}/"]} | settings)
    found = list(read_web(source, home, resolver=resolver))
    rejects = {item.uri.removeprefix(site.url): item for item in found if item.reason}
    return [item for item in found if not item.reason], rejects


def links(*paths: str) -> str:
    return f"<html><body>{PROSE}{''.join(f'<a href={path!r}>x</a> ' for path in paths)}</body></html>"


def test_a_sitemap_is_read_and_what_is_unchanged_is_not_sent_again(
    site: Site, articles: dict[str, bytes], tmp_path: Path
) -> None:
    for name, body in articles.items():
        site.versioned(f"/news/{name}", body)
    locations = "".join(f"<url><loc>{site.url}/news/{name}</loc></url>" for name in articles)
    pages = f'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{locations}</urlset>'
    site.page("/pages.xml.gz", gzip.compress(pages.encode()))
    site.page("/sitemap.xml", f"<sitemapindex><sitemap><loc>{site.url}/pages.xml.gz</loc></sitemap></sitemapindex>")
    site.page("/robots.txt", "User-agent: *\nDisallow: /news/" + list(articles)[-1])
    settings: dict[str, Any] = {"seeds": [], "sitemaps": [f"{site.url}/sitemap.xml"], "max_depth": 0}

    documents, rejects = crawl(site, tmp_path, **settings)
    assert [document.uri for document in documents] == [f"{site.url}/news/{name}" for name in list(articles)[:-1]]
    for document, body in zip(documents, articles.values(), strict=False):
        assert document.text == main_text(body, document.uri)
    assert {document.fetched_at.isoformat() for document in documents if document.fetched_at} == {MODIFIED}
    assert [reject.reason for reject in rejects.values()] == ["robots"]
    assert not site.asked(f"/news/{list(articles)[-1]}")

    first = next(iter(articles))
    site.versioned(f"/news/{first}", articles[list(articles)[1]])
    site.log.clear()
    again, _ = crawl(site, tmp_path, **settings)
    assert site.asked(f"/news/{first}") == [200]
    assert all(site.asked(f"/news/{name}") == [304] for name in list(articles)[1:-1])
    assert again[1:] == documents[1:]
    assert again[0].text == documents[1].text

    for kept in (tmp_path / "web" / "pages").rglob("*"):
        if kept.is_file():
            kept.write_bytes(kept.read_bytes()[:100])  # as after a crash: they count as absent
    assert crawl(site, tmp_path, **settings)[0] == again


def test_links_are_followed_so_far_and_no_further(site: Site, tmp_path: Path) -> None:
    site.page("/", links("/a", "b#part", "/a?", "http://other.test/", "mailto:x@y.z", "/private/x", "/skip/y"))
    site.page("/a", links("/deeper"))
    site.page("/b", "plain text of a page", Content_Type="text/plain")
    site.page("/deeper", links("/deepest"))
    site.page("/deepest", links())
    site.page("/robots.txt", "User-agent: llm-assets\nDisallow: /private/\nUser-agent: *\nDisallow: /")
    documents, rejects = crawl(site, tmp_path, exclude=["/skip/"], label="news")
    assert [document.uri.removeprefix(site.url) for document in documents] == ["/", "/a", "/b", "/deeper"]
    assert {document.label for document in documents} == {"news"}
    assert documents[0].source == "web:site.test"
    assert documents[2].text == "plain text of a page"
    assert {path: reject.reason for path, reject in rejects.items()} == {"/private/x": "robots"}
    documents, rejects = crawl(site, tmp_path, max_pages=2)
    assert len(documents) == 2
    assert [(reject.reason, reject.detail) for reject in rejects.values()] == [
        ("max_pages", "2 known URLs, or more, were not read")
    ]


def test_links_that_were_read_take_no_room_from_those_that_were_not(site: Site, tmp_path: Path) -> None:
    for name in ("", "a", "b", "c"):
        site.page(f"/{name}", links("/", "/a", "/b", "/c" if name else "/a"))
    documents, _ = crawl(site, tmp_path, max_pages=4)
    assert [document.uri.removeprefix(site.url) for document in documents] == ["/", "/a", "/b", "/c"]


@pytest.mark.parametrize(("delay", "robots"), [(0.2, ""), (0.0, "User-agent: *\nCrawl-delay: 0.2\n")])
def test_a_host_is_asked_one_thing_at_a_time_and_not_too_often(
    delay: float, robots: str, site: Site, tmp_path: Path
) -> None:
    """The pause begins when an answer has come, so no load on this machine can make it look shorter to the server."""
    names = [f"/{letter}" for letter in "abcde"]
    came, answered = [], []

    def answer(handler: Any) -> None:
        came.append(time.monotonic())
        body = links(*names).encode()
        handler.send_response(200)
        for name, value in (("Content-Type", "text/html"), ("Content-Length", str(len(body)))):
            handler.send_header(name, value)
        handler.end_headers()
        answered.append(time.monotonic())
        handler.wfile.write(body)

    site.pages |= dict.fromkeys(["/", *names], answer)
    site.page("/robots.txt", robots)
    crawl(site, tmp_path, delay_seconds=delay, workers=8)
    assert len(came) == 6
    assert all(after - before >= 0.2 for before, after in zip(answered, came[1:], strict=False))


def test_what_pages_say_to_robots_holds(site: Site, tmp_path: Path) -> None:
    site.page("/", links("/noindex", "/nofollow", "/header"))
    site.page("/noindex", f'<meta name="ROBOTS" content="NoIndex">{links("/found")}')
    site.page("/nofollow", f'<meta name="robots" content="nofollow">{links("/lost")}')
    site.page("/header", links(), X_Robots_Tag="noindex")
    site.page("/found", links())
    documents, rejects = crawl(site, tmp_path)
    assert [document.uri.removeprefix(site.url) for document in documents] == ["/", "/nofollow", "/found"]
    assert {path: reject.reason for path, reject in rejects.items()} == {"/noindex": "noindex", "/header": "noindex"}
    assert not site.asked("/lost")


def test_trouble_with_a_page_is_a_reject_with_its_reason(site: Site, tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    tries: list[int] = []

    def second_time(handler: Any) -> None:
        tries.append(1)
        body = links().encode() if len(tries) > 1 else b""
        handler.send_response(200 if len(tries) > 1 else 503)
        handler.send_header("Retry-After", "0")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    names = ["gone", "down", "flaky", "drip", "big", "bomb", "broken", "brotli", "picture", "empty", "loop", "file"]
    names += ["metadata", "inside", "off", "twice"]
    site.page("/", links(*(f"/{name}" for name in names)))
    site.page("/down", "", status=503, Retry_After="0")
    site.pages |= {"/flaky": second_time, "/drip": drip}
    site.page("/big", "x" * 400_000)
    site.page("/bomb", bomb, Content_Encoding="gzip")
    site.page("/broken", gzip.compress(links().encode())[:60], Content_Encoding="gzip")
    site.page("/brotli", b"x", Content_Encoding="br")
    site.page("/picture", b"\x89PNG", Content_Type="image/png")
    site.page("/empty", "<html><body></body></html>")
    site.page("/loop", "", status=302, Location="/loop")
    site.page("/file", "", status=302, Location="file:///etc/passwd")
    site.page("/metadata", "", status=301, Location="http://169.254.169.254/latest/meta-data/")
    site.page("/inside", "", status=307, Location="http://inside.test/")
    site.page("/off", "", status=302, Location="https://elsewhere.test/")
    site.page("/twice", "", status=302, Location="/")

    def resolver(host: str, port: int) -> list[str]:
        if host == "elsewhere.test":
            raise OSError("no such name")
        return {"site.test": ["127.0.0.1"], "inside.test": ["10.0.0.5"]}.get(host, [host])

    settings: dict[str, Any] = {"timeout_seconds": 1, "max_page_bytes": 300_000}
    documents, rejects = crawl(site, tmp_path, resolver, same_site=False, **settings)
    assert [document.uri.removeprefix(site.url) for document in documents] == ["/", "/flaky"]
    reasons = {path.removeprefix("/"): reject.reason for path, reject in rejects.items()}
    assert reasons == {
        "gone": "http_404",
        "down": "http_503",
        "drip": "timeout",
        "big": "too_large",
        "bomb": "too_large",
        "broken": "content_encoding",
        "brotli": "content_encoding",
        "picture": "content_type",
        "empty": "no_text",
        "loop": "redirects",
        "file": "refused_scheme",
        "metadata": "refused_address",
        "inside": "refused_address",
        "off": "robots",  # its name has no address, so its robots.txt cannot be had
        "": "repeated",
    }
    assert len(site.asked("/down")) == 2, "tried again once"
    assert "10.0.0.5" in str(rejects["/inside"].detail)
    _, rejects = crawl(site, tmp_path, resolver, **settings)
    assert {rejects[name].reason for name in ("/metadata", "/inside", "/off")} == {"off_site"}


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"],
)
def test_addresses_inside_are_refused_however_they_are_written(host: str, site: Site, tmp_path: Path) -> None:
    _, rejects = crawl(site, tmp_path, addresses.resolve, seeds=[f"http://{host}:{site.port}/"], retries=0)
    (reject,) = rejects.values()
    assert reject.reason == "refused_address"
    assert not site.log, "not even robots.txt is asked for"


def test_what_is_public() -> None:
    inside = "10.1.2.3 172.16.0.1 192.168.1.1 100.64.0.1 127.9.9.9 169.254.169.254 0.0.0.0 224.0.0.1 240.0.0.1 "
    inside += "::1 fe80::1%eth0 fc00::1 ff02::1 ::ffff:10.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: ::"
    assert not [address for address in inside.split() if is_public(address)]
    assert is_public("93.184.215.14") and is_public("2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    assert is_public("64:ff9b::5db8:d70e")


def test_dns_rebinding_changes_nothing(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when it is checked and inside the next time; 127.0.0.2 stands for the internet."""
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.2")
    outside = Site("127.0.0.2")
    try:
        outside.page("/", links("/next"))
        outside.page("/next", links(), Connection="close")
        answers: list[str] = []

        def rebinding(host: str, port: int) -> list[str]:
            answers.append(["127.0.0.2", "127.0.0.1"][len(answers) % 2])
            return [answers[-1]]

        source = Web(seeds=[f"http://rebind.test:{outside.port}/"], delay_seconds=0, retries=0, workers=1)
        found = list(read_web(source, tmp_path, resolver=rebinding))
        assert [item.uri.rpartition("/")[2] for item in found if not item.reason] == ["", "next"]
        assert not site.log
        found = list(read_web(source, tmp_path, resolver=rebinding))  # now the first answer is the inner address
        assert found[0].reason == "refused_address"
        both = list(read_web(source, tmp_path, resolver=lambda host, port: ["127.0.0.2", "127.0.0.1"]))
        assert both[0].reason == "refused_address", "one inner address among them is enough"
    finally:
        outside.close()


def test_without_robots_txt_in_reach_nothing_is_asked(site: Site, tmp_path: Path) -> None:
    site.page("/robots.txt", "", status=500)
    site.page("/", links())
    _, rejects = crawl(site, tmp_path, retries=0)
    assert rejects["/"].reason == "robots"
    assert {path for path, _ in site.log} == {"/robots.txt"}


def test_the_crawl_as_warc_reads_back_alike(site: Site, articles: dict[str, bytes], tmp_path: Path) -> None:
    for name, body in articles.items():
        site.page(f"/{name}", gzip.compress(body), Content_Encoding="gzip", Content_Type="text/html")
    site.page("/", links(*articles))
    documents, _ = crawl(site, tmp_path, warc=True, max_depth=1)
    (path,) = (tmp_path / "web" / "warc").iterdir()
    assert path.name.endswith(".warc.gz")
    count = Count("files")
    stored = Files(paths=[str(path)], max_rejected_share=1)
    batches = list(read_source(stored, tmp_path, count=count))
    rows = [row for batch in batches for row in batch.documents.to_pylist()]
    assert {row["uri"]: row["text"] for row in rows} == {item.uri: item.text for item in documents}
    assert all(row["fetched_at"] for row in rows)


def test_a_source_that_gives_nothing_says_why(site: Site, tmp_path: Path) -> None:
    source = Web(seeds=[f"http://127.0.0.1:{site.port}/"], retries=0, delay_seconds=0)
    with pytest.raises(Exception, match=r"none of 1 rows can be used \(refused_address 1\).*allow it in allow_hosts"):
        acquire_documents([source], tmp_path, tmp_path)
    allowed = Web(seeds=[f"http://127.0.0.1:{site.port}/"], allow_hosts=["127.0.0.1"], delay_seconds=0, retries=0)
    site.page("/", links())
    assert acquire_documents([allowed], tmp_path, tmp_path).metrics["rows"] == 1


def test_the_state_of_a_crawl_changes_with_time_alone_if_at_all(tmp_path: Path) -> None:
    def state(**settings: Any) -> str:
        return sources_state([Web(seeds=["http://a.test/"], **settings)], tmp_path)

    assert state() == ""
    assert state(refresh_hours=1) != state(refresh_hours=2)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("HTTP://Example.COM:80/a/../b?q=1#part", "http://example.com/b?q=1"),
        ("https://bücher.example/straße", "https://xn--bcher-kva.example/stra%C3%9Fe"),
        ("http://example.com", "http://example.com/"),
        ("ftp://example.com/", None),
        ("http://user:secret@example.com/", None),
        ("javascript:alert(1)", None),
        ("http://[broken/", None),
        ("http://example.com:99999/", None),
    ],
)
def test_one_form_for_each_url(url: str, normal: str | None) -> None:
    assert normal_url(url) == normal


def test_tls_is_checked_against_the_name_though_the_address_is_connected_to(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_of("site.test", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True)
    site.page("/", links())
    seeds = [f"https://site.test:{site.port}/"]
    _, rejects = crawl(site, tmp_path, seeds=seeds, retries=0)
    assert "CERTIFICATE_VERIFY_FAILED" in str(rejects[seeds[0]].detail)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    documents, _ = crawl(site, tmp_path, seeds=seeds, retries=0)
    assert [document.uri for document in documents] == seeds
    _, rejects = crawl(
        site, tmp_path, seeds=[f"https://other.test:{site.port}/"], allow_hosts=["other.test"], retries=0
    )
    assert "Hostname mismatch" in str(next(iter(rejects.values())).detail)


def certificate_of(name: str, folder: Path) -> Path:
    """A certificate and its key in one file, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return folder / "certificate.pem"
