"""Which global names code reads and defines.

They are found by reading the code, never by running it. Code reads a name if it may see the value
that the name had before the code ran. It does not read a name that it certainly binds first itself
(by an import, as a loop's variable). So cells that use the same name for themselves do not depend
on each other. In doubt, code reads a name. Names in `exec`, `globals()` and quoted annotations are
not seen.
"""

from __future__ import annotations

import ast
import builtins
import functools
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from mpkernel.parsing import parse

__all__ = ["Names", "all_names", "names"]

_BUILTINS = frozenset(dir(builtins))

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Names(NamedTuple):
    """The global names that code reads and defines.

    Attributes:
        reads: names whose earlier values the code may see, now or when its functions are called.
        defines: names that the code may bind or delete.
        defines_unknown: whether the code also imports `*`.
    """

    reads: frozenset[str]
    defines: frozenset[str]
    defines_unknown: bool = False


def names(code: str) -> Names:
    """The global names that code reads and defines; none if it cannot be parsed. Builtins
    count only if the code defines them. Parsing may warn, as `compile` does, once for each code."""
    found = all_names(code)
    return found._replace(reads=found.reads - (_BUILTINS - found.defines))


@functools.lru_cache(maxsize=1024)
def all_names(code: str) -> Names:
    """As `names`, and also the builtins that the code reads."""
    try:
        tree = parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Names(frozenset(), frozenset())
    flow = _Flow()
    try:
        flow.visit(tree)
    except RecursionError:
        every = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
        return Names(every, every, defines_unknown=True)
    return Names(frozenset(flow.reads), frozenset(flow.defines), flow.defines_unknown)


class _Scope(NamedTuple):
    """What names refer to at one place of the code.

    Attributes:
        local: the local names of the functions around it.
        declared: the names that a `global` statement declares here.
        outside: in the body of a class, the names that its methods find bound; None elsewhere.
    """

    local: frozenset[str] = frozenset()
    declared: frozenset[str] = frozenset()
    outside: frozenset[str] | None = None


class _Flow(ast.NodeVisitor):
    """Goes through code in the order in which it runs, and knows at each point which names are its
    own: those that it has certainly bound itself. The body of a function counts as run where the
    function is defined."""

    def __init__(self) -> None:
        self.reads: set[str] = set()
        self.defines: set[str] = set()
        self.defines_unknown = False
        self._own: set[str] = set()
        self._scope = _Scope()

    def generic_visit(self, node: ast.AST) -> None:
        super().generic_visit(node)
        for name in _bound_by(node):
            self._bind(name)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Store):
            self._read(node.id)
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id)
        if isinstance(node.ctx, ast.Del) and self._scope.outside is not None:
            self._own.discard(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._visit(node.value, *node.targets)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id)
        self._visit(node.value, node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._visit(node.value)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)
        self.visit(node.annotation)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._visit(node.value, node.target)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.names[0].name == "*":
            self.defines_unknown = True
        else:
            self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._own = self._branch(*node.body) & self._branch(*node.orelse)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self._own = self._branch(node.body) & self._branch(node.orelse)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self._branch(*node.values[1:])

    def visit_Compare(self, node: ast.Compare) -> None:
        self._visit(node.left, node.comparators[0])
        self._branch(*node.comparators[1:])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._branch(node.target, *node.body)
        self._branch(*node.orelse)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._branch(*node.body)
        self._branch(*node.orelse)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        # The first context manager may suppress an exception that ends the rest early.
        self.visit(node.items[0])
        self._branch(*node.items[1:], *node.body)

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        ends = [self._branch(*node.body, *node.orelse)]
        ends += [self._branch(handler) for handler in node.handlers]
        self._own = set.intersection(*ends) | self._branch(*node.finalbody)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._visit(node.type)
        if node.name is not None:
            self._bind(node.name)
        self._visit(*node.body)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        for case in node.cases:
            self._branch(case)

    def visit_FunctionDef(self, node: _Function) -> None:
        self._visit(*node.decorator_list, *node.args.defaults, *node.args.kw_defaults)
        outer = self._enter_type_parameters(node)
        self._visit(*(parameter.annotation for parameter in _parameters(node.args)), node.returns)
        self._bind(node.name)
        bound, declared = _bindings(node.body)
        parameters = {parameter.arg for parameter in _parameters(node.args)}
        self._call(parameters | bound, *node.body, declared=declared)
        self._scope = outer

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit(*node.args.defaults, *node.args.kw_defaults)
        bound, _ = _bindings([node.body])
        self._call({parameter.arg for parameter in _parameters(node.args)} | bound, node.body)

    def visit_ListComp(self, node: _Comprehension) -> None:
        first, *others = node.generators
        self.visit(first.iter)
        bound, _ = _bindings([generator.target for generator in node.generators])
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        self._call(bound, first.target, *first.ifs, *others, *results)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit(*node.decorator_list)
        outer = self._enter_type_parameters(node)
        self._visit(*node.bases, *node.keywords)
        own, outside = self._own, outer.outside
        if outside is None:
            outside = frozenset(own | {node.name})
        _, declared = _bindings(node.body)
        self._own = set(own if outer.outside is None else outside)
        self._scope = _Scope(self._scope.local - declared, declared, outside)
        self._visit(*node.body)
        self._own, self._scope = own, outer
        self._bind(node.name)

    def visit_TypeAlias(self, node: Any) -> None:
        outer = self._enter_type_parameters(node)
        self._call(set(), node.value)
        self._scope = outer
        self._bind(node.name.id)

    visit_AsyncFor = visit_For
    visit_AsyncWith = visit_With
    visit_TryStar = visit_Try
    visit_AsyncFunctionDef = visit_FunctionDef
    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def _read(self, name: str) -> None:
        if name not in self._own and name not in self._scope.local:
            self.reads.add(name)

    def _bind(self, name: str) -> None:
        if self._scope.outside is not None and name not in self._scope.declared:
            self._own.add(name)
        elif name not in self._scope.local:
            self._own.add(name)
            self.defines.add(name)

    def _visit(self, *nodes: ast.AST | None) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def _branch(self, *nodes: ast.AST) -> set[str]:
        """Visit code that may or may not run. Returns the names that are its own at its end."""
        before, self._own = self._own, set(self._own)
        self._visit(*nodes)
        after, self._own = self._own, before
        return after

    def _call(
        self, local: set[str], *nodes: ast.AST, declared: frozenset[str] = frozenset()
    ) -> None:
        """Visit a body with local names. It does not see the names of a class around it."""
        own, scope = self._own, self._scope
        self._own = set(own if scope.outside is None else scope.outside)
        self._scope = _Scope((scope.local - declared) | (local - declared), declared)
        self._visit(*nodes)
        self._own, self._scope = own, scope

    def _enter_type_parameters(self, node: Any) -> _Scope:
        """Make the `T` of `def f[T]` local (Python 3.12). Returns the scope as it was before."""
        outer = self._scope
        parameters = getattr(node, "type_params", ())
        bound = frozenset(parameter.name for parameter in parameters)
        self._scope = outer._replace(local=outer.local | bound)
        self._visit(*parameters)
        return outer


def _bound_by(node: ast.AST) -> list[str]:
    """The names that this node itself binds, not those that nodes inside it bind."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.alias(name=name, asname=alias):
            return [alias or name.partition(".")[0]]
        case (
            ast.ExceptHandler(name=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
            | ast.MatchMapping(rest=str(name))
        ):
            return [name]
    return []


def _bindings(nodes: Iterable[ast.AST]) -> tuple[set[str], frozenset[str]]:
    """The names that code binds in its own scope, and those that it declares as global."""
    bound: set[str] = set()
    declared: set[str] = set()
    others: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        bound.update(_bound_by(node))
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                # A name that `:=` binds there belongs to the surrounding scope.
                waiting += [part for part in ast.walk(node) if isinstance(part, ast.NamedExpr)]
                continue
            case ast.Global():
                declared.update(node.names)
            case ast.Nonlocal():
                others.update(node.names)
        waiting += ast.iter_child_nodes(node)
    return bound - others, frozenset(declared)


def _parameters(arguments: ast.arguments) -> list[ast.arg]:
    several = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return several + [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
