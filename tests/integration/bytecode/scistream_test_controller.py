# Copyright: Contributors to the scistream.gateway project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ansible-playbook compiles, kept from one run to the next: templates, and the imports of modules.

Each task is run by a process of its own, which forgets the templates that it compiled. To build the archive of a
module, Ansible parses all of its code and looks at the imports only.
"""

from __future__ import annotations

import ast
import builtins
import sys

from jinja2 import environment
from jinja2.environment import Environment, TemplateExpression

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Callable

    Kept = Callable[[str, bytes, Callable[[], Any]], Any]

# What decides, beside its text, on the code of a template.
_SETTINGS = (
    *("block_start_string", "block_end_string", "variable_start_string", "variable_end_string"),
    *("comment_start_string", "comment_end_string", "line_statement_prefix", "line_comment_prefix"),
    *("trim_blocks", "lstrip_blocks", "newline_sequence", "keep_trailing_newline", "optimized", "sandboxed"),
)
_TEMPLATING = "ansible._internal._templating._jinja_bits"
_BUILDER = "ansible.executor.module_common"


def keep(kept: Kept) -> None:
    """Have a function keep templates and imports."""
    _keep_templates(kept)
    _keep_imports(kept)


def _keep_templates(kept: Kept) -> None:
    compile_template, compile_expression = Environment.compile, Environment.compile_expression
    expressions: list[bytes] = []

    def of_template(self: Environment, source: Any, *arguments: Any, **how: Any) -> Any:
        if isinstance(source, str) and not arguments and not how:
            return kept("template", _described(self, source), lambda: compile_template(self, source))
        if expressions:
            return kept("expression", expressions[-1], lambda: compile_template(self, source, *arguments, **how))
        return compile_template(self, source, *arguments, **how)

    def of_expression(self: Environment, source: str, undefined_to_none: bool = True) -> TemplateExpression:
        described = _described(self, source)

        def make() -> CodeType:
            raise LookupError

        try:
            code = kept("expression", described, make)
        except LookupError:
            # Jinja makes a syntax tree of it, and that is compiled.
            expressions.append(described)
            try:
                return compile_expression(self, source, undefined_to_none)
            finally:
                expressions.pop()
        template = self.template_class.from_code(self, code, self.make_globals(None))
        return TemplateExpression(template, undefined_to_none)

    replaced: Any = Environment
    replaced.compile, replaced.compile_expression = of_template, of_expression


def _described(self: Environment, source: str) -> bytes:
    """Tell all that the code of a template follows from."""
    context = getattr(sys.modules.get(_TEMPLATING), "_TemplateCompileContext", None)
    escaped = getattr(context and context.current(optional=True), "escape_backslashes", None)
    where = [environment.__file__, type(self).__qualname__, *sorted(self.extensions)]
    told = [str(source), escaped, *(getattr(self, name) for name in _SETTINGS), *where]
    return repr(told).encode(errors="backslashreplace")


def _keep_imports(kept: Kept) -> None:
    compile_any = builtins.compile

    def of_module(source: Any, filename: Any, mode: str, flags: int = 0, *arguments: Any, **how: Any) -> Any:
        if flags == ast.PyCF_ONLY_AST and sys._getframe(1).f_globals.get("__name__") == _BUILDER:
            text = source if isinstance(source, bytes) else str(source).encode()
            whole = source
            source = kept("imports", text, lambda: _imports(compile_any(whole, filename, mode, flags)))
        return compile_any(source, filename, mode, flags, *arguments, **how)

    replaced: Any = builtins
    replaced.compile = of_module


def _imports(module: ast.Module) -> str:
    """Return a module without what Ansible does not look at."""
    left: list[ast.stmt] = []
    for node in module.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)) or _looked_at(node):
            left.append(node)
        else:
            # Below the top, they may fail.
            inner: list[ast.stmt] = [item for item in ast.walk(node) if isinstance(item, (ast.Import, ast.ImportFrom))]
            if inner:
                left.append(ast.If(ast.Constant(True), inner, []))
    return ast.unparse(ast.fix_missing_locations(ast.Module(left, [])))


def _looked_at(node: ast.stmt) -> bool:
    """Whether it may embed a resource or describe the module."""
    return isinstance(node, ast.Assign) and (
        isinstance(node.value, ast.Call) or "METADATA" in ast.dump(node.targets[0])
    )
