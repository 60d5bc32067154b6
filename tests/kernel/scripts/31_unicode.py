"""Text beyond ASCII, in names, literals, output and errors."""

import sys
import unicodedata

größe = 3
π = 3.14159
words = ["straße", "ﬁne", "e\u0301", "日本語", "🦜🌊", "\N{GREEK SMALL LETTER OMEGA}", "ß"]
for word in words:
    print(
        word,
        len(word),
        word.upper(),
        word.casefold(),
        ascii(word),
        len(word.encode()),
        unicodedata.normalize("NFC", word) == word,
    )
print(round(größe * π, 2), sorted("zäaöb"), "größe" in globals())
print("surrogate".encode("utf-16-le")[:4], b"\xe2\x82\xac".decode(), "\x00" in "a\0b")
print("errors go out escaped: \udc80", file=sys.stderr)
try:
    "\udc80".encode()
except UnicodeEncodeError as error:
    print(error.reason)
try:
    b"\xff\xfe".decode()
except UnicodeDecodeError as error:
    print(error)
print("é".encode("ascii", "xmlcharrefreplace"), b"caf\xe9".decode("utf-8", "replace"))
print(f"{'右':>4}|{'é':^5}|", unicodedata.name("🦜"))
raise ValueError("größer als ∞ 🦜")
