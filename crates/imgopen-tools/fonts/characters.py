"""Prints the Chinese, Japanese and Korean characters that the bundled font contains.

GB 2312 whole (simplified), level 1 of Big5 (traditional), JIS X 0208 up to the end of level 1 (Japanese), KS X 1001 without
its Chinese characters (Korean), and the blocks of their punctuation, kana, enclosed letters and wide forms.
"""


def pairs(encoding, firsts, seconds):
    for first in firsts:
        for second in seconds:
            try:
                yield bytes([first, second]).decode(encoding)
            except UnicodeDecodeError:
                pass


GRAPHIC = range(0xA1, 0xFF)
characters = set(pairs("gb2312", GRAPHIC, GRAPHIC))
characters |= set(pairs("big5", range(0xA1, 0xC7), [*range(0x40, 0x7F), *GRAPHIC]))
characters |= set(pairs("euc_jp", range(0xA1, 0xD0), GRAPHIC))
characters |= set(pairs("euc_kr", range(0xA1, 0xC9), GRAPHIC))
for block in range(0x3000, 0x3100), range(0x3200, 0x3400), range(0xFF00, 0xFFF0):
    characters |= {chr(code) for code in block}
print("".join(sorted(c for c in characters if ord(c) > 0x7F)), end="")
