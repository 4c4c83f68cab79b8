"""The part of Liquid that a text may use: conditions, assignments, and filters that are fast on any input.

There are no loops, ranges, includes or clock, so a text depends on one record alone. A missing value is an error,
except in a condition and before ``default``. Lists and whole records cannot be printed. Filters limit the size of every
string and number; the library's own limits cover the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, TextIO

from liquid import BoundTemplate, Environment, RenderContext, Token, TokenStream
from liquid.ast import BlockNode, ConditionalBlockNode, Node
from liquid.builtin import content, output
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.expressions.logical import (
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LtExpression,
    NeExpression,
)
from liquid.builtin.expressions.primitive import (
    Blank,
    Empty,
    FloatLiteral,
    IntegerLiteral,
    RangeLiteral,
    StringLiteral,
)
from liquid.builtin.filters.misc import default
from liquid.builtin.tags import if_tag, unless_tag
from liquid.exceptions import FilterError, LiquidSyntaxError, UndefinedError
from liquid.expression import Expression
from liquid.token import TOKEN_CONTENT, TOKEN_ILLEGAL
from liquid.undefined import UNDEFINED, FalsyStrictUndefined, Undefined
from liquid.utils import ReadOnlyChainMap

from worker.triggers import value_filters
from worker.triggers.comparisons import understanding
from worker.triggers.context import FIELDS, Fields
from worker.triggers.segments import LONGEST_TEXT
from worker.triggers.values import value_text

LONGEST_STRING = 100_000
"""Characters of any intermediate value; longer than any CRM field that a template shortens."""
LONGEST_LIST = 1_000
"""Items of a list that ``split`` makes. All together have at most LONGEST_STRING characters."""
LARGEST_NUMBER = 10**30

TAGS = ("if", "unless", "case", "assign", "capture", "comment")
_LIBRARY_TAGS = (TOKEN_CONTENT, TOKEN_ILLEGAL, "#", *TAGS)
_LIBRARY_FILTERS = (
    *("append", "capitalize", "downcase", "first", "last", "lstrip", "prepend", "remove", "remove_first", "rstrip"),
    *("replace_first", "size", "slice", "split", "squish", "strip", "strip_newlines", "truncate", "truncatewords"),
    *("upcase", "url_encode"),
)
_LIBRARY_ARITHMETIC = (
    *("abs", "at_least", "at_most", "ceil", "divided_by", "floor", "minus", "modulo", "plus", "times"),
)
_VALUE_FILTERS = ("date", "first_name", "local_date", "local_time", "money", "name", "number")

_ABSENT = object()


class Missing(FalsyStrictUndefined):
    """A field that is empty or missing: false in a condition, replaced by ``default``, else an error."""

    force_liquid_default = True

    def __str__(self) -> str:
        raise UndefinedError(self.msg, token=self.token)


class _Context(RenderContext):
    """Look-up of names, without a clock (``now``, ``today``), counters, and properties such as ``size``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scope = ReadOnlyChainMap(self.locals, self.globals)

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        found = super().get(path, token=token, default=_ABSENT)
        if found is not _ABSENT:
            return found
        if len(path) == 1 and (field := self._named_alike(path[0])) is not _ABSENT:
            return field
        if default is not UNDEFINED:
            return default
        name = str(path[0]) + "".join(f".{part}" if str(part).isidentifier() else f'["{part}"]' for part in path[1:])
        hint = f'{name} is empty or missing in this record; give it a default: {{{{ {name} | default: "..." }}}}'
        return Missing(name, token=token, hint=hint)

    def _named_alike(self, name: object) -> object:
        """Return the value of the field that differs from ``name`` just in case or punctuation."""
        fields = self.globals.get(FIELDS)
        try:
            return fields[name] if isinstance(fields, Fields) and isinstance(name, str) else _ABSENT
        except KeyError:
            return _ABSENT

    def get_item(self, obj: Any, key: Any) -> Any:
        if isinstance(obj, dict) and isinstance(key, str):
            return obj[key]
        raise KeyError(key)


class _Template(BoundTemplate):
    context_class = _Context


class _OutputNode(output.OutputNode):
    """``{{ ... }}``: prints a value that is not empty, unless it has a ``default``."""

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        value = self.expression.evaluate(context)
        _refuse_missing(value)
        if isinstance(value, dict):
            raise FilterError("this is the whole record; name one of its fields", token=self.token)
        if isinstance(value, list):
            raise FilterError("this is a list; take its first or last item", token=self.token)
        text = value_text(value)
        if not text.strip() and not self._may_be_empty():
            raise FilterError(
                f'{self.expression or "nil"} comes out empty; give it a default: | default: "..."', token=self.token
            )
        return buffer.write(text)

    def _may_be_empty(self) -> bool:
        filters = self.expression.filters if isinstance(self.expression, FilteredExpression) else None
        return any(one.name == "default" for one in filters or ())


class _Output(output.Output):
    node_class = _OutputNode

    def parse(self, stream: TokenStream) -> output.OutputNode:
        token = stream.current
        try:
            return super().parse(stream)
        except LiquidSyntaxError as error:
            if error.token is None or error.token.start_index < 0:
                error.token = token  # the library does not say where an expression ended too early
            raise


class _IfNode(if_tag.IfNode):
    def __init__(
        self,
        token: Token,
        condition: Expression,
        consequence: BlockNode,
        alternatives: list[ConditionalBlockNode],
        default: BlockNode | None,
    ) -> None:
        super().__init__(token, understanding(condition), consequence, alternatives, default)
        for alternative in alternatives:
            alternative.expression = understanding(alternative.expression)


class _If(if_tag.IfTag):
    node_class = _IfNode


class _UnlessNode(unless_tag.UnlessNode):
    def __init__(
        self,
        token: Token,
        condition: Expression,
        consequence: BlockNode,
        alternatives: list[ConditionalBlockNode],
        default: BlockNode | None,
    ) -> None:
        super().__init__(token, understanding(condition), consequence, alternatives, default)
        for alternative in alternatives:
            alternative.expression = understanding(alternative.expression)


class _Unless(unless_tag.UnlessTag):
    node_class = _UnlessNode  # type: ignore[assignment] # the library lets the type of the class be inferred


class TextEnvironment(Environment):
    """The tags, filters and limits of a text. The output limit counts UTF-8 bytes, at most 4 per character."""

    output_stream_limit = 4 * LONGEST_TEXT
    local_namespace_limit = 2_000_000
    template_class = _Template

    def __init__(self) -> None:
        super().__init__(undefined=Missing)

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        """Register only those of the library's tags and filters that this module lists."""
        super().setup_tags_and_filters(extra=extra)
        self.tags = {name: self.tags[name] for name in _LIBRARY_TAGS}
        for tag in (_Output, _If, _Unless):
            self.add_tag(tag)
        allowed = {name: self.filters[name] for name in _LIBRARY_FILTERS}
        arithmetic = {name: self.filters[name] for name in _LIBRARY_ARITHMETIC} | {"round": value_filters.rounded}
        allowed |= {name: value_filters.calculating(name, function) for name, function in arithmetic.items()}
        allowed |= {name: getattr(value_filters, name) for name in _VALUE_FILTERS} | {"replace": _replace}
        self.filters = {name: _guarded(function) for name, function in allowed.items()}
        self.add_filter("default", _default)


class ConditionEnvironment(TextEnvironment):
    """The same for conditions, where a missing field is not an error."""

    def __init__(self) -> None:
        super().__init__()
        self.undefined = Undefined


def refused_expressions(template: BoundTemplate) -> list[tuple[int, str]]:
    """Find expressions that the library knows and a text may not use: (position in the source, reason)."""
    expressions = [expression for node in _nodes(template) for expression in node.expressions()]
    found = []
    while expressions:
        expression = expressions.pop()
        expressions += expression.children()
        if isinstance(expression, RangeLiteral):
            found.append((expression.token.start_index, "ranges such as (1..9) cannot be used in a text"))
        if isinstance(expression, Empty | Blank):
            reason = "an empty field is simply false; write {% if field %} or {% unless field %}"
            found.append((expression.token.start_index, reason))
        for one in getattr(expression, "filters", None) or ():
            values = [getattr(argument, "value", None) for argument in one.args]
            texts = [value.value if isinstance(value, StringLiteral) else None for value in values]
            if fault := value_filters.argument_fault(one.name, texts):
                found.append((expression.token.start_index, fault))
    return found


def comparisons(template: BoundTemplate) -> list[tuple[Sequence[object], str | int | float, bool]]:
    """Return what is compared with a literal: (path of the field, literal, if it asks which is larger or later)."""
    expressions = [expression for node in _nodes(template) for expression in node.expressions()]
    found: list[tuple[Sequence[object], str | int | float, bool]] = []
    while expressions:
        expression = expressions.pop()
        expressions += expression.children()
        if isinstance(
            expression, EqExpression | NeExpression | LtExpression | LeExpression | GtExpression | GeExpression
        ):
            sides = (expression.left, expression.right)
            ordered = not isinstance(expression, EqExpression | NeExpression)
            for path, other in (sides, sides[::-1]):
                if isinstance(path, Path) and isinstance(other, StringLiteral | IntegerLiteral | FloatLiteral):
                    found.append((list(path.path), other.value, ordered))
    return found[::-1]


def literals(template: BoundTemplate) -> list[tuple[int, str]]:
    """Return the plain text between the markup, with its position in the source."""
    return [(node.token.start_index, node.text) for node in _nodes(template) if isinstance(node, content.ContentNode)]


def _nodes(template: BoundTemplate) -> Iterator[Node]:
    context = RenderContext(template)
    nodes = list(template.nodes)
    while nodes:
        node = nodes.pop()
        nodes += node.children(context)
        yield node


def _refuse_missing(value: object) -> None:
    if isinstance(value, Undefined):
        str(value)  # raises, with the name of the field


def _refuse_large(value: object) -> None:
    if isinstance(value, str) and len(value) > LONGEST_STRING:
        raise FilterError(f"a value grew beyond {LONGEST_STRING} characters", token=None)
    if isinstance(value, list):
        if len(value) > LONGEST_LIST:
            raise FilterError(f"a list grew beyond {LONGEST_LIST:,} items", token=None)
        if sum(len(item) for item in value if isinstance(item, str)) > LONGEST_STRING:
            raise FilterError(f"a list grew beyond {LONGEST_STRING} characters", token=None)
    if isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        raise FilterError("a number grew beyond 30 digits", token=None)


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the arguments and the result of a filter."""

    @wraps(function)
    def filter_(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            _refuse_missing(value)
            _refuse_large(value)
            if isinstance(value, dict):
                raise FilterError("this is the whole record; name one of its fields", token=None)
        result = function(*args, **kwargs)
        _refuse_large(result)
        return result

    return filter_


def _default(value: object, instead: object = "", *, allow_false: bool = False) -> object:
    """Apply Liquid's ``default``, to blank text too."""
    if isinstance(value, str) and not value.strip():
        value = ""
    return default(value, instead, allow_false=allow_false)


def _replace(text: object, old: object, new: object = "") -> str:
    """Apply Liquid's ``replace``. It alone can multiply its input, so the size of its result is computed first."""
    text, old, new = value_text(text), value_text(old), value_text(new)
    if len(text) + text.count(old) * len(new) > LONGEST_STRING:
        raise FilterError(f"a value grew beyond {LONGEST_STRING} characters", token=None)
    return text.replace(old, new)
