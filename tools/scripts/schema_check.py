#!/usr/bin/env python3
"""Do replies under random schemas validate? Makes random schemas of every keyword that `mas generate
--schema` accepts, lets t_schema_replies write replies to each (free ones and ones closed near a limit
of tokens), and validates them with the package jsonschema, formats included.

Needs: pip install "jsonschema[format]". Usage:
    tools/scripts/schema_check.py [--schemas 10000] [--seed 1] build/release/tests/t_schema_replies

Numbers are read as decimals: with floats 0.07 / 0.01 is no whole number. Schemas that are refused are
counted by message; too many of them are a failure, since then little was tested.
"""
import argparse
import collections
import decimal
import json
import random
import re
import subprocess
import sys
import tempfile

import jsonschema

NAMES = ["a", "b", "ab", "kind", "x/y", "na\"me", "é", "id", "value", "list"]
PATTERNS = [
    "^[A-Z]{3}$", "^\\d{3}-\\d{2}$", "ab+c", "^(cat|dog)s?$", "^\\w+$", "[^\\d\\s]{2}", "^.{2,5}$",
    "^\"[^\"\\\\]*\"$", "\\\\", "^[\\u00e0-\\u00ff]+$", "^a|b$", "^$|^x+$", "(foo|ba[rz])$", "^\\S+@\\S+$",
    "^\\W$", "^\\s*$", "^(?:[a-f0-9]{2}:){2}[a-f0-9]{2}$", "^[^a-z]*$", "^(\\+|-)?\\d{1,3}(\\.\\d+)?$",
    "^\\D+$", "^.*z$", "\\t|\\n", "^[\\x00-\\x1f]{2}$", "^(ab?)*$", "x{2,}", "^[\\]\\-^]+$", "^漢字?$",
]
PIECES = ["a", "b", "x", "1", "\\d", "\\w", "\\s", "\\D", "\\W", "\\S", ".", "[a-c]", "[^a]", "[^\\W\\d]", "[\\s\\S]", "é",
          "\\.", "\\\\", "\"", "\\n", "\\x41", "[\\u0400-\\u04ff]", "[^\\S\\n]", "-", "\\/", "[\\w.-]", "漢"]
FORMATS = ["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"]
WORDS = ["", "a", "b", "ab", "cat", "dog", "it's \"x\"", "漢", "tab\there", "1", "null", "a\\b"]


def expression(r, depth=0):
    """A random regular expression."""
    kind = r.randrange(6 if depth < 3 else 1)
    if kind == 0:
        return r.choice(PIECES)
    if kind <= 2:
        return "".join(expression(r, depth + 1) for _ in range(r.randrange(1, 4)))
    if kind == 3:
        return "(" + r.choice(["", "?:"]) + "|".join(expression(r, depth + 1) for _ in range(r.randrange(1, 4))) + ")"
    inner = r.choice(PIECES) if r.random() < 0.5 else "(?:" + expression(r, depth + 1) + ")"
    return inner + r.choice(["*", "+", "?", "{2}", "{1,3}", "{0,2}?", "{2,}", "+?"])


class Maker:
    def __init__(self, rng):
        self.rng = rng
        self.defs = {}

    def chance(self, p):
        return self.rng.random() < p

    def number(self, integer):
        r = self.rng
        if integer or self.chance(0.3):
            return r.choice([0, 1, -1, 5, 10, 99, 100, 1000, -50, 12345, 2**31 - 1, 1e2, 2**53 - 1, -2.0])
        return r.choice([0.5, 0.01, -0.25, 1.5, 99.99, 0.125, -3.75, 1e-3, 12.0])

    def value(self, depth=0):
        r = self.rng
        kind = r.randrange(8 if depth < 2 else 5)
        if kind == 0:
            return r.choice(WORDS)
        if kind == 1:
            return self.number(True)
        if kind == 2:
            return self.number(False)
        if kind == 3:
            return r.choice([True, False, None])
        if kind == 4:
            return r.choice([3.14159265358979, 1e-12, 1e300, -0.0, 10, 1, 101, 1.5])
        if kind == 5:
            return [self.value(depth + 1) for _ in range(r.randrange(3))]
        return {k: self.value(depth + 1) for k in r.sample(NAMES, r.randrange(3))}

    def notes(self, s):
        if self.chance(0.1):
            s["description"] = "some \"text\""
        if self.chance(0.05):
            s["title"] = "T"
        if self.chance(0.05):
            s["default"] = self.value()
        if self.chance(0.03):
            s["examples"] = [1]
        if self.chance(0.03):
            s.update(self.rng.choice([{"deprecated": True}, {"readOnly": True}, {"$comment": "c"}]))
        return s

    def string(self):
        r, s = self.rng, {"type": "string"}
        kind = r.randrange(5)
        if kind == 0:
            s["pattern"] = r.choice(PATTERNS)
            if self.chance(0.6):
                s["pattern"] = r.choice(["", "^"]) + expression(r) + r.choice(["", "$"])
        elif kind == 1:
            s["format"] = r.choice(FORMATS)
        if kind != 1 and self.chance(0.5):
            s["maxLength"] = r.choice([0, 1, 2, 3, 5, 8, 20, 4.0])
        if kind != 1 and self.chance(0.3):
            s["minLength"] = r.choice([0, 1, 2, 3])
        return s

    def numeric(self):
        r = self.rng
        integer = self.chance(0.5)
        s = {"type": "integer" if integer else "number"}
        if self.chance(0.5):
            s[r.choice(["minimum", "exclusiveMinimum"])] = self.number(integer)
        if self.chance(0.5):
            s[r.choice(["maximum", "exclusiveMaximum"])] = self.number(integer)
        if self.chance(0.3):
            s["multipleOf"] = r.choice([1, 2, 3, 7, 10, 0.5, 0.01, 0.1, 2.5, 100])
        if not integer and self.chance(0.2):
            s["x-decimals"] = r.randrange(5)
        if self.chance(0.1):
            s["format"] = "int32" if integer else "double"
        return s

    def enum(self):
        r = self.rng
        if self.chance(0.4):
            return {"const": self.value()}
        values = []
        for _ in range(r.randrange(1, 6)):
            v = self.value() if self.chance(0.5) else r.choice(WORDS)
            if not any(jsonschema._utils.equal(v, w) for w in values):
                values.append(v)
        s = {"enum": values}
        if all(isinstance(v, str) for v in values) and self.chance(0.5):
            s["type"] = "string"
        return s

    def array(self, depth):
        r, s = self.rng, {"type": "array"}
        if self.chance(0.2):
            s["items"] = {"enum": r.sample(WORDS, r.randrange(2, 6))}
            s["uniqueItems"] = True
            s["minItems"] = r.randrange(3)
            return s
        if self.chance(0.85):
            s["items"] = self.schema(depth + 1)
        if self.chance(0.25):
            s["prefixItems"] = [self.schema(depth + 1) for _ in range(r.randrange(1, 4))]
            if self.chance(0.4):
                s["items"] = False
        if self.chance(0.3):
            s["minItems"] = r.randrange(4)
        if self.chance(0.7):
            s["maxItems"] = s.get("minItems", 0) + r.randrange(3)
        return s

    def object(self, depth):
        r, s = self.rng, {"type": "object"}
        names = r.sample(NAMES, r.randrange(5))
        if names or self.chance(0.5):
            s["properties"] = {k: self.schema(depth + 1) for k in names}
        if self.chance(0.8):
            s["required"] = [k for k in names if self.chance(0.6)]
        if self.chance(0.6):
            s["additionalProperties"] = r.choice([False, False, True, {"type": "integer"}, {}])
        if self.chance(0.15):
            s["minProperties"] = r.randrange(len(names) + 1)
        if self.chance(0.15):
            s["maxProperties"] = r.randrange(len(names) + 2)
        if self.chance(0.03):
            s["propertyNames"] = {"type": "string"}
        return s

    def tagged(self, depth):
        """Objects told apart by a property."""
        tags = self.rng.sample(["cat", "dog", "cow", "c", 1, 2], self.rng.randrange(2, 4))
        forms = []
        for tag in tags:
            s = self.object(depth + 1)
            properties = dict(s.get("properties", {}))
            properties.pop("kind", None)
            before = dict(list(properties.items())[: self.rng.randrange(2)])
            s["properties"] = {**before, "kind": {"const": tag}, **properties}
            s["required"] = ["kind"] + [k for k in s.get("required", []) if k != "kind"]
            s.pop("maxProperties", None)
            s.pop("minProperties", None)
            forms.append(s)
        return {"oneOf": forms, "discriminator": {"propertyName": "kind"}}

    def union(self, depth):
        r = self.rng
        kind = r.randrange(6)
        if kind == 0:
            return {"anyOf": [self.schema(depth + 1), {"type": "null"}]}
        if kind == 1:
            s = self.schema(depth + 1) if self.chance(0.3) else self.string()
            if isinstance(s, dict) and isinstance(s.get("type"), str) and "enum" not in s:
                s["type"] = list(dict.fromkeys([s["type"], "null"] + (["boolean"] if self.chance(0.3) else [])))
            return s
        if kind == 2:
            return self.tagged(depth)
        if kind == 3:
            return {"oneOf": [{"const": v, "title": "t"} for v in r.sample(WORDS, 3)]}
        if kind == 4 and self.chance(0.5):
            base = self.object(depth)
            names = list(base.get("properties", {}))
            if len(names) >= 2:
                base.pop("maxProperties", None)
                base["anyOf"] = [{"required": [n]} for n in names[:2]]
            return base
        forms = [self.schema(depth + 1) for _ in range(r.randrange(1, 5))]
        return {"oneOf" if self.chance(0.2) else "anyOf": forms}

    def ref(self, depth):
        name = self.rng.choice(["One", "two/three", "x~y", "ü"])
        if name not in self.defs:
            self.defs[name] = None
            self.defs[name] = self.schema(depth + 1)
        if self.defs[name] is None:
            return {"type": "boolean"}  # being made: no recursion here
        pointer = name.replace("~", "~0").replace("/", "~1").replace("ü", "%C3%BC")
        s = {"$ref": "#/$defs/" + pointer}
        if self.chance(0.2):
            s["description"] = "d"
        return {"allOf": [s]} if self.chance(0.3) else s

    def joined(self, depth):
        kind = self.rng.randrange(4)
        if kind == 0:
            return {"allOf": [self.object(depth), self.object(depth)]}
        if kind == 1:
            return {"allOf": [{"type": "string", "minLength": 1}, {"maxLength": 4}], "pattern": "[a-z]"}
        if kind == 2:
            return {"allOf": [self.numeric(), {"minimum": 3}]}
        return {"allOf": [self.schema(depth + 1)], "title": "t"}

    def schema(self, depth=0):
        r = self.rng
        if depth > 3:
            makers = [self.string, self.numeric, self.enum, lambda: {"type": r.choice(["boolean", "null"])}]
        else:
            makers = [self.string, self.string, self.numeric, self.numeric, self.enum, self.enum,
                      lambda: {"type": r.choice(["boolean", "null"])}, lambda: r.choice([True, {}]),
                      lambda: self.array(depth), lambda: self.object(depth), lambda: self.object(depth),
                      lambda: self.union(depth), lambda: self.union(depth), lambda: self.ref(depth),
                      lambda: self.joined(depth)]
        s = r.choice(makers)()
        return s if isinstance(s, bool) else self.notes(s)


def make(seed):
    rng = random.Random(seed)
    maker = Maker(rng)
    s = maker.object(0) if rng.random() < 0.85 else maker.schema(0)
    if isinstance(s, bool):
        return s
    if maker.defs:
        s["$defs"] = maker.defs
    if rng.random() < 0.3:
        s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return s


def exact(text):
    """A number; 1.0 and 1e300 are integers to JSON Schema, which the package sees of floats only."""
    d = decimal.Decimal(text)
    return int(d) if d == d.to_integral_value() else d


def decimals(text):
    return json.loads(text, parse_float=exact)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("--schemas", type=int, default=1000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--refusals", action="store_true", help="print every message of a refusal")
    a = p.parse_args()
    lines = [json.dumps(make(a.seed * 1000003 + i), ensure_ascii=i % 2 == 0) for i in range(a.schemas)]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as f:
        f.write("".join(line + "\n" for line in lines))
        f.flush()
        run = subprocess.run([a.program, f.name], capture_output=True)
    if run.returncode:
        sys.exit(f"{a.program} ended with {run.returncode}: {run.stderr.decode()[-2000:]}")
    blocks = run.stdout.decode("utf-8").split("\n.\n")[:-1]
    if len(blocks) != len(lines):
        sys.exit(f"{len(blocks)} answers to {len(lines)} schemas")
    refused, replies, bad = collections.Counter(), 0, 0
    for line, block in zip(lines, blocks):
        if block.startswith("E "):
            refused[re.sub(r"\d+", "N", block.split(": ", 2)[2])] += 1
            if a.refusals:
                print(block, "\n   ", line)
            continue
        schema = decimals(line)
        kind = jsonschema.Draft202012Validator
        kind.check_schema(json.loads(line))
        validator = kind(schema, format_checker=kind.FORMAT_CHECKER)
        for text in block.split("\n"):
            replies += 1
            try:
                wrong = next(validator.iter_errors(decimals(text[2:])), None)
            except ValueError as e:
                wrong = e
            if wrong is not None:
                bad += 1
                print(f"INVALID {text[2:]}\n  schema {line}\n  {str(wrong).splitlines()[0]}")
    for message, n in refused.most_common(20):
        print(f"{n:6} refused: {message}")
    print(f"{len(lines)} schemas, {sum(refused.values())} refused, {replies} replies, {bad} invalid")
    sys.exit(bad > 0 or sum(refused.values()) > len(lines) / 2)


if __name__ == "__main__":
    main()
