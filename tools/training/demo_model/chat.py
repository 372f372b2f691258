#!/usr/bin/env python3
"""chat: training text: the program's own prompts with the replies a good model would give.

Toy questions in, toy text out, made for testing software: no medical meaning, no medical use.

    python3 tools/training/demo_model/vignettes.py --split train --n 1000 --seed 1 > train.jsonl
    python3 tools/training/demo_model/chat.py train.jsonl --k 5 --seed 1 > chat.jsonl

One JSON object a line: id ("number/role"), role (direct, cot, logit, planner, specialist,
aggregator), text (the whole chat in Llama 3's form) and reply_at: the offset of the reply in text
(characters are bytes: all is ASCII); what stands before it is given, what follows is to be learnt.
--roles picks some.

Replies are canonical JSON and fit the schemas, checked for every line. They are short, and all they
say of a case stands in the case. In a share of the panels (--noise, 0.15) one specialist from
outside the condition's field leads with a mimic, so that the aggregator has to weigh evidence, not
count votes.
"""

import argparse
import json
import sys

from prompts import Prompts, answer_form, canonical, check_reply, schema
from world import YEARS, Rng, World, posterior

ROLES = ("direct", "cot", "logit", "planner", "specialist", "aggregator")
ADULT = 18


# ---- what is known of a question -----------------------------------------------------------------


class Case:
    def __init__(self, world, record, entry):
        self.world, self.record, self.entry = world, record, entry
        self.c = world.conditions[record["condition"]]
        self.years = record["age"][0] * YEARS[record["age"][1]]
        shown = {f for f, _ in record["findings"]}
        mimics = [m for m in record["choices"] if m != self.c.id]
        p = posterior(world, mimics, self.years, record["male"], shown)
        self.mimics = sorted(mimics, key=lambda m: (-round(p[m], 6), m))  # the closest first

    def name(self, ident):
        return self.world.conditions[ident].name

    def letter(self, ident):
        return "ABCD"[self.record["choices"].index(ident)]

    def mark(self, ident):
        """How a condition's best discriminating finding is called."""
        marks = self.world.conditions[ident].marks
        return self.world.findings[max(marks, key=marks.get)].train[0]

    def told(self, ident, most):
        """Findings of the case that speak for a condition, as told, discriminating ones first."""
        c = self.world.conditions[ident]
        own = {**c.finds, **c.flags, **c.marks}
        told = [(f not in c.marks, i, w) for i, (f, w) in enumerate(self.in_order()) if f in own]
        return [w for _, _, w in sorted(told)[:most]]

    def in_order(self):
        """Findings ([id, wording]) in the order of the question."""
        return sorted(self.record["findings"], key=lambda x: self.record["question"].find(x[1]))

    def against(self, ident):
        """Discriminating findings of the case that a mimic does not explain."""
        c = self.world.conditions[ident]
        own = {**c.finds, **c.flags, **c.marks}
        shown = dict(self.record["findings"])
        return [shown[f] for f in self.record["discriminators"] if f not in own][:1]

    def evidence(self):
        return self.told(self.c.id, 2) or ["the course"]


# ---- replies -------------------------------------------------------------------------------------


def triage(case):
    if case.years < ADULT:
        return "pediatrics"
    return "emergency_medicine" if case.c.urgent else "family_internal_medicine"


def plan(case, prompts):
    """The owner, those of the mimics, who would triage, the generalists, the rest of the list."""
    ids = [case.c.specialty] + [case.world.conditions[m].specialty for m in case.mimics]
    generalists = [s["id"] for s in prompts.catalogue if s["kind"] == "generalist"]
    ids += [triage(case)] + generalists + [s["id"] for s in prompts.catalogue]
    first, second = case.name(case.c.id), case.name(case.mimics[0])
    rationale = f"Seen: {' and '.join(case.evidence())}. To be settled: {first} or {second}."
    return {
        "triage_generalist": triage(case),
        "selected_specialties": list(dict.fromkeys(ids))[: prompts.k],
        "rationale": rationale,
    }


def diagnosis(case, ident, p, most):
    return {
        "dx": case.name(ident),
        "p": p,
        "evidence_for": case.told(ident, most),
        "evidence_against": case.against(ident),
        "discriminators": [case.mark(ident)],
    }


def report(case, specialty, misled=False):
    """Of two diagnoses: the condition and a mimic, one of the own field if there is one."""
    own = [m for m in case.mimics if case.world.conditions[m].specialty == specialty]
    rival = (own or case.mimics)[0]
    lead, other = (rival, case.c.id) if misled else (case.c.id, rival)
    inside = case.c.specialty == specialty
    high, low = (0.85, 0.1) if inside else (0.5, 0.3) if misled else (0.6, 0.2)
    notes = f"Favors {case.letter(lead)}; rules out {case.letter(other)} first."
    if not inside:
        notes = "Outside my field. " + notes
    return {
        "specialty_id": specialty,
        "differential": [diagnosis(case, lead, high, 3), diagnosis(case, other, low, 1)],
        "notes": notes,
    }


def panel_reports(case, selected, noise, seed):
    """All reports; with probability noise one from outside the field is misled."""
    rng = Rng(seed, "noise", case.record["split"], case.record["seed"], case.record["number"])
    outside = [s for s in selected if s != case.c.specialty]
    misled = rng.pick(outside) if rng.chance(noise) and outside else None
    return [report(case, s, s == misled) for s in selected], misled


def decision(case, misled):
    c, rival = case.c, case.mimics[0]
    letter, form = case.letter(c.id), case.record["form"]
    why = f"With {' and '.join(case.evidence())}: {c.name}. {case.name(rival)} lacks {case.mark(rival)}."
    if form != "diagnosis":
        why += f" The {form} is {c.text(form)}."
    warnings = [f"{case.entry[misled]['name']} disagrees."] if misled else []
    return {
        "ordered_differential": [c.name, case.name(rival)],
        "justification": why,
        "final_answer": letter,
        "warnings": warnings,
    }


def reasoned(case):
    """What is asked, what matters, the explanation, the competitors, the option."""
    c, form = case.c, case.record["form"]
    steps = [f"Asked: {form}.", f"Findings: {'; '.join(w for _, w in case.in_order())}."]
    steps.append(f"{' and '.join(case.evidence())} mean {c.name}.")
    for m in sorted(case.mimics, key=case.letter):
        steps.append(f"{case.name(m)} would show {case.mark(m)}.")
    steps.append(f"{case.letter(c.id)} fits: {c.text(form)}.")
    return {"reasoning": " ".join(steps), "final_answer": case.letter(c.id)}


# ---- chats ---------------------------------------------------------------------------------------


def llama3(system, user, reply):
    """(text, offset of the reply), as runtime/text/chat.c renders and the model is to go on."""
    text = "<|begin_of_text|>"
    for role, content in (("system", system), ("user", user)):
        text += f"<|start_header_id|>{role}<|end_header_id|>\n\n{content.strip()}<|eot_id|>"
    text += "<|start_header_id|>assistant<|end_header_id|>\n\n"
    return text + reply + "<|eot_id|>", len(text)


class Chats:
    def __init__(self, world, k, noise=0.15, seed=1):
        self.world, self.noise, self.seed = world, noise, seed
        self.prompts = Prompts(k)
        ids = [s["id"] for s in self.prompts.catalogue]
        generalists = [s["id"] for s in self.prompts.catalogue if s["kind"] == "generalist"]
        answer = answer_form(4)
        self.form = {
            "cot": schema("cot/answer", answer=answer),
            "planner": schema("panel/planner", specialty_ids=ids, generalist_ids=generalists, k=k),
            "aggregator": schema("panel/aggregator", answer=answer),
        }
        for s in ids:
            self.form[s] = schema("panel/specialist", specialty_id=s)

    def json(self, form, value):
        check_reply(self.form[form], value)
        return canonical(value)

    def of(self, record):
        """Yields (role, (system, user), reply) of all calls that a question can lead to."""
        p = self.prompts
        case = Case(self.world, record, p.entry)
        planned = plan(case, p)
        selected, rationale = planned["selected_specialties"], planned["rationale"]
        reports, misled = panel_reports(case, selected, self.noise, self.seed)
        yield "direct", p.render("direct/answer", record), f"Answer: {record['answer_idx']}"
        yield "cot", p.render("cot/answer", record), self.json("cot", reasoned(case))
        yield "logit", p.render("panel/planner_logit", record), f"Specialty: {case.c.specialty}"
        yield "planner", p.render("panel/planner", record), self.json("planner", planned)
        for s, r in zip(selected, reports):
            yield "specialist", p.specialist(record, rationale, s), self.json(s, r)
        decided = self.json("aggregator", decision(case, misled))
        yield "aggregator", p.aggregator(record, rationale, reports), decided


def main():
    p = argparse.ArgumentParser(description="Training text of a toy world, for testing software.")
    p.add_argument("questions", help="output of vignettes.py")
    p.add_argument("--k", type=int, default=5, help="specialists of a panel (planner.top_k)")
    p.add_argument("--noise", type=float, default=0.15, help="share of panels with a misled report")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--roles", default=",".join(ROLES), help="comma-separated")
    a = p.parse_args()
    roles = a.roles.split(",")
    if set(roles) - set(ROLES):
        p.error(f"unknown role in {a.roles}; there are {', '.join(ROLES)}")
    chats = Chats(World(), a.k, a.noise, a.seed)
    with open(a.questions, encoding="ascii") as lines:
        for line in lines:
            record = json.loads(line)
            for role, (system, user), reply in chats.of(record):
                if role in roles:
                    text, at = llama3(system, user, reply)
                    ident = f"{record['number']}/{role}"
                    out = {"id": ident, "role": role, "text": text, "reply_at": at}
                    sys.stdout.write(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
