"""The catalogues: gettext files, one per area and language, read as they are written; nothing is compiled.

``translations/<language>/LC_MESSAGES/<area>.po`` holds the words of one area of the pages. A message's id is a key, as in
"station.level"; its text may hold ``{name}`` placeholders. All keys that begin alike stand in one file, so that people who work
on different areas never touch the same one; a new area is a new file in each language and nothing else.
"""

import gettext
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

TRANSLATIONS = Path(__file__).parent / "translations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All words of one language: ``texts`` by key, and by key the ``plurals`` in the order of the language's plural forms.

    ``form_of`` says which form a number takes.
    """

    texts: Mapping[str, str]
    plurals: Mapping[str, tuple[str, ...]]
    form_of: Callable[[int], int]

    @property
    def keys(self) -> frozenset[str]:
        """Every key, with and without plural forms."""
        return frozenset(self.texts) | frozenset(self.plurals)


@cache
def catalogue(language: str) -> Catalogue:
    """All words of one language.

    Raises:
        ValueError: a key stands in two files.
    """
    texts: dict[str, str] = {}
    plurals: dict[str, tuple[str, ...]] = {}
    forms: set[str] = set()
    for path in area_files(language):
        area = read_area(path, language)
        forms.add(area.plural_expr)
        for key, said in _messages(area):
            if key in texts or key in plurals:
                raise ValueError(f"{path.name}: the key {key!r} stands in another file as well; keep one of them")
            if isinstance(said, str):
                texts[key] = said
            else:
                plurals[key] = said
    if len(forms) != 1:
        raise ValueError(f"the files of {language!r} need one and the same Plural-Forms; there are {sorted(forms)}")
    return Catalogue(texts=texts, plurals=plurals, form_of=gettext.c2py(forms.pop()))


def area_files(language: str) -> list[Path]:
    """The files of one language, by name."""
    return sorted((TRANSLATIONS / language / "LC_MESSAGES").glob("*.po"))


def read_area(path: Path, language: str) -> Catalog:
    """One file; a file that gettext would not accept is refused."""
    with path.open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def _messages(area: Catalog) -> Iterable[tuple[str, str | tuple[str, ...]]]:
    for message in area:
        if isinstance(message.id, str):
            if message.id:
                yield message.id, str(message.string)
        else:
            yield message.id[0], tuple(str(form) for form in message.string or ())
