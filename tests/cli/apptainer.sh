#!/usr/bin/env bash
# tools/scripts/mas.def, the recipe of the Apptainer image. With Apptainer here and BUILD_IMAGE=1 it is built, with network.
# Otherwise its form is checked: headers, sections, variables, files, and the shell code of each section.
# shellcheck source=tests/cli/head.bash
. "$(dirname "$0")/head.bash"
recipe=$MAS_SOURCE/tools/scripts/mas.def

# check RECIPE: prints each fault of its form; the rules are those of Apptainer's parser (pkg/build/types/parser)
check() {
    python3 - "$1" "$MAS_SOURCE" "$dir" <<'PY'
import os, re, subprocess, sys
recipe, source, scratch = sys.argv[1:]
headers = {"bootstrap", "from", "stage"}
sections = {"arguments", "files", "post", "environment", "runscript", "test", "labels", "help"}
faults = []
text = open(recipe).read()
stages, made = [], set()
for part in re.split(r"(?mi)^(?=bootstrap:)", text)[1:]:
    head, *rest = re.split(r"(?m)^%", part)
    header = {}
    for line in filter(None, (l.split("#")[0].strip() for l in head.splitlines())):
        key, _, value = line.partition(":")
        if key.lower() not in headers or not value.strip():
            faults.append(f"header {line!r}")
        header[key.lower()] = value.strip()
    bodies = {}
    for body in rest:
        name, _, code = body.partition("\n")
        words = name.split()
        if words[0] not in sections:
            faults.append(f"section %{words[0]}")
        if words[0] in bodies:
            faults.append(f"section %{words[0]} stands twice in a stage")
        bodies[words[0]] = (words[1:], code)
    known = {l.split("=")[0].strip() for l in bodies.get("arguments", ([], ""))[1].splitlines() if "=" in l}
    used = set(re.findall(r"{{ *(\w+) *}}", part))
    faults += [f"no default of {{{{ {v} }}}}" for v in used - known] + [f"{v} is never used" for v in known - used]
    for name in ("post", "environment", "runscript", "test"):
        code = bodies.get(name, ([], ""))[1]
        said = subprocess.run(["sh", "-n"], input=code, text=True, capture_output=True).stderr
        if said:
            faults.append(f"%{name}: {said.strip()}")
    words, code = bodies.get("files", ([], ""))
    for line in filter(None, (l.split("#")[0].strip() for l in code.splitlines())):
        place = line.split()
        if len(place) != 2:
            faults.append(f"%files: {line!r}")
        elif not words and not os.path.exists(os.path.join(source, place[0])):
            faults.append(f"%files: the tree has no {place[0]}")
        elif words and place[0] not in made:
            faults.append(f"%files: no stage makes {place[0]}")
    if words and words != ["from", stages[-1] if stages else ""]:
        faults.append(f"%files {' '.join(words)}: no such stage before")
    made |= set(re.findall(r"install .* (/\S+)\s*$", bodies.get("post", ([], ""))[1], re.M))
    stages.append(header.get("stage"))
if stages != ["build", "final"]:
    faults.append(f"stages {stages}")
print("\n".join(faults))
PY
}
# wrong TEXT SED: a recipe that sed changed has this fault
wrong() {
    sed -E "$2" "$recipe" >changed.def
    cmp -s "$recipe" changed.def && fault "sed '$2' changes nothing"
    case $(check changed.def) in
    *"$1"*) ;;
    *) fault "sed '$2': no '$1' in: $(check changed.def)" ;;
    esac
}

if command -v apptainer >/dev/null && [ "${BUILD_IMAGE:-}" = 1 ]; then
    (cd "$MAS_SOURCE" && apptainer build "$dir/mas.sif" tools/scripts/mas.def) || fault 'apptainer cannot build the image'
    expect 0 'mas' apptainer run "$dir/mas.sif" version
    exit $bad
fi
said=$(check "$recipe")
[ -z "$said" ] || fault "$said"
wrong "header 'Bootstarp: docker'" '$!s/^Stage: build/Bootstarp: docker/'
wrong 'section %psot' 's/^%post/%psot/'
wrong 'no default of {{ base }}' 's/^    base=/    bass=/'
wrong 'bass is never used' 's/^    base=/    bass=/'
wrong '%post: ' 's/(release --target mas).$/\1/'
wrong 'the tree has no kernel' 's/^    kernels /    kernel /'
wrong 'no stage makes /opt/mas/mas' 's/ (\/src.build.release.mas) .*/ \1 \/opt\/bin\/mas/'
wrong '%files from bild: no such stage' 's/^%files from build/%files from bild/'
for room in kernels loader runtime agents configs tools tests; do
    grep -q "^    $room /src/" "$recipe" || fault "the recipe copies no $room"
done
exit $bad
