"""The wheel that users install: built, installed beside the tree, and run from somewhere else.

Works offline: the build backend is the installed one, the dependencies are those of this
environment, and the wheel alone is unpacked into an empty one whose packages come first.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from importlib.metadata import distribution
from pathlib import Path

import pytest

import vlamon

ROOT = Path(__file__).parents[1]
PARTS = ("vlamon", "trainer", "themes", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree, built from a copy so that nothing is left in it."""
    pytest.importorskip("hatchling")
    source = tmp_path_factory.mktemp("source")
    for name in PARTS:
        part = ROOT / name
        if part.is_dir():
            shutil.copytree(part, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif part.exists():
            shutil.copy(part, source / name)
    out = tmp_path_factory.mktemp("dist")
    build = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(out)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    return built


def test_a_wheel_can_be_built_from_the_sdist(wheel: Path, tmp_path: Path) -> None:
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    source = tmp_path / "source"
    source.mkdir()
    for name in {*included["targets"]["sdist"]["include"], "pyproject.toml"}:
        part = ROOT / name
        if part.is_dir():
            shutil.copytree(part, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(part, source / name)
    build = "from hatchling.build import build_sdist; print(build_sdist('.'))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=True
    )
    with tarfile.open(source / done.stdout.split()[-1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("vlamon-*")
    build = "from hatchling.build import build_wheel; print(build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=unpacked, capture_output=True, check=True)

    (again,) = unpacked.glob("*.whl")
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an empty environment into which pip put the wheel."""
    place = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    # Only the dependencies are shared. An editable install of this tree is found by a .pth file,
    # which a directory on the path, unlike a site directory, does not run.
    shared = sysconfig.get_path("purelib")
    Path(site, "shared.pth").write_text(f"{shared}\n")
    return python


def run(python: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(python), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=kept,
        check=False,
    )


def test_the_wheel_holds_both_packages_and_the_themes(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert "vlamon/cli.py" in names
    assert "vlamon/py.typed" in names
    assert "trainer/__init__.py" in names
    shipped = {path.name for path in (ROOT / "themes").glob("*.toml")}
    assert {Path(name).name for name in names if name.startswith("vlamon/themes/")} >= shipped
    assert not [name for name in names if name.startswith(("tests/", "trainer/experiments"))]


def metadata(wheel: Path) -> Message:
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(archive.read(name))


def dependencies(wheel: Path) -> set[str]:
    """What the wheel needs without an extra, as `name>=version`."""
    needed = metadata(wheel).get_all("Requires-Dist") or []
    return {need.replace(" ", "") for need in needed if "extra ==" not in need}


def test_the_version_stands_in_one_place(wheel: Path) -> None:
    recipe = (ROOT / "packaging" / "recipe.yaml").read_text()

    assert metadata(wheel)["Version"] == vlamon.__version__
    assert f'version: "{vlamon.__version__}"' in recipe
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## {re.escape(vlamon.__version__)} - \d{{4}}-\d\d-\d\d$", changelog, re.M)
    assert "version = " not in (ROOT / "pyproject.toml").read_text().split("[tool")[0]


def test_every_supported_python_is_named(wheel: Path) -> None:
    named = [line for line in metadata(wheel).get_all("Classifier") or [] if ":: 3." in line]

    assert [line.rpartition(" ")[2] for line in named] == ["3.11", "3.12", "3.13", "3.14"]


def test_an_install_to_watch_is_small_beside_numpy(wheel: Path) -> None:
    needed, sizes = [re.split(r"[><=~]", need)[0] for need in dependencies(wheel)], {}
    while needed:
        name = needed.pop().lower()
        if name in sizes or name == "numpy":
            continue
        found = distribution(name)
        files = (Path(str(found.locate_file(file))) for file in found.files or ())
        counted = (file for file in files if file.suffix != ".pyc" and file.is_file())
        sizes[name] = sum(file.stat().st_size for file in counted)
        needs = (need for need in found.requires or () if "extra ==" not in need)
        needed += [re.split(r"[\s;><=~!(\[]", need)[0] for need in needs]

    assert not sizes.keys() & {"torch", "tensorboard", "transformers", "matplotlib"}
    unpacked = sum(info.file_size for info in zipfile.ZipFile(wheel).infolist())
    assert unpacked + sum(sizes.values()) <= 25_000_000, sizes


def test_the_conda_recipe_needs_what_the_wheel_needs(wheel: Path) -> None:
    recipe = (ROOT / "packaging" / "recipe.yaml").read_text()
    run = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    listed = {line.strip(" -").replace(" ", "") for line in run.splitlines()}
    renamed = {need.replace("msgpack>", "msgpack-python>") for need in dependencies(wheel)}

    def parts(needs: set[str]) -> set[frozenset[str]]:
        return {frozenset(re.split(r",|(?=[<>])", need)) for need in needs}

    assert parts(listed) == parts(renamed | {"python>=3.11"})


def test_the_conda_recipe_builds_this_tree() -> None:
    folder = ROOT / "packaging"
    named = re.search(r"^source:\n  path: (\S+)$", (folder / "recipe.yaml").read_text(), re.M)

    assert named is not None
    assert (folder / named[1]).resolve() == ROOT


def test_the_container_is_built_from_all_that_the_wheel_is(wheel: Path) -> None:
    text = (ROOT / "packaging" / "Dockerfile").read_text()

    sent = (ROOT / "packaging" / "Dockerfile.dockerignore").read_text().splitlines()

    for part in PARTS:
        assert re.search(rf"^COPY .*\b{re.escape(part)}\b", text, re.M), part
        assert f"!{part}" in sent


def test_vlamon_tail_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    log = tmp_path / "log_train.txt"
    log.write_text('{"train_closs": 95.19, "train_loss_ct": NaN, "epoch": 7}\n')

    script = installed.parent / "vlamon"
    done = run(script, "tail", "log_train.txt", "--once", "--json", folder=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["kind"] for line in lines] == ["run", "epoch"]
    assert lines[1]["metrics"] == {"closs": 95.19, "loss_ct": "nan"}


def test_the_wheel_finds_its_own_themes(installed: Path, tmp_path: Path) -> None:
    code = "import vlamon.locations as l; print(l.shipped_themes_directory())"

    done = run(installed, "-c", code, folder=tmp_path)

    found = Path(done.stdout.strip())
    assert found.is_relative_to(installed.parents[1])
    assert list(found.glob("*.toml"))


def test_a_source_tree_finds_its_themes() -> None:
    from vlamon.locations import shipped_themes_directory

    assert list(shipped_themes_directory().glob("*.toml"))
