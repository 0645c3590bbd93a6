"""Texts in the words of a source: the notebooks say "character" and "sprite"."""

import re
from collections.abc import Mapping

WORDS = {"character": "character", "sprite": "image", "outfit": "cluster"}  # fields of Attribution

SPRITES = ("2D Sprites", "drawn sprites")  # these sources


def reword(text: str, words: Mapping[str, str]) -> str:
    """`text` with the words of an `Attribution`, in the singular and the plural.

    Code stays as it is: what stands between backticks or in the address of a link. So does a
    sentence about 2D Sprites or drawn sprites.
    """
    changed = {old: words[field] for old, field in WORDS.items() if words[field] != old}
    if not changed:
        return text
    forms = {
        form(old): form(new)
        for old, new in changed.items()
        for form in (str, plural, str.capitalize, lambda word: plural(word).capitalize())
    }
    names = "|".join(sorted(forms, key=len, reverse=True))
    code = r"`[^`]*`|\]\([^)]*\)"
    named = re.compile(rf"{code}|(?:\b(a|A)n?(\s+))?\b({names})\b")

    def renamed(found: re.Match) -> str:
        article, space, name = found.groups(default="")
        if not name:
            return found[0]
        vowel = forms[name][0].lower() in "aeiou"
        return f"{article}{'n' if article and vowel else ''}{space}{forms[name]}"

    parts = re.split(r"((?<=[.!?])\s+|\n\n)", text)  # sentences, and what lies between them
    return "".join(
        part if any(name in part for name in SPRITES) else named.sub(renamed, part)
        for part in parts
    )


def plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
