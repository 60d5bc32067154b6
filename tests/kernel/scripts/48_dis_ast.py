"""A script that reads, changes, compiles and takes apart its own code."""

import ast
import dis
import sys
import tokenize
from pathlib import Path


def simple(one, two):
    total = one + two
    return total if total else None


class Doubled(ast.NodeTransformer):
    def visit_Constant(self, node):
        doubled = node.value * 2 if isinstance(node.value, int) else node.value
        return ast.copy_location(ast.Constant(doubled), node)


tree = ast.parse(Path(__file__).read_text(), __file__)
print([type(statement).__name__ for statement in tree.body][:7])
print([node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)])
expression = ast.parse("[1, 'a', 20 + x]", mode="eval")
doubled = ast.fix_missing_locations(Doubled().visit(expression))
print(ast.unparse(doubled), eval(compile(doubled, "<doubled>", "eval"), {"x": 1}))
print(ast.dump(ast.parse("x += 1").body[0]), ast.literal_eval("{'a': (1, None)}"))
names = [each.opname for each in dis.get_instructions(simple)]
print("RETURN_VALUE" in names, len(names) > 5, simple.__code__.co_varnames)
dis.dis("x = y", file=sys.stdout)
with open(__file__, "rb") as file:
    tokens = [token.string for token in tokenize.tokenize(file.readline)]
print(tokens[0], tokens.count("def"))
try:
    compile("def broken(:\n  pass", "<broken>", "exec")
except SyntaxError as error:
    print(error.msg, error.lineno, error.offset, error.text)
exec("raise IndexError('from a string')")
