"""Random numbers from a seed, text that is wrapped, templates and regular expressions."""

import difflib
import hashlib
import pprint
import random
import re
import string
import sys
import textwrap

random.seed(20240229)
print(random.random(), random.randint(1, 6), random.sample(range(100), 3))
generator = random.Random("a seed")
letters = list("abcdef")
generator.shuffle(letters)
print("".join(letters), round(generator.gauss(0, 1), 6), generator.choices("xy", [1, 9], k=5))
state = generator.getstate()
first = generator.random()
generator.setstate(state)
print(first == generator.random())
text = "It is a long way from here to there, and longer still to come back. " * 2
print(textwrap.fill(text, 30, initial_indent="* ", subsequent_indent="  "))
print(textwrap.shorten(text, 25), textwrap.dedent("  a\n    b\n").splitlines())
print(string.Template("$who owes $$${sum}").substitute(who="Bob", sum=5))
print("{0[1]} {name!r:>8} {1:^{width}}|".format("ab", 7, name="n", width=5))
pattern = re.compile(r"(?P<key>\w+)\s*=\s*(?P<value>\d+|'[^']*')")
print([match.groupdict() for match in pattern.finditer("a = 1, b='two'")])
print(
    re.sub(r"\b(\w)(\w*)", lambda m: m[1].upper() + m[2], "some words"), re.split(r"\W+", "a,b c")
)
sys.stdout.writelines(difflib.unified_diff(["a\n", "b\n"], ["a\n", "c\n"], "old", "new"))
print(hashlib.sha256(text.encode()).hexdigest()[:16])
pprint.pprint({"list": list(range(30)), "nested": {"key": ["value"] * 8}}, width=60)
