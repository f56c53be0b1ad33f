"""What the project says of itself in several places agrees: version, Pythons, names, commands."""

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

import pmap

TOP: Final = Path(__file__).parents[1]
NAME: Final = "typed-pmap"


def read(path: str) -> str:
    return (TOP / path).read_text(encoding="utf-8")


PYPROJECT: Final = tomllib.loads(read("pyproject.toml"))
PROJECT: Final = PYPROJECT["project"]
CI: Final = read(".github/workflows/ci.yml")
RELEASE: Final = read(".github/workflows/release.yml")
NOXFILE: Final = read("noxfile.py")
CONTRIBUTING: Final = read("CONTRIBUTING.md")


def versions(text: str) -> list[str]:
    """Return the versions of Python in quotes in `text`."""
    return re.findall(r'"(3\.\d+)"', text)


def found(pattern: str, text: str) -> str:
    """Return what the group of `pattern` matches, which must be in `text` once."""
    matches: list[str] = re.findall(pattern, text, re.MULTILINE)
    assert len(matches) == 1, f"{pattern} is there {len(matches)} times"
    return matches[0]


def job(name: str) -> str:
    """Return the text of a job in the CI's workflow."""
    return found(rf"^  {name}:\n((?s:.*?))(?=^  \w|\Z)", CI)


# --- the version ---------------------------------------------------------------------------------


def test_the_version_is_written_in_one_place() -> None:
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["hatch"]["version"] == {"path": "src/pmap/__init__.py"}
    written = found(r'^__version__ = "(.*?)"$', read("src/pmap/__init__.py"))
    assert written == pmap.__version__


def test_the_installed_version_is_that_of_the_package() -> None:
    try:
        installed = importlib.metadata.version(NAME)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{NAME} is not installed")
    assert installed == pmap.__version__, "install the project anew: pip install -e '.[test]'"


def test_the_changelog_begins_with_what_is_not_released() -> None:
    headings = re.findall(r"^## (.*)$", read("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d", one) for one in headings[1:]]
    assert all(released), headings
    assert not released or f"[{pmap.__version__}]" in headings[1]


# --- the distribution ----------------------------------------------------------------------------


def test_the_distribution_has_one_name_everywhere() -> None:
    assert PROJECT["name"] == NAME
    assert f"`pip install {NAME}`" in read("README.md")
    assert f"https://pypi.org/project/{NAME}/" in RELEASE
    assert f"dist/{NAME.replace('-', '_')}-${{TAG#v}}.tar.gz" in RELEASE


def test_all_links_to_the_project_are_to_one_repository() -> None:
    source = PROJECT["urls"]["Source"]
    assert all(url.startswith(source) for url in PROJECT["urls"].values())
    pages = [*TOP.glob("*.md"), *(TOP / ".github").rglob("*.*")]
    links = {
        link for page in pages for link in re.findall(rf"\S+/{NAME}\b", page.read_text("utf-8"))
    }
    known = {re.search(r"https://.*", link) for link in links}
    assert {link[0] for link in known if link} == {source, f"https://pypi.org/project/{NAME}"}


# --- the Pythons ---------------------------------------------------------------------------------


def promised() -> list[str]:
    """Return the Pythons of the classifiers."""
    stem = "Programming Language :: Python :: "
    entries = [entry.removeprefix(stem) for entry in PROJECT["classifiers"]]
    return [entry for entry in entries if re.fullmatch(r"3\.\d+", entry)]


def test_nox_runs_the_pythons_that_the_classifiers_promise() -> None:
    assert versions(found(r"^PYTHONS = (\[.*?\])$", NOXFILE)) == promised()
    assert PROJECT["requires-python"] == f">={promised()[0]}"
    assert f"Python {promised()[0]} to {promised()[-1]}" in CONTRIBUTING


def test_the_ci_runs_the_pythons_that_are_promised_and_others_on_trial() -> None:
    linux = job("linux")
    tried = versions(found(r"^        python: (\[.*?\])$", linux))
    trial = found(r"^    continue-on-error: (.*)$", linux)
    assert tried[: len(promised())] == promised()
    on_trial = tried[len(promised()) :]
    assert re.findall(r"'(3\.\d+)'", trial) == on_trial


def test_the_newest_promised_python_makes_the_release() -> None:
    used = versions("".join(re.findall(r"python-version: .*", RELEASE)))
    assert set(used) == {promised()[-1]}


# --- the workflows -------------------------------------------------------------------------------


def test_the_workflows_run_the_readme_s_test_command_by_the_script() -> None:
    run = r"^ *-? *run: \.ci/run$"
    assert len(re.findall(run, job("linux"), re.MULTILINE)) == 1
    assert len(re.findall(run, RELEASE, re.MULTILINE)) == 1
    assert "continue-on-error" not in RELEASE
    publish = RELEASE.partition("  publish:")[2]
    assert "needs: [tests, build]" in publish


def test_where_the_script_cannot_run_the_readme_s_command_is_repeated() -> None:
    steps = found(r"shell: bash\n +run: \|\n((?: {10}.*\n)+)", job("ports"))
    repeated = " && ".join(line.strip() for line in steps.splitlines())
    readme = found(r"^(python3 -m venv .*pytest -n auto)$", read("README.md"))
    assert repeated.replace("Scripts/", "bin/").replace("python -m venv", "python3 -m venv") == (
        readme
    )


@pytest.mark.parametrize("text", [CI, RELEASE], ids=["ci", "release"])
def test_a_workflow_has_no_more_rights_than_its_jobs_ask_for(text: str) -> None:
    assert found(r"^permissions: (.*)$", text) == "{}"
    asked = set(re.findall(r"^      ([\w-]+: (?:read|write))\b", text, re.MULTILINE))
    assert asked == {"contents: read"} | ({"id-token: write"} if text is RELEASE else set())


def test_the_form_for_bugs_asks_for_what_the_doctor_says() -> None:
    assert "`python -m pmap doctor`" in read(".github/ISSUE_TEMPLATE/bug.yml")


# --- the contributor's page ----------------------------------------------------------------------


def test_each_session_of_nox_is_explained_and_each_explained_one_is_there() -> None:
    defined = set(re.findall(r"^@nox\.session.*\ndef (\w+)", NOXFILE, re.MULTILINE))
    explained = re.findall(r"^\| `nox -s ([\w-]+?)(?:-3\.\d+)?` \|", CONTRIBUTING, re.MULTILINE)
    assert {name.replace("-", "_") for name in explained} == defined


@pytest.mark.parametrize("page", ["SECURITY.md", "CHANGELOG.md"])
def test_a_page_refers_to_what_is_there(page: str) -> None:
    targets: list[str] = re.findall(r"\]\(([^)#:]+)\)", read(page))
    assert [name for name in targets if not (TOP / name).exists()] == []


def test_the_paths_that_the_contributor_s_page_names_are_there() -> None:
    paths: list[str] = re.findall(r"`((?:tests|src|docs)/[\w./]*)`", CONTRIBUTING)
    assert len(paths) > 8
    assert [path for path in paths if not (TOP / path).exists()] == []


def test_pre_commit_takes_the_linter_that_the_tests_take() -> None:
    ruff = [entry for entry in PROJECT["optional-dependencies"]["test"] if entry[:4] == "ruff"]
    hooks = read(".pre-commit-config.yaml")
    assert re.findall(r'additional_dependencies: \["(ruff.*?)"\]', hooks) == ruff * 2
