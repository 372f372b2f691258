"""Clinical cases and evaluations of `mas serve`: serve_clinic.py MAS SOURCE. Runs in an empty folder."""
import atexit
import csv
import glob
import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

mas, source = sys.argv[1:]
bad = 0


def check(good, text):
    global bad
    if not good:
        bad = 1
        print("FAILED:", text, flush=True)
    return good


class Server:
    all = []

    def __init__(self, *options, env=None):
        self.out = open("out", "w+")
        self.err = open("err", "a+")
        self.p = subprocess.Popen([mas, "serve", "-c", "demo", "--port", "0", "--threads", "1", *options],
                                  stdout=self.out, stderr=self.err, env={**os.environ, **(env or {})})
        Server.all.append(self.p)
        for _ in range(600):
            line = open("out").read()
            if "listening on" in line:
                break
            if self.p.poll() is not None:
                sys.exit("the server does not start: " + open("err").read())
            time.sleep(0.05)
        self.port = int(line.split("listening on", 1)[1].split()[0].rstrip("/").rsplit(":", 1)[1])
        for _ in range(600):
            if self.ask("GET", "/ready")[0] == 200:
                break
            time.sleep(0.05)

    def ask(self, method, path, body=None, headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=240)
        h = dict(headers or {})
        if body is not None:
            h["Content-Type"] = "application/json"
            body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        c.request(method, path, body, h)
        r = c.getresponse()
        data = r.read()
        c.close()
        head = {k.lower(): v for k, v in r.getheaders()}
        if head.get("content-type", "").startswith("application/json"):
            data = json.loads(data)
        return r.status, head, data

    def get(self, path, **headers):
        return self.ask("GET", path, None, headers)[2]

    def post(self, path, body):
        return self.ask("POST", path, body)

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        check(self.p.wait(60) == 0, "the server ends with %s: %s" % (self.p.returncode, open("err").read()[-2000:]))

    def kill(self):
        self.p.kill()
        self.p.wait()


atexit.register(lambda: [p.kill() for p in Server.all if p.poll() is None])


def events(data):
    """Server-sent events: [(name, id, value)]."""
    out = []
    for block in data.decode().split("\n\n"):
        name, number, value = None, None, None
        for line in block.split("\n"):
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: "):
                value = json.loads(line[6:])
        if name:
            out.append((name, number, value))
    return out


def refused(s, status, text, path, body, param=None):
    got, _, data = s.post(path, body)
    message = data["error"]["message"] if isinstance(data, dict) and "error" in data else str(data)
    check(got == status and text in message, "%s %s: %s %s, expected %s '%s'" % (path, str(body)[:150], got, message, status, text))
    if param:
        check(data["error"]["param"] == param, "%s: the error is about %s, not %s" % (path, data["error"]["param"], param))


def lines(run):
    """The lines of a run's trace."""
    gz = "runs/%s/traces.jsonl.gz" % run
    text = gzip.open(gz).read() if os.path.exists(gz) else open("runs/%s/traces.jsonl" % run, "rb").read()
    return [json.loads(x) for x in text.decode().split("\n") if x]


def essence(run):
    """All of a run's results that do not depend on time, company or cache, by the id of the question."""
    out = {}
    for x in lines(run):
        if "case" in x:
            assert x["case"] not in out, x["case"]
            out[x["case"]] = [x[k] for k in ("n", "state", "predicted", "answer", "why", "shown")]
        else:
            out.setdefault("calls", []).append((x["call"], x["role"], x["index"], x["user"], x["reply"]))
    out["calls"] = sorted(out.get("calls", []))
    return out


def wait_done(s, run, seconds=240):
    for _ in range(seconds * 10):
        r = s.get("/runs/%s?limit=0" % run)
        if not r["live"]:
            return r
        time.sleep(0.1)
    check(False, "run %s does not end" % run)
    return r


def text(what):
    return [what[k] for k in ("state", "predicted", "answer", "why", "calls", "prompt_tokens", "new_tokens")] + \
        [what.get(k) for k in ("reports", "decision", "samples", "positions", "votes", "recruits", "planner", "selected_specialties", "p", "noise")]


questions = [json.loads(x) for x in open(source + "/configs/demo/questions.jsonl")][:60]
case = questions[5]["question"]
options = [questions[5]["options"][k] for k in "ABCD"]
listed = "||".join("%s. %s" % (k, v) for k, v in zip("ABCD", options))

s = Server()

# ---- one case: the same as mas run --json -----------------------------------------------------------
runs = subprocess.run([mas, "run", "-c", "demo", "--quiet", "--json", "-q", case, "-o", listed, "--seed", "7", "--set", "temperature=0.7",
                       "--set", "planner.top_k=3"], capture_output=True, text=True)
alone = json.loads(runs.stdout)
body = {"question": case, "options": options, "seed": 7, "config": {"temperature": 0.7, "planner.top_k": 3}}
status, head, got = s.post("/run", body)
check(status == 200 and text(got) == text(alone), "POST /run differs from mas run --json: %s / %s" % (got, alone))
check(head.get("x-mas-seed") == "7" and "research" in head.get("x-mas-notice", ""), "headers of POST /run: %s" % head)
check(got["trace"] in os.listdir("runs"), "the trace %s is no folder" % got["trace"])
for form in ({"A": options[0], "B": options[1], "C": options[2], "D": options[3]}, listed):
    check(text(s.post("/run", {**body, "options": form, "config": {"temperature": 0.7, "planner": {"top_k": 3}}})[2]) == text(alone),
          "another form of the options changes the answer")
check(s.post("/run", {"question": case, "stream": None, "options": "", "strategy": "cot"})[2]["state"] == "answered", "an open question")

# ---- every strategy of the table --------------------------------------------------------------------
names = [x["name"] for x in s.get("/clinic")["strategies"]]
check(len(names) >= 9, "strategies: %s" % names)
for name in names:
    sets = {"sc.samples": 3, "agent_temperatures.sc": 0.9, "debate.rounds": 2, "planner.top_k": 3, "medagents.question_experts": 2, "mdagents.complexity": "moderate", "mdagents.experts": 2}
    sets = {k: v for k, v in sets.items() if k.split(".")[0] in (name, "planner") or k.split(".")[1] == name}
    one = subprocess.run([mas, "run", "-c", "demo", "--quiet", "--json", "-s", name, "-q", case, "-o", listed, "--seed", "7",
                          *[x for k, v in sets.items() for x in ("--set", "%s=%s" % (k, v))]], capture_output=True, text=True)
    one = json.loads(one.stdout)
    check(one["state"] == "answered" and abs(sum(one["p"]) - 1) < 1e-6, "%s alone: %s" % (name, one))
    served = {"question": case, "options": options, "seed": 7, "strategy": name, "config": sets}
    status, _, r = s.post("/run", served)
    check(status == 200 and text(r) == text(one), "%s: POST /run differs from mas run --json: %s / %s" % (name, r, one))
    ev = events(s.post("/run", {**served, "stream": True})[2])
    check([text(e[2]) for e in ev if e[0] == "answer"] == [text(one)], "%s: the event 'answer'" % name)
    calls = [e[2] for e in ev if e[0] == "call-started"]
    check(len(calls) == one["calls"] and all(c["index"] == 0 or c["many"] for c in calls), "%s: calls of the events" % name)

# ---- events -----------------------------------------------------------------------------------------
status, head, data = s.post("/run", {**body, "stream": True})
ev = events(data)
names = [e[0] for e in ev]
check(status == 200 and head["content-type"] == "text/event-stream", "the type of a stream")
check(names[0] == "case" and names[-3:] == ["answer", "cost", "end"], "events: %s" % names)
answer = [e[2] for e in ev if e[0] == "answer"][0]
check(text(answer) == text(alone), "the event 'answer' differs from mas run --json")
started = {e[2]["call"]: e[2] for e in ev if e[0] == "call-started"}
deltas = {}
for name, _, v in ev:
    if name == "text":
        check(v["call"] in started, "text before its call")
        if not v.get("thinking"):
            deltas[v["call"]] = deltas.get(v["call"], "") + v["delta"]
ended = {e[2]["call"]: e[2] for e in ev if e[0] == "call-finished"}
trace = s.get("/runs/%s/cases/0" % answer["trace"])
check(len(started) == len(ended) == len(trace["calls"]) == 5, "calls: %d, %d, %d" % (len(started), len(ended), len(trace["calls"])))
for i, c in enumerate(trace["calls"]):
    check(deltas.get(i) == c["reply"] == ended[i]["reply"], "call %d: the text of the events is not the trace's reply" % i)
    check(started[i]["user"] == c["user"] and started[i]["role"] == c["role"], "call %d: another prompt" % i)
    check(ended[i]["parsed"] == c["parsed"] and ended[i]["value"] == json.loads(c["reply"]), "call %d: its value" % i)
order = [n + str(v.get("call", "")) for n, _, v in ev if n in ("plan", "call-started", "call-finished", "answer")]
check(order.index("call-finished0") < order.index("plan") < order.index("call-started1") and
      order.index("call-finished3") < order.index("call-started4") < order.index("call-finished4") < order.index("answer"), "order: %s" % order)
check([e[2] for e in ev if e[0] == "plan"][0]["selected_specialties"] == answer["selected_specialties"], "the plan")
check(len(data) > 1000 and max(map(len, data.split(b"\n"))) < 100000, "lines of events")

# ---- the parts of a panel ---------------------------------------------------------------------------
plan = s.post("/plan", {**body})[2]
check(plan["state"] == "planned" and plan["selected_specialties"] == answer["selected_specialties"] and plan["calls"] == 1, "plan: %s" % plan)
check(s.post("/plan", {"question": case, "strategy": None})[2]["state"] == "planned", "a plan without a strategy")
refused(s, 400, "strategy cot cannot do this part alone", "/plan", {"question": case, "strategy": "cot"}, "strategy")
asked = s.post("/consult", {**body, "specialties": ["rheumatology", "neurology"]})[2]
check(asked["state"] == "reported" and [r["specialty_id"] for r in asked["reports"]] == ["rheumatology", "neurology"] and asked["calls"] == 2, "consult: %s" % asked)
decided = s.post("/aggregate", {**body, "reports": asked["reports"]})[2]
check(decided["state"] == "answered" and decided["calls"] == 1 and decided["predicted"] in "ABCD", "aggregate: %s" % decided)
given = s.get("/runs/%s/cases/0" % decided["trace"])["calls"][0]
check(asked["reports"][0]["differential"][0]["dx"] in given["user"], "the aggregator does not see the reports")

refused(s, 400, "'question' is missing", "/run", {}, "question")
refused(s, 400, "unknown member 'questoin'; did you mean 'question'?", "/run", {"questoin": "a"})
refused(s, 400, "no strategy 'pannel'", "/run", {"question": case, "strategy": "pannel"}, "strategy")
refused(s, 400, "a client may not set 'prompts_dir'", "/run", {"question": case, "config": {"prompts_dir": "/etc"}}, "config")
refused(s, 400, "a client may not set 'model'", "/run", {"question": case, "config": {"model": "/etc/passwd"}}, "config")
refused(s, 400, "a client may not set 'logging.traces_dir'", "/run", {"question": case, "config": {"logging": {"traces_dir": "/tmp"}}}, "config")
refused(s, 400, "'planner.top_k'", "/run", {"question": case, "config": {"planner.topk": 3}}, "config")
refused(s, 400, "it takes a whole number from 1 to 28", "/run", {"question": case, "config": {"planner.top_k": 99}}, "config")
refused(s, 400, "'options' has 1 items", "/run", {"question": case, "options": ["a"]}, "options")
refused(s, 400, "none is 'B'", "/run", {"question": case, "options": {"A": "a", "C": "c"}}, "options")
refused(s, 400, "holds '||'", "/run", {"question": case, "options": ["a||b", "c"]}, "options")
refused(s, 400, "'question' contains a NUL", "/run", {"question": "a\0b"}, "question")
refused(s, 404, "no model 'x'; there are demo", "/run", {"question": case, "model": "x"}, "model")
refused(s, 400, "radiology", "/consult", {"question": case, "specialties": ["radiology"]}, "specialties")
refused(s, 400, "names 'neurology' twice", "/consult", {"question": case, "specialties": ["neurology", "neurology"]}, "specialties")
refused(s, 400, "report 1: key 'differential' is missing", "/aggregate", {"question": case, "reports": [{"specialty_id": "neurology"}]}, "reports")
refused(s, 400, "report 2: it is a second one", "/aggregate", {"question": case, "reports": [asked["reports"][0]] * 2}, "reports")

# ---- two cases and an evaluation together: the same as alone ------------------------------------------
part = questions[:14]
alone_run = s.post("/eval", {"questions": part, "strategy": "cot"})[2]["id"]
wait_done(s, alone_run)
together = s.post("/eval", {"questions": part, "strategy": "cot"})[2]["id"]
got = [None, None]


def one(i):
    got[i] = s.post("/run", {**body, "seed": 7 + i})[2]


threads = [threading.Thread(target=one, args=(i,)) for i in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
done = wait_done(s, together)
check(text(got[0]) == text(alone), "a case beside others differs from the case alone")
check(essence(together) == essence(alone_run), "an evaluation beside cases differs from the evaluation alone")
check(done["state"] == "complete" and done["records"] == 14, "the summary: %s" % str(done)[:600])

# ---- questions with faults count ----------------------------------------------------------------------
faulty = [dict(q) for q in part[:6]]
faulty[1] = {"question": "no options"}
faulty[2] = {**faulty[2], "answer_idx": "Z"}
faulty[4] = faulty[3]
status, head, r = s.post("/eval", {"questions": faulty, "strategy": "direct"})
check(status == 202 and head["location"] == "/runs/" + r["id"] and r["rejected"] == 2 and r["duplicates"] == 1, "a start: %s" % r)
end = wait_done(s, r["id"])
check(end["summary"]["accuracy"]["n"] == 6 and end["summary"]["rejected"] == 2 and end["rejected"] == 2, "rejected records left the denominator: %s" % str(end)[:600])
page = s.get("/runs/%s?filter=wrong&limit=1" % r["id"])
check(page["cases"][0]["state"] == "rejected" and page["cases"][0]["n"] == 1 and "options" in page["cases"][0]["why"] and page["fit"] >= 2, "a rejected record: %s" % page["cases"])
check(s.ask("GET", "/runs/%s/cases/1" % r["id"])[0] == 404, "a rejected record has a case")
check([c["n"] for c in s.get("/runs/%s?offset=2&limit=2" % r["id"])["cases"]] == [2, 3], "pages of cases")
for q in ("limit=x", "limit=1001", "offset=-1", "filter=none"):
    check(s.ask("GET", "/runs/%s?%s" % (r["id"], q))[0] == 400, "the query %s is taken" % q)
refused(s, 400, "no list of questions '/etc/passwd'", "/eval", {"data": "/etc/passwd"}, "data")
refused(s, 400, "no list of questions '../secret'", "/eval", {"data": "../secret"}, "data")
refused(s, 400, "no questions", "/eval", {}, "data")
refused(s, 400, "both", "/eval", {"data": "medqa", "questions": part}, "questions")
refused(s, 400, "no usable question", "/eval", {"questions": [{"a": 1}]}, "questions")
refused(s, 400, "'questions' has 0 items", "/eval", {"questions": []}, "questions")
for path in ("/runs/..", "/runs/%2e%2e", "/runs/.%2f", "/runs/none", "/runs/none/events", "/runs/none/cases/0", "/runs/../../cases/1", "/runs/..%2f..%2fetc/cases/1"):
    check(s.ask("GET", path)[0] in (400, 404), path)
for verb in ("stop", "resume"):
    check(s.ask("POST", "/runs/none/" + verb)[0] == 404, verb)
check(s.ask("POST", "/runs/%s/resume" % answer["trace"])[0] == 400, "a single case is resumed")

# ---- events of a run: resumed by their number -----------------------------------------------------------
ev = events(s.ask("GET", "/runs/%s/events" % alone_run)[2])
numbers = [e[1] for e in ev if e[0] == "case"]
check(numbers == list(range(1, 15)) and ev[-1][0] == "end" and ev[-1][2]["state"] == "complete", "events of a finished run: %s" % numbers)
check([e[1] for e in events(s.ask("GET", "/runs/%s/events" % alone_run, None, {"Last-Event-ID": "12"})[2]) if e[0] == "case"] == [13, 14], "Last-Event-ID")
def clients_gone():
    return int(re.search(rb"^mas_clients_gone_total (\d+)", s.ask("GET", "/metrics")[2], re.M)[1])


gone = clients_gone()
live = s.post("/eval", {"questions": questions[:20], "strategy": "cot", "concurrency": 2})[2]["id"]
c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=120)
c.request("GET", "/runs/%s/events" % live)
first = c.getresponse()
some = b""
while some.count(b"event: case") < 3:
    some += first.read1(4096)
c.sock.shutdown(socket.SHUT_RDWR)
c.close()
last = max(e[1] for e in events(some[:some.rindex(b"\n\n") + 2]) if e[0] == "case")
rest = events(s.ask("GET", "/runs/%s/events" % live, None, {"Last-Event-ID": str(last)})[2])
check([e[1] for e in rest if e[0] == "case"] == list(range(last + 1, 21)), "a client that comes back misses cases")
check(clients_gone() == gone + 1, "a client that left its events: mas_clients_gone_total %d after %d" % (clients_gone(), gone))
check([e for e in rest if e[0] == "progress"][-1][2]["done"] == 20 and rest[-1][2]["state"] == "complete", "the end of a live run")

# ---- stop and resume --------------------------------------------------------------------------------------
whole = s.post("/eval", {"questions": questions[:30], "strategy": "cot", "concurrency": 3})[2]["id"]
wait_done(s, whole)
half = s.post("/eval", {"questions": questions[:30], "strategy": "cot", "concurrency": 3})[2]["id"]
while s.get("/runs/%s?limit=0" % half)["live"]["done"] < 4:
    time.sleep(0.02)
check(s.ask("POST", "/runs/%s/resume" % half)[0] == 409, "a run that goes on is resumed")
check(s.ask("DELETE", "/runs/%s" % half)[0] == 202, "stop")
r = wait_done(s, half)
kept = r["summary"]["so_far"]["n"]
check(r["state"] == "partial" and 4 <= kept < 30, "a stopped run: %s, %d done" % (r["state"], kept))
in_list = [x for x in s.get("/runs")["runs"] if x["id"] == half][0]
check(in_list["done"] == in_list["so_far"]["n"] == kept and in_list["accuracy"]["n"] == 30 and
      in_list["so_far"]["low"] <= in_list["so_far"]["accuracy"] <= in_list["so_far"]["high"], "a stopped run in the list: %s" % in_list)
check(s.ask("POST", "/runs/%s/stop" % half)[2]["state"] == "stopped", "a second stop")
status, _, r = s.ask("POST", "/runs/%s/resume" % half)
check(status == 202 and r["done"] == kept, "resume: %s %s" % (status, r))
r = wait_done(s, half)
check(r["state"] == "complete" and essence(half) == essence(whole), "a stopped and resumed run differs from one that was not stopped")

# ---- kill -9 in the middle, then resume; and mas eval goes on with another ---------------------------------
ids = [s.post("/eval", {"questions": questions[:30], "strategy": "cot", "concurrency": 2})[2]["id"] for _ in range(2)]
while any(s.get("/runs/%s?limit=0" % i)["live"]["done"] < 3 for i in ids):
    time.sleep(0.02)
s.kill()
s = Server()
listed_runs = {r["id"]: r for r in s.get("/runs")["runs"]}
check(all(listed_runs[i]["state"] == "partial" and listed_runs[i]["live"] is None for i in ids), "the list after a kill")
check(answer["trace"] not in listed_runs and answer["trace"] in {r["id"] for r in s.get("/runs?cases=true")["runs"]}, "single cases in the list")
before = [len([x for x in lines_of.split(b"\n") if x.startswith(b'{"case"')]) for lines_of in
          (open("runs/%s/traces.jsonl" % i, "rb").read() for i in ids)]
check(all(3 <= b < 30 for b in before), "finished before the kill: %s" % before)
check(s.ask("POST", "/runs/%s/resume" % ids[0])[0] == 202, "resume after a kill")
check(s.ask("POST", "/runs/%s/resume" % ids[0])[0] == 409, "a second resume")
wait_done(s, ids[0])
done = subprocess.run([mas, "eval", "-c", "demo", "--quiet", "-s", "cot", "--data", "runs/%s/questions.json" % ids[1], "--out", "runs/" + ids[1]],
                      capture_output=True, text=True)
check(done.returncode == 0, "mas eval goes on with a run of the server: %s" % done.stderr)
for i in ids:
    check(s.get("/runs/%s?limit=0" % i)["state"] == "complete" and essence(i) == essence(whole), "a killed run differs from one that was not")
    rows = list(csv.DictReader(open("runs/%s/results.csv" % i)))
    check(len(rows) == 30 and len({x["line"] for x in rows}) == 30, "results.csv has %d rows" % len(rows))

# The server goes on with a run of mas eval.
subprocess.run([mas, "eval", "-c", "demo", "--quiet", "-s", "direct", "--data", source + "/configs/demo/questions.jsonl", "--n", "20", "--out", "runs/mine"],
               capture_output=True)
check(s.ask("POST", "/runs/mine/resume")[0] == 202 and wait_done(s, "mine")["state"] == "complete", "a run of mas eval")

# ---- a run of mas eval on a choice of records and on variants of them, stopped: the server takes the same records and variants
part_ids = [x["trace_id"] for x in csv.DictReader(open("runs/mine/results.csv"))][2:12]
open("ids.txt", "w").write("".join(i + "\n" for i in part_ids))
open("words.jsonl", "w").write("".join(json.dumps({"id": i, "question": "In other words, case %d." % n}) + "\n" for n, i in enumerate(part_ids[::2])))
for name, options, total in (("orders", ["--sample", "6", "--sample-seed", "3", "--permute", "cyclic"], 24),
                             ("words", ["--ids", "ids.txt", "--paraphrases", "words.jsonl"], 15)):
    command = [mas, "eval", "-c", "demo", "--quiet", "-s", "cot", "--data", source + "/configs/demo/questions.jsonl", *options]
    subprocess.run([*command, "--out", "runs/all-" + name], capture_output=True)
    p = subprocess.Popen([*command, "--concurrency", "1", "--out", "runs/" + name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(1500):
        if os.path.exists("runs/%s/traces.jsonl" % name) and b'"case"' in open("runs/%s/traces.jsonl" % name, "rb").read():
            break
        time.sleep(0.01)
    p.terminate()
    check(p.wait() == 75, "%s: stopped with exit code %d" % (name, p.returncode))
    status, _, r = s.ask("POST", "/runs/%s/resume" % name)
    if check(status == 202 and r["records"] == total and 0 < r["done"] < total, "%s: resume: %s %s" % (name, status, r)):
        check(wait_done(s, name)["state"] == "complete" and essence(name) == essence("all-" + name), "%s: other results than mas eval" % name)
open("runs/words/paraphrases.jsonl", "a").write("\n")
status, _, r = s.ask("POST", "/runs/words/resume")
check(status == 400 and "the questions of this run cannot be read" in str(r), "other paraphrases: %s %s" % (status, r))
# a part of a study, and a run that matches tokens, are for mas eval
subprocess.run([mas, "eval", "-c", "demo", "--quiet", "--data", source + "/configs/demo/questions.jsonl", "-s", "sc", "--match-tokens",
                "runs/all-words", "--ids", "ids.txt", "--paraphrases", "words.jsonl", "--out", "runs/tokens"], capture_output=True)
status, _, r = s.ask("POST", "/runs/tokens/resume")
check(status == 400 and "go on with mas eval --match-tokens" in str(r), "matched tokens: %s %s" % (status, r))
subprocess.run([mas, "eval", "-c", "demo", "--quiet", "--data", source + "/configs/demo/questions.jsonl", "-s", "direct", "-n", "6", "--shard", "1/2",
                "--out", "study"], capture_output=True)
os.rename("study/shard-1-of-2", "runs/shard")
status, _, r = s.ask("POST", "/runs/shard/resume")
check(status == 400 and "go on with mas eval --shard" in str(r), "a shard: %s %s" % (status, r))
s.stop()

# ---- another context: another run, so it is refused ----------------------------------------------------------
s = Server("--ctx", "2048")
status, _, r = s.ask("POST", "/runs/%s/resume" % half)
check(status == 400 and "context" in str(r), "another context: %s %s" % (status, r))
s.stop()

# ---- places, leaving clients, draining ----------------------------------------------------------------------
os.makedirs("lists", exist_ok=True)
open("lists/small.jsonl", "w").write("\n".join(json.dumps(q) for q in part) + "\n")
open("sources.yaml", "w").write("folders: {models: models, data: lists}\ndata:\n  small:\n    get: https://localhost/small.jsonl\n")
s = Server("--cases", "1", env={"MAS_SOURCES": os.path.abspath("sources.yaml")})
check("small" in s.get("/clinic")["data"], "names of lists")
status, _, r = s.post("/eval", {"data": "small", "strategy": "cot", "n": 12, "concurrency": 1})
check(status == 202 and r["records"] == 12, "a list by its name: %s" % r)
status, head, _ = s.post("/run", body)
check(status == 503 and "retry-after" in head, "a further case: %s" % status)
s.ask("POST", "/runs/%s/stop" % r["id"])
wait_done(s, r["id"])
for i in range(20):  # an answer gives the place back before the client has it
    status, _, one_plan = s.post("/plan", {"question": case, "config": {"planner.top_k": 1}, "stream": i % 2 == 1})
    check(status == 200, "request %d of 20 in a row: %s" % (i, one_plan))
for _ in range(2):  # so does the end of a run, and its folder can be written again
    ev = events(s.ask("GET", "/runs/%s/events" % s.ask("POST", "/runs/%s/resume" % r["id"])[2]["id"])[2])
    check(ev[-1][0] == "end" and ev[-1][2]["state"] == "complete", "resumed in a row: %s" % (ev[-1],))
for _ in range(5):  # a client that leaves gives its place back
    c = socket.create_connection(("127.0.0.1", s.port))
    text_body = json.dumps({**body, "stream": True}).encode()
    c.sendall(b"POST /run HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text_body) + text_body)
    c.recv(100)
    c.close()
    for _ in range(100):
        status = s.post("/plan", {"question": case, "config": {"planner.top_k": 1}})[0]
        if status == 200:
            break
        time.sleep(0.05)
    check(status == 200, "the place of a client that left is not free")
r = s.post("/eval", {"questions": questions[:40], "strategy": "cot", "concurrency": 1})[2]["id"]
s.stop()  # an evaluation stops at once, and can be resumed
check(json.load(open("runs/%s/run.json" % r))["figures"]["status"].startswith("partial"), "a drained evaluation")

# ---- the page, and the key ------------------------------------------------------------------------------------
s = Server("--api-key", "secret")
status, head, data = s.ask("GET", "/", None, {"Accept": "text/html,application/xhtml+xml"})
policy = head.get("content-security-policy", "")
check(status == 200 and head["content-type"].startswith("text/html") and head.get("x-content-type-options") == "nosniff", "the page's headers: %s" % head)
check("default-src 'none'" in policy and "frame-ancestors 'none'" in policy and policy.count("'sha256-") == 2 and "unsafe" not in policy, "its policy: %s" % policy)
check(b"Not for clinical care" in data and b"innerHTML" not in data and b"http://" not in data and b"https://" not in data and b"style=" not in data, "the page")
check(s.ask("GET", "/")[1]["content-type"].startswith("text/plain"), "GET / of another client")
check(s.ask("GET", "/runs")[0] == 401 and s.ask("POST", "/run", body)[0] == 401 and s.ask("GET", "/runs", None, {"Authorization": "Bearer secret"})[0] == 200, "the key")
s.stop()
check("Sanitizer" not in open("err").read(), "a sanitizer: " + open("err").read()[-3000:])
# only kill -9 may leave the beginning of a case, which is kept beside the trace
torn = [f for f in glob.glob("runs/*/traces.jsonl*.bad") if f.split("/")[1] not in ids or "tail" not in f]
check(not torn, "torn lines: %s" % torn)
print("ok" if not bad else "faults")
sys.exit(bad)
