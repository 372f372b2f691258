"""The files of `mas export --lm-eval` and `--inspect`, read by lm-evaluation-harness and Inspect themselves.

usage: ecosystem.py MAS QUESTIONS
"""
import glob
import json
import os
import pathlib
import subprocess
import sys
import tempfile

mas, questions = sys.argv[1:3]


def run(*words, code=0):
    done = subprocess.run([mas, *map(str, words)], capture_output=True, text=True, timeout=600)
    assert done.returncode == code, (words, done.returncode, done.stderr[-800:])
    return done.stdout


def accuracy(folder, of="accuracy"):
    return json.loads(pathlib.Path(folder, "summary.json").read_text())[of]


def lm_eval(folder, out, scored):
    """The harness' own names, hashes, table and aggregation of the samples."""
    from lm_eval.api.metrics import mean, mean_stderr
    from lm_eval.utils import (get_file_datetime, get_file_task_name, get_latest_filename, get_results_filenames,
                               get_sample_results_filenames, handle_non_serializable, hash_string, make_table)
    run("export", folder, "--lm-eval", out)
    names = [str(p) for p in pathlib.Path(out).iterdir()]
    results = json.loads(pathlib.Path(get_latest_filename(get_results_filenames(names))).read_text())
    (samples_name,) = get_sample_results_filenames(names)
    base = os.path.basename(samples_name)
    task = get_file_task_name(base)
    assert results["results"].keys() == {task}, (task, results["results"])
    assert get_file_datetime(base), base
    samples = [json.loads(line) for line in open(samples_name)]
    table = make_table(results)
    assert task in table and "acc" in table, table
    want = accuracy(folder, "so_far")
    got = [s["acc"] for s in samples]
    assert len(got) == want["n"] and sum(got) == want["correct"], (len(got), sum(got), want)
    assert abs(results["results"][task]["acc,none"] - mean(got)) < 1e-12
    if len(got) > 1:
        assert abs(results["results"][task]["acc_stderr,none"] - mean_stderr(got)) < 1e-12
    for s in samples:
        assert s["doc_hash"] == hash_string(json.dumps(s["doc"], indent=2, default=handle_non_serializable, ensure_ascii=False)), s["doc"]
        assert s["target_hash"] == hash_string(str(s["target"]))
        if s["arguments"]:
            assert s["prompt_hash"] == hash_string(s["arguments"]["gen_args_0"]["arg_0"])
        if scored and s["arguments"]:
            lls = [float(r[0]) for r in s["filtered_resps"]]
            assert s["acc"] == float(lls.index(max(lls)) == int(s["target"])), s
            assert [a["arg_1"] for a in s["arguments"].values()] == [f" {c}" for c in "ABCDEFGHIJ"[: len(lls)]]
    assert results["task_hashes"][task] == hash_string("".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in samples))
    import datasets
    read = datasets.load_dataset("json", data_files=samples_name, split="train", cache_dir=out + "/cache")
    assert len(read) == len(samples)
    return samples_name, table


def inspect(folder, path):
    """Inspect's own reader; the samples say what the results say."""
    from inspect_ai.log import read_eval_log, read_eval_log_sample, write_eval_log
    run("export", folder, "--inspect", path)
    log = read_eval_log(path)
    want = accuracy(folder, "so_far")
    whole = want["n"] == accuracy(folder)["n"] == log.results.total_samples
    assert log.version == 2 and log.status == ("success" if whole else "cancelled"), log.status
    assert len(log.samples) == want["n"] == log.results.completed_samples
    right = sum(s.scores["choice"].value == "C" for s in log.samples)
    assert right == want["correct"]
    assert abs(log.results.scores[0].metrics["accuracy"].value - want["correct"] / want["n"]) < 1e-12
    first = read_eval_log_sample(path, id=log.samples[0].id, epoch=1)
    assert first.input and first.choices and first.target in "ABCDEFGHIJ"
    assert len({s.id for s in log.samples}) == len(log.samples)
    write_eval_log(log, path.replace(".json", ".eval"))
    again = read_eval_log(path.replace(".json", ".eval"))
    assert len(again.samples) == len(log.samples)
    return log


def official(folder, samples_name):
    """A file of the harness becomes a run with the same answers."""
    out = folder + "-back"
    run("import", samples_name, "--data", questions_of[folder], "--out", out)
    a, b = accuracy(folder), accuracy(out)
    assert a["correct"] == b["correct"], (a, b)
    text = run("export", folder, "--against", out)
    assert "first alone      0" in text and "this run alone   0" in text, text


def harness_itself(top):
    """Samples that the harness writes with its model of random numbers: our accuracy is the harness'."""
    import lm_eval as harness
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager
    docs = [json.loads(line) for line in pathlib.Path(questions).read_text().splitlines()[:30]]
    docs = [{"sent1": d["question"], "sent2": "", **{f"ending{i}": d["options"][c] for i, c in enumerate("ABCD")},
             "label": "ABCD".index(d["answer_idx"])} for d in docs]
    pathlib.Path(top, "docs.json").write_text(json.dumps(docs))
    pathlib.Path(top, "local.yaml").write_text(f"""task: medqa_local
dataset_path: json
dataset_kwargs: {{data_files: {{test: {top}/docs.json}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{{{sent1}}}}\\nA. {{{{ending0}}}}\\nB. {{{{ending1}}}}\\nC. {{{{ending2}}}}\\nD. {{{{ending3}}}}\\nAnswer:"
doc_to_target: label
doc_to_choice: ["A", "B", "C", "D"]
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
""")
    tracker = EvaluationTracker(output_path=top + "/theirs")
    out = harness.simple_evaluate(model="dummy", tasks=["medqa_local"], log_samples=True, bootstrap_iters=0, evaluation_tracker=tracker,
                                  task_manager=TaskManager(include_path=top, include_defaults=False))
    samples = out.pop("samples")
    tracker.save_results_aggregated(results=out, samples=samples)
    tracker.save_results_samples(task_name="medqa_local", samples=samples["medqa_local"])
    (written,) = glob.glob(top + "/theirs/**/samples_medqa_local_*.jsonl", recursive=True)
    run("import", written, "--data", questions, "--out", top + "/dummy")
    mine = accuracy(top + "/dummy", "so_far")
    assert mine["n"] == 30 and abs(mine["accuracy"] - out["results"]["medqa_local"]["acc,none"]) < 1e-12, (mine, out["results"])
    print(f"harness: 30 samples of its dummy model, accuracy {mine['accuracy']:.3f} in both")


questions_of = {}
with tempfile.TemporaryDirectory() as top:
    os.environ["HF_HOME"] = os.environ["HF_DATASETS_CACHE"] = top + "/hf"
    odd = pathlib.Path(top, "odd.jsonl")
    lines = pathlib.Path(questions).read_text().splitlines()[:12]
    odd.write_text("\n".join([*lines, lines[0], '{"question": "broken"}',
                              json.dumps({"question": "Which \u00b5 \"of\" these\n\ttabs\b\f\u001f?", "options": {"A": "\\u001F", "B": "b"},
                                          "answer_idx": "B"}, ensure_ascii=False)]) + "\n")
    for name, file, words, code in [
        ("direct", questions, ["-s", "direct", "--n", "40"], 0),
        ("shuffled", questions, ["-s", "direct", "--n", "20", "--shuffle"], 0),
        ("cot", questions, ["-s", "cot", "--n", "6"], 0),
        ("panel", questions, ["-s", "panel", "--n", "3"], 0),
        ("odd", odd, ["-s", "direct"], 1),
    ]:
        folder = f"{top}/{name}"
        questions_of[folder] = file
        run("eval", "-c", "demo", "--data", file, "--out", folder, "--quiet", *words, code=code)
        scored = name in ("direct", "odd")
        samples, table = lm_eval(folder, f"{top}/{name}-lm", scored)
        log = inspect(folder, f"{top}/{name}.json")
        if name != "odd":
            official(folder, samples)
        print(f"{name}: {len(log.samples)} samples, accuracy {accuracy(folder)['accuracy']:.3f}, read by lm-eval and inspect-ai")
    imported = top + "/direct-back"
    questions_of[imported] = questions
    lm_eval(imported, top + "/back-lm", True)
    inspect(imported, top + "/back.json")
    harness_itself(top)
    print(table)
