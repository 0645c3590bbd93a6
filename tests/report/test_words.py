"""Texts speak of a source in its own words."""

import pytest

from lib.report.words import reword

DIGITS = {"character": "digit", "image": "image", "cluster": "identity"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Two characters, one character. Characters!", "Two digits, one digit. Digits!"),
        (
            "Sprites. In 2D Sprites, sprites\nare so. Sprites",
            "Images. In 2D Sprites, sprites\nare so. Images",
        ),
        ("Swaps of drawn sprites. Other sprites", "Swaps of drawn sprites. Other images"),
        ("outfits and an outfit", "identities and an identity"),
        ("`match_characters` and `character`", "`match_characters` and `character`"),
        ("[the character](../lib/character.py)", "[the digit](../lib/character.py)"),
        ("characteristic", "characteristic"),
        (
            "A sprite, a\nsprite, an outfit, a character",
            "An image, an\nimage, an identity, a digit",
        ),
    ],
)
def test_words_change_and_code_does_not(text, expected):
    assert reword(text, DIGITS) == expected


def test_sprites_keep_theirs():
    text = "A character, sprites and outfits."
    assert reword(text, {"character": "character", "image": "sprite", "cluster": "outfit"}) == text
