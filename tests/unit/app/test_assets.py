"""The committed style sheet is current; its tokens are the design's; what is vendored has its licence."""

import json
import re
from pathlib import Path

import app
from app import assets

STATIC = Path(app.__file__).parent / "static"
SOURCE = (STATIC / "src" / "app.css").read_text(encoding="utf-8")
DESIGN = {
    "surface": ("#f7f8f8", "#101416"),
    "raised": ("#ffffff", "#181d20"),
    "line": ("#dfe3e4", "#2a3135"),
    "text": ("#14191b", "#e8eced"),
    "muted": ("#5b666b", "#98a4a9"),
    "accent": ("#0b6e8a", "#4fb3cf"),
    "stage-1": ("#7f6400", "#f2cf4a"),
    "stage-2": ("#a34700", "#ff9e4f"),
    "stage-3": ("#b3261e", "#ff8078"),
    "stage-4": ("#6e2a86", "#d79bea"),
}


def token_sets() -> list[dict[str, str]]:
    blocks = re.findall(r"color-scheme: (?:light|dark);([^}]*)\}", SOURCE)
    return [dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block)) for block in blocks]


def test_style_sheet_is_what_its_sources_give() -> None:
    assert assets.is_current(), "run 'make css' and commit app/static/app.css"


def test_tokens_are_the_design_s_and_both_ways_to_dark_are_alike() -> None:
    light, dark_by_device, dark_by_choice = token_sets()
    assert dark_by_device == dark_by_choice
    assert light.keys() == dark_by_choice.keys()
    for name, (in_light, in_dark) in DESIGN.items():
        assert (light[name], dark_by_choice[name]) == (in_light, in_dark), name


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_text_has_contrast() -> None:
    for tokens in token_sets():
        for ground in ("surface", "raised"):
            for ink in ("text", "muted", "accent"):
                assert contrast(tokens[ink], tokens[ground]) >= 4.5, (ink, ground)
        assert contrast(tokens["on-accent"], tokens["accent"]) >= 4.5
        for stage in range(1, 5):
            assert contrast(tokens[f"stage-{stage}"], tokens[f"stage-{stage}-fill"]) >= 4.5


def test_no_template_names_a_colour_or_reaches_another_site() -> None:
    for path in (Path(app.__file__).parent / "templates").rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"[\"':\s]#[0-9a-fA-F]{3,8}\b(?![\w-])",
            re.sub(r"(href|hx-[a-z-]+)=\"#[^\"]*\"", "", text),
        ), path
        assert "https://" not in text, path
        assert not re.search(r"\sstyle=|\son[a-z]+=", text), path


def test_vendored_files_have_licence_and_version() -> None:
    lock = json.loads((assets.PROJECT / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    notice = (STATIC / "vendor" / "NOTICE.md").read_text(encoding="utf-8")
    folders = {path.name for path in (STATIC / "vendor").iterdir() if path.is_dir()}
    packages = {"htmx": "htmx.org", "swagger-ui": "swagger-ui-dist"}
    for folder in folders:
        package = packages.get(folder, folder)
        assert (STATIC / "vendor" / folder / "LICENSE").is_file()
        assert f"`{package}` | {lock[f'node_modules/{package}']['version']} |" in notice
