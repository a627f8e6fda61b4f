"""The local server that `up` starts, with the emulation in the place of the `lakefs` program; and what doctor says."""

from __future__ import annotations

import http.server
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from lakefs_emulator import KEY_ID, SECRET, Emulator

from llm_assets.doctor import examine
from llm_assets.errors import UserError
from llm_assets.recipe import find_recipe, load_recipe
from resources.config import StoreConfig
from resources.lakefs_server import store_server
from resources.lakefs_store import LakeFSStore
from resources.workspace import open_store

CONFIG = StoreConfig(kind="lakefs")
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A state folder whose recipe says `store: lakefs`, in an environment that names no server."""
    for name in [name for name in os.environ if name.startswith(("LAKEFS_", "LAKECTL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LLM_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLM_ASSETS_SET", json.dumps(["store=lakefs"]))
    return tmp_path / "home"


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A `lakefs` on PATH."""
    script = tmp_path / "bin" / "lakefs"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("lakefs_emulator.py")} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


def test_without_an_endpoint_a_server_runs_for_as_long_as_it_is_needed(home, program):
    with pytest.raises(UserError, match=r"LAKEFS_ENDPOINT.*llm-assets up"):
        open_store(home)
    with store_server(CONFIG, home):
        store = open_store(home)
        assert isinstance(store, LakeFSStore)
        store.open_branch("run/1")
        for name in ("server.json", "keys.json"):
            assert stat.S_IMODE((home / "lakefs" / name).stat().st_mode) == 0o600
        with store_server(CONFIG, home):  # of another command: it uses the one that runs, and leaves it running
            assert store.heads("run/1") == {}
        assert store.heads("run/1") == {}
        keys = json.loads((home / "lakefs" / "keys.json").read_text())
    assert not (home / "lakefs" / "server.json").exists()
    with pytest.raises(ConnectionRefusedError):
        port = int(store.access.endpoint.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port)).close()
    assert keys["secret"] not in repr(store) and keys["key_id"] not in repr(store)
    with store_server(CONFIG, home):
        assert json.loads((home / "lakefs" / "keys.json").read_text()) == keys, "the data is of these keys"


def test_a_server_whose_owner_was_killed_is_replaced(home, program):
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom resources.config import StoreConfig\n"
        "from resources.lakefs_server import store_server\n"
        "with store_server(StoreConfig(kind='lakefs'), Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(home)], cwd=ROOT)
    left = json.loads((home / "lakefs" / "server.json").read_text())
    with store_server(CONFIG, home):
        now = json.loads((home / "lakefs" / "server.json").read_text())
        assert now["server"] != left["server"]
        open_store(home).open_branch("run/1")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(left["access"]["endpoint"].rpartition(":")[2]))).close()


def test_where_no_program_can_be_had_it_says_so(home, monkeypatch, tmp_path):
    from resources import lakefs_server

    monkeypatch.setattr(lakefs_server, "PROGRAM", "lakefs-that-nobody-has")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # the download has no way out
    with (
        pytest.raises(UserError, match=r"no `lakefs-that-nobody-has` program on PATH.*downloading it failed"),
        store_server(CONFIG, home),
    ):
        pass


@pytest.fixture
def emulator(tmp_path, home, monkeypatch):
    (tmp_path / "server").mkdir()
    emulator = Emulator(tmp_path / "server")
    monkeypatch.setenv("LAKEFS_ENDPOINT", emulator.endpoint)
    monkeypatch.setenv("LAKEFS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("LAKEFS_SECRET_ACCESS_KEY", SECRET)
    yield emulator
    emulator.stop()


def findings(home):
    """(ok, everything said) of what doctor says of the store."""
    recipe = load_recipe(find_recipe("demo"), ["store=lakefs"])
    found = [one for one in examine(recipe, home, 1) if one.what in ("lakeFS", "store")]
    assert not any(SECRET in one.detail + one.fix for one in found)
    return [(one.ok, f"{one.detail} | {one.fix}") for one in found]


def test_doctor_when_all_is_well(home, emulator):
    (ok, reached), (missing, says), (read, heads) = findings(home)
    assert (ok, missing, read) == (True, None, True)
    assert "knows the keys" in reached and "no repository llm-assets yet" in says and "0 artifacts" in heads
    open_store(home).open_branch("run/1")
    assert [ok for ok, _ in findings(home)] == [True, True]
    emulator.repositories["llm-assets"].protected = []
    assert "main of llm-assets is not protected" in findings(home)[1][1]


def test_doctor_names_wrong_keys(home, emulator, monkeypatch):
    monkeypatch.setenv("LAKEFS_SECRET_ACCESS_KEY", "wrong")
    ((ok, says),) = findings(home)
    assert ok is False and "does not know these keys" in says and "LAKEFS_SECRET_ACCESS_KEY" in says
    monkeypatch.delenv("LAKEFS_SECRET_ACCESS_KEY")
    ((ok, says),) = findings(home)
    assert ok is False and "needs keys: set LAKEFS_SECRET_ACCESS_KEY" in says


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("http://no-such-host.invalid:8000", "host no-such-host.invalid .* not known"),
        ("http://127.0.0.1:{closed}", "nothing listens at 127.0.0.1:.*start the server"),
        ("http://127.0.0.1:{other}", "does not speak as lakeFS|answered 404.*LAKEFS_ENDPOINT"),
    ],
)
def test_doctor_names_a_wrong_endpoint(home, emulator, monkeypatch, free_port, tmp_path, endpoint, says):
    class Other(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("LAKEFS_ENDPOINT", endpoint.format(closed=free_port(), other=other.server_port))
        ((ok, said),) = findings(home)
        other.shutdown()
    assert ok is False and re.search(says, said), said


def test_doctor_when_the_extra_is_missing(home):
    code = (
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'lakefs' else find(name, *rest)\n"
        "from pathlib import Path\nfrom resources.config import StoreConfig\n"
        "from resources.lakefs_diagnosis import diagnose\n"
        "print(*diagnose(StoreConfig(kind='lakefs'), Path('.')))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout
    assert "not installed" in said and "pip install 'llm-assets[lakefs]'" in said


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("store=git", "store.kind = 'git'"),
        ("store.bucket=x", "store.bucket: unknown key .*endpoint, kind, repository, storage_namespace"),
        ("store.repository=No Name", "store.repository"),
        ("store.storage_namespace=bucket", "store.storage_namespace"),
        ("store.endpoint=lakefs", "must be a URL"),
    ],
)
def test_a_wrong_setting_is_named(setting, says):
    with pytest.raises(UserError, match=says):
        load_recipe(find_recipe("demo"), [setting])


def test_a_key_in_the_recipe_is_refused_and_not_printed():
    with pytest.raises(UserError, match="LAKEFS_SECRET_ACCESS_KEY") as refused:
        load_recipe(find_recipe("demo"), ["store.endpoint=http://me:hush@lakefs.example.com"])
    assert "hush" not in str(refused.value)


def test_the_compose_file_listens_here_alone_and_holds_no_key():
    text = (ROOT / "deploy" / "lakefs.compose.yaml").read_text()
    services = yaml.safe_load(text)["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    assert all("healthcheck" in services[name] for name in ("database", "lakefs"))
    names = set(re.findall(r"\$\{(\w+)", text))
    example = (ROOT / "deploy" / "lakefs.env.example").read_text()
    assert names == set(re.findall(r"^(\w+)=", example, re.MULTILINE))
    for service in services.values():
        for name, value in service["environment"].items():
            assert not re.search("PASSWORD|SECRET|KEY", name) or value.startswith("${"), name
