"""prompts: the texts that the program sends to a model, byte for byte.

A second implementation of agents/prompt.c (sections, slots), agents/consult.c (options) and
agents/answer.c (reports), so that a model can be trained on the very prompts it will get;
check_prompts.py compares the two. Part of a toy world, made for testing software: no medical
meaning, no medical use.
"""

import json
import re

from world import ROOT, catalogue

PROMPTS = ROOT / "configs" / "prompts"


# ---- prompt files --------------------------------------------------------------------------------


def fill(text, values):
    """{slot} and {{ }} as prompt_next reads them; values are taken as they are; all are used."""
    used = set()

    def one(m):
        if m[0] in ("{{", "}}"):
            return m[0][0]
        if m[1] is None:
            raise ValueError(f"a single '{m[0]}' that begins no slot")
        used.add(m[1])
        return values[m[1]]

    text = re.sub(r"\{\{|\}\}|\{([a-z_]+)\}|[{}]", one, text)
    if used != set(values):
        raise ValueError(f"slots never used: {sorted(set(values) - used)}")
    return text


def sections(name):
    """The texts of [system] and [user] without the blank lines around them."""
    text = (PROMPTS / f"{name}.txt").read_text(encoding="utf-8")
    if not text.startswith("[system]\n"):
        raise ValueError(f"{name}: does not begin with [system]")
    system, user = re.split(r"^\[user\]$", text[len("[system]\n") :], maxsplit=1, flags=re.M)
    return system.strip("\n"), user.strip("\n")


class Prompts:
    """system and user text of each role for K specialists."""

    def __init__(self, k):
        self.k = k
        self.catalogue = catalogue()
        self.entry = {s["id"]: s for s in self.catalogue}
        panel = (PROMPTS / "panel" / "system.txt").read_text(encoding="utf-8").rstrip("\n")
        listing = "\n".join(f"{s['id']}: {s['scope']}" for s in self.catalogue)
        constants = {
            "direct/answer": {},
            "cot/answer": {},
            "panel/planner": {"catalogue": listing, "system": panel, "k": str(k)},
            "panel/planner_logit": {"catalogue": listing},
            "panel/specialist": {"system": panel},
            "panel/aggregator": {"system": panel},
        }
        self.system, self.user = {}, {}
        for name, values in constants.items():
            system, self.user[name] = sections(name)
            self.system[name] = fill(system, values)

    def render(self, name, record, **slots):
        """(system, user) of one call."""
        options = options_text(record["options"])
        values = {"question": record["question"], "options": options, **slots}
        return self.system[name], fill(self.user[name], values)

    def specialist(self, record, rationale, ident):
        s = self.entry[ident]
        return self.render(
            "panel/specialist",
            record,
            rationale=rationale or "none",
            specialty_name=s["name"],
            specialty_id=ident,
            specialty_scope=s["scope"],
        )

    def aggregator(self, record, rationale, reports):
        text = "\n".join(report_text(r, self.entry[r["specialty_id"]]["name"]) for r in reports)
        return self.render("panel/aggregator", record, rationale=rationale or "none", reports=text)


def options_text(options):
    return "Options:" + "".join(f"\n{x}. {options[x]}" for x in sorted(options))


def report_text(report, name):
    """A report as the aggregator reads it; probabilities beyond a sum of 1 are rescaled."""
    total = 0.0
    for d in report["differential"]:
        total += d["p"]
    scale = total if total > 1 + 1e-9 else 1.0
    out = [f"{name}:\n"]
    heads = (("for", "evidence_for"), ("against", "evidence_against"))
    for i, d in enumerate(report["differential"], 1):
        out.append(f"{i}. {d['dx']} (p {d['p'] / scale:.2f})\n")
        for head, key in (*heads, ("would discriminate", "discriminators")):
            if d[key]:
                out.append(f"   {head}: {'; '.join(d[key])}\n")
    if report["notes"]:
        out.append(f"   notes: {report['notes']}\n")
    return "".join(out)


# ---- replies -------------------------------------------------------------------------------------


def schema(name, **constants):
    """A schema file with "{slot}" replaced by a value."""
    text = (PROMPTS / f"{name}.json").read_text(encoding="utf-8")
    for slot, value in constants.items():
        text = text.replace(f'"{{{slot}}}"', json.dumps(value))
    return json.loads(text)


def answer_form(n_options):
    return {"type": "string", "enum": list("ABCDEFGH"[:n_options])}


def canonical(value):
    """JSON as constrained decoding writes it: ": ", ", ", keys in the order given."""
    return json.dumps(value, ensure_ascii=False)


def check_reply(form, value, where="reply"):
    """Raises if value is not what the schema describes, its keys in the schema's order."""

    def need(ok, why):
        if not ok:
            raise ValueError(f"{where}: {why}: {value!r}")

    if "const" in form:
        need(value == form["const"], f"not {form['const']}")
    elif form["type"] == "object":
        need(list(value) == list(form["properties"]), "keys or their order")
        for key, inner in form["properties"].items():
            check_reply(inner, value[key], f"{where}.{key}")
    elif form["type"] == "array":
        need(form["minItems"] <= len(value) <= form["maxItems"], "number of items")
        need(not form.get("uniqueItems") or len(set(value)) == len(value), "an item is there twice")
        for i, item in enumerate(value):
            check_reply(form["items"], item, f"{where}[{i}]")
    elif form["type"] == "number":
        need(form["minimum"] <= value <= form["maximum"], "out of range")
        need(value == round(value, form.get("x-decimals", 2)), "too many decimals")
    else:
        need(isinstance(value, str) and value.isprintable(), "no plain text")
        need("enum" not in form or value in form["enum"], "not in the enum")
        need(len(value) <= form.get("maxLength", len(value)), "too long")
