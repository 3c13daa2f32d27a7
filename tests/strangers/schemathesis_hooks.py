"""Teaches schemathesis the rules of the document that it cannot read: the extensions of `spec/README.md`.

Schemathesis judges by JSON Schema. The document also says, with `x-aliases` and `x-accepts`, what else is read, and with
`x-numeric` which texts are numbers. A failure is dropped only when the whole document decides for the server; it is
written again here, so that the server is not judged by its own code.
"""

import json
import re

import schemathesis
from openapi_schema_validator import OAS30Validator
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData

# Integers are read as 64 bits wide, which JSON Schema has no word for.
INTEGERS = range(-(2**63), 2**63)

# What patterns mean in ECMA-262, whose regular expressions the document has; Python's have other blanks and ends of lines.
BLANK = r"[\t-\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"
ANY = r"[^\n\r\u2028\u2029]"


@schemathesis.hook
def filter_failure(context, failure: Failure, case, response) -> bool:
    """Keeps a failure unless the document, with its extensions, wants the answer that the server gave."""
    if not isinstance(failure, (AcceptedNegativeData, RejectedPositiveData)):
        return True
    fits = judge(context.operation.schema.raw_schema, case.operation.path, response.request.body)
    return fits is not isinstance(failure, AcceptedNegativeData)


def judge(document, path, body):
    """Whether a body fits the document; None when that cannot be said, so that the failure is kept."""
    try:
        value = json.loads(body, parse_constant=lambda word: 1 / 0)
        schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    except (ArithmeticError, KeyError, TypeError, ValueError):
        return None
    reading = Reading(document)
    value = reading.read(schema, value)
    strict = OAS30Validator({**schema, "components": document["components"]})
    return not reading.faults and strict.is_valid(value)


class Reading:
    """Turns a value into what the server is to read it as."""

    def __init__(self, document):
        self.document = document
        self.faults = 0

    def read(self, schema, value):
        """The value in its canonical form; what has none stays, for the schema to refuse."""
        accepts = schema.get("x-accepts", [])
        limits = schema.get("x-numeric")
        schema = self.resolve(schema)
        value = converted(schema.get("type"), accepts, value)
        if isinstance(value, dict):
            return self.members(schema, value)
        if isinstance(value, list):
            return [self.read(schema.get("items", {}), item) for item in value]
        if isinstance(value, str) and limits is not None and not is_number(limits, value):
            self.faults += 1
        if isinstance(value, str) and not is_match(schema.get("pattern", ""), value):
            self.faults += 1
        if isinstance(value, int) and value not in INTEGERS and schema.get("type") == "integer":
            self.faults += 1
        return value

    def resolve(self, schema):
        """The component that a schema refers to, or itself."""
        for reference in [schema, *schema.get("allOf", [])]:
            if "$ref" in reference:
                return self.document["components"]["schemas"][reference["$ref"].rpartition("/")[2]]
        return schema

    def members(self, schema, value):
        """An object under its canonical names; a member given in two spellings is a fault."""
        found = {}
        properties = schema.get("properties", {})
        names = {alias: name for name, inner in properties.items() for alias in inner.get("x-aliases", [])}
        for name, member in value.items():
            name = names.get(name, name)
            self.faults += name in found
            found[name] = self.read(properties.get(name, {}), member)
        return found


def converted(kind, accepts, value):
    """A value of another type that the document accepts, as the declared type."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    is_number = is_integer or isinstance(value, float)
    if kind == "boolean" and "integer" in accepts and is_integer and value in (0, 1):
        return bool(value)
    if kind == "string" and ((is_integer and "integer" in accepts) or (is_number and "number" in accepts)):
        return repr(value)
    if kind == "string" and "array" in accepts and isinstance(value, list) and len(value) == 1:
        return value[0]
    if kind in ("integer", "number") and "string" in accepts and isinstance(value, str) and is_number_text(value):
        return int(value) if re.fullmatch("-?[0-9]+", value) else float(value)
    if kind == "integer" and "number" in accepts and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind == "array" and "string" in accepts and isinstance(value, str):
        return [value]
    return value


def is_match(pattern, text):
    """Whether a text matches a pattern of the document."""
    return re.search(pattern.replace(r"\s", BLANK).replace(".+", f"{ANY}+"), text) is not None


def is_number_text(text):
    """Whether a text is a number in decimal or exponent notation."""
    return re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text) is not None


def is_number(limits, text):
    """The rule `x-numeric`."""
    if limits.get("integer") and re.fullmatch("-?[0-9]+", text) is None:
        return False
    if not is_number_text(text):
        return False
    return limits.get("minimum", float("-inf")) <= float(text) <= limits.get("maximum", float("inf"))
