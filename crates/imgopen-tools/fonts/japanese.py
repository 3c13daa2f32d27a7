"""Prints the characters of JIS X 0208 up to the end of level 1 whose Japanese forms are not the simplified Chinese ones.

Takes the collection of Noto Sans CJK, whose first font is the Japanese and whose third is the Chinese one; both have the same
glyphs under different characters.
"""

import sys

from fontTools.ttLib import TTFont

japanese, chinese = (TTFont(sys.argv[1], fontNumber=number, lazy=True).getBestCmap() for number in (0, 2))
GRAPHIC = range(0xA1, 0xFF)
# Quotation marks are left out, because the font of the letters around them has them.
codes = [bytes([first, second]) for first in range(0xA1, 0xD0) for second in GRAPHIC]
characters = {code.decode("euc_jp", errors="ignore") for code in codes} - set("‘’“”")
characters = sorted(c for c in characters if len(c) == 1 and ord(c) in japanese and japanese[ord(c)] != chinese.get(ord(c)))
print("".join(characters), end="")
