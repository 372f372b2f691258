"""Drives the page of `mas serve` with a browser: page.py ADDRESS [FOLDER FOR PICTURES].

Needs Chromium, its driver and the package selenium. A case runs by the keyboard alone. Contrast is
computed for every visible text. The log of the browser has no error, and no request leaves the server.
"""
import json
import os
import shutil
import sys
import time

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

at, folder = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
faults = []


def fault(text):
    print("FAILED:", text)
    faults.append(text)


def browser():
    o = webdriver.ChromeOptions()
    for a in ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1"]:
        o.add_argument(a)
    o.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    o.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    return webdriver.Chrome(options=o, service=webdriver.ChromeService(shutil.which("chromedriver")))


d = browser()


def wait(what, seconds=60):
    WebDriverWait(d, seconds, 0.1).until(lambda _: what())


def size(width, height):
    d.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                      {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})


def scheme(dark, less=False):
    d.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
        {"name": "prefers-reduced-motion", "value": "reduce" if less else "no-preference"}]})


def picture(name, width):
    if not folder:
        return
    size(width, 900)
    time.sleep(0.2)
    h = d.execute_script("return document.documentElement.scrollHeight")
    size(width, min(h, 6000))
    time.sleep(0.2)
    d.save_screenshot(os.path.join(folder, name + ".png"))
    size(width, 900)


def focus():
    return d.execute_script("const e = document.activeElement; return e.id || e.className || e.tagName")


def keys(*k):
    d.switch_to.active_element.send_keys(*k)


def tab_to(wanted, most=60):
    for _ in range(most):
        if focus() == wanted:
            return True
        keys(Keys.TAB)
    fault("the keyboard does not reach " + wanted)
    return False


def visible(id_):
    return d.execute_script("const e = document.getElementById(arguments[0]); return e.getClientRects().length > 0", id_)


def text(id_):
    return d.execute_script("return document.getElementById(arguments[0]).textContent", id_)


# Ratios below the limits of WCAG 2.2, 1.4.3 (AA): 4.5, or 3 for large text.
CONTRAST = """
const rgb = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length < 4 ? m.concat(1) : m; };
const lin = v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const lum = c => 0.2126 * lin(c[0]) + 0.7152 * lin(c[1]) + 0.0722 * lin(c[2]);
const back = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
const out = new Set();
for (const e of document.querySelectorAll('body *')) {
  if (!e.getClientRects().length || e.closest('.vh, script, style')) continue;
  if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && !['INPUT', 'TEXTAREA', 'SELECT'].includes(e.tagName)) continue;
  const s = getComputedStyle(e), a = lum(rgb(s.color)), b = lum(back(e));
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), px = parseFloat(s.fontSize);
  const large = px >= 24 || (px >= 18.66 && s.fontWeight >= 700);
  if (ratio < (large ? 3 : 4.5)) out.add(e.tagName + '.' + e.className + ' ' + e.textContent.trim().slice(0, 30) + ': ' + ratio.toFixed(2));
}
return [...out];
"""
# Names of controls, headings in order, no sideways scrolling of the page.
STRUCTURE = """
const out = [];
for (const e of document.querySelectorAll('button, input, select, textarea')) {
  if (!e.getClientRects().length) continue;
  const name = e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length && e.labels[0].textContent);
  if (!name) out.push('no name: ' + e.outerHTML.slice(0, 80));
  const r = e.getBoundingClientRect();
  if (e.tagName === 'BUTTON' && !e.classList.contains('link') && (r.height < 24 || r.width < 24)) out.push('too small: ' + e.id);
}
let last = 0;
for (const h of document.querySelectorAll('h1, h2, h3, h4')) {
  if (!h.getClientRects().length) continue;
  const n = Number(h.tagName[1]);
  if (n > last + 1) out.push('heading ' + h.textContent + ' skips a level');
  last = n;
}
for (const t of ['header', 'nav', 'main', 'footer']) if (!document.querySelector(t)) out.push('no landmark ' + t);
if (document.documentElement.scrollWidth > window.innerWidth) out.push('the page scrolls sideways: ' + document.documentElement.scrollWidth + ' > ' + window.innerWidth);
const note = document.querySelector('.notice').getBoundingClientRect();
if (note.bottom <= 0 || note.top >= window.innerHeight) out.push('the notice is out of sight');
return out;
"""


def looks(where):
    for width in (360, 820, 1440):
        size(width, 900)
        d.execute_script("window.scrollTo(0, document.documentElement.scrollHeight / 2)")
        for dark in (False, True):
            scheme(dark)
            for x in d.execute_script(CONTRAST):
                fault(f"{where}, {width}, {'dark' if dark else 'light'}: contrast of {x}")
            for x in d.execute_script(STRUCTURE):
                fault(f"{where}, {width}: {x}")
            picture(f"{where}-{width}-{'dark' if dark else 'light'}", width)
    scheme(False)
    size(1440, 900)
    d.execute_script("window.scrollTo(0, 0)")


size(1440, 900)
scheme(False)
d.get(at + "/")
if os.environ.get("MAS_KEY"):  # the page asks again after a wrong key, and keeps the right one in its tab
    for k in ("wrong", os.environ["MAS_KEY"]):
        wait(lambda: d.execute_script("return document.getElementById('key-box').open"))
        if focus() != "key":
            fault("the key's dialog does not take the focus")
        if k == "wrong":
            looks("key")
        keys(k, Keys.ENTER)
        time.sleep(0.5)
    if d.execute_script("return localStorage.length") or d.execute_script("return document.cookie"):
        fault("the key stays longer than its tab")
wait(lambda: d.execute_script("return info !== null"))
for bad in ("<p style='color:#999;background:#fff'>x</p>", "<button></button>"):  # the checks can fail
    before = len(d.execute_script(CONTRAST)) + len(d.execute_script(STRUCTURE))
    d.execute_script("const e = document.createElement('div'); e.id = 'bad'; e.append(document.createElement(arguments[0].startsWith('<p') ? 'p' : 'button')); if (arguments[0].startsWith('<p')) e.firstChild.textContent = 'x';"
                     "if (e.firstChild.tagName === 'P') { e.firstChild.style.color = '#999'; e.firstChild.style.background = '#fff'; } document.body.append(e)", bad)
    if len(d.execute_script(CONTRAST)) + len(d.execute_script(STRUCTURE)) <= before:
        fault("the checks do not see " + bad)
    d.execute_script("document.getElementById('bad').remove()")
looks("empty")

# A case by the keyboard alone.
d.execute_script("document.activeElement.blur()")
keys(Keys.TAB)
if focus() != "skip":
    fault("the first stop of the keyboard is " + focus() + ", not the skip link")
tab_to("example")
keys(Keys.ENTER)
if not d.find_element(By.ID, "question").get_attribute("value"):
    fault("the example fills no case")
d.execute_script("document.getElementById('question').focus()")
tab_to("run")
keys(Keys.ENTER)
wait(lambda: visible("team") or text("fault"))
if folder:
    picture("running", 1440)
wait(lambda: visible("cost") and text("cost-line") or text("fault"))
if text("fault"):
    fault("the case ends with: " + text("fault"))
if not text("answer") or not visible("decision"):
    fault("no decision is shown")
if "research only" not in text("decision-title"):
    fault("the decision lacks 'research only'")
cards = d.find_elements(By.CSS_SELECTOR, "#cols .card")
if len(cards) != len(d.find_elements(By.CSS_SELECTOR, "#chips li")) or len(cards) < 2:
    fault(f"{len(cards)} cards of specialists")
if not d.find_elements(By.CSS_SELECTOR, "#case-text mark.for"):
    fault("no evidence is highlighted in the case")
if d.execute_script("return document.getElementById('case-text').textContent !== now.question"):
    fault("the highlights change the text of the case")
looks("answered")
d.execute_script("document.querySelector('#cols .card button').focus()")
keys(Keys.ENTER)
wait(lambda: d.execute_script("return document.getElementById('texts').open"))
if "System" not in text("texts-body") or "Reply" not in text("texts-body"):
    fault("the dialog lacks prompt or reply")
looks("texts")
keys(Keys.ESCAPE)
wait(lambda: not d.execute_script("return document.getElementById('texts').open"))

# Markup and Markdown of a case stay text.
evil = "<script>window.broken = 1</script><img src=x onerror='window.broken = 1'> **bold** [a](javascript:alert(1))"
d.execute_script("document.getElementById('question').value = arguments[0]; document.getElementById('options').value = arguments[1]",
                 "A man has fever. " + evil, "A. <b>Gout</b>\nB. " + evil)
d.execute_script("document.getElementById('run').click()")
wait(lambda: d.execute_script("return now && now.answer") or text("fault"))
if d.execute_script("return window.broken === 1 || document.querySelectorAll('#view-case img, #view-case script, #view-case b:not(.chips b), #view-case a').length > 0"):
    fault("a case becomes markup")
if "<script>" not in text("case-text"):
    fault("a case with markup is not shown as it is")
if not text("noise") and not d.execute_script("return now.answer.noise === undefined || now.answer.noise === null"):
    fault("noise is not shown")

# Log-probabilities of the options as bars.
d.execute_script("document.getElementById('strategy').value = 'direct'; chooseStrategy(); example(); document.getElementById('run').click()")
wait(lambda: d.execute_script("return now && now.answer && document.getElementById('run').disabled === false") or text("fault"))
bars = d.execute_script("return [...document.querySelectorAll('#probabilities .opt span:last-child')].map(x => parseFloat(x.textContent))")
if len(bars) < 2 or abs(sum(bars) - 100) > 0.5:
    fault(f"probabilities of the options: {bars}")
looks("direct")
d.execute_script("document.getElementById('strategy').value = 'panel'; chooseStrategy()")

# Stop.
d.execute_script("example(); document.getElementById('run').click()")
wait(lambda: visible("team"))
d.execute_script("document.getElementById('stop').click()")
wait(lambda: not d.find_element(By.ID, "run").get_property("disabled"))

# Evaluations.
d.execute_script("document.activeElement.blur(); document.getElementById('tab-runs').focus()")
keys(Keys.ENTER)
d.execute_script("document.getElementById('e-data').value = '*examples'; document.getElementById('e-data').dispatchEvent(new Event('change'));"
                 "document.getElementById('e-n').value = 12; document.getElementById('e-strategy').value = 'cot'")
d.execute_script("document.getElementById('e-start').focus()")
keys(Keys.ENTER)
wait(lambda: d.find_elements(By.CSS_SELECTOR, "#runs tbody tr"))
if folder:
    picture("run-live", 1440)
wait(lambda: "complete" in text("runs"), 120)
d.find_element(By.CSS_SELECTOR, "#runs tbody button").click()
wait(lambda: visible("one-run") and d.find_elements(By.CSS_SELECTOR, "#cases tbody tr"))
looks("runs")
for f in ("wrong", "unparsed", "all"):
    d.execute_script("const f = document.getElementById('filter'); f.value = arguments[0]; f.dispatchEvent(new Event('change'))", f)
    time.sleep(0.5)
    for s in d.execute_script("return [...document.querySelectorAll('#cases tbody tr td:nth-child(3)')].map(x => x.textContent)"):
        if f == "unparsed" and s != "unparsed" or f == "wrong" and "right" in s:
            fault(f"the filter {f} shows a case that is {s}")
d.find_element(By.CSS_SELECTOR, "#cases tbody button").click()
wait(lambda: d.execute_script("return document.getElementById('texts').open"))
if "research only" not in text("texts-body"):
    fault("a case of a run lacks 'research only'")
picture("record", 820)
keys(Keys.ESCAPE)

# Less motion.
scheme(False, True)
if d.execute_script("const e = document.createElement('div'); e.className = 'card writing'; const p = document.createElement('p'); p.className = 'state'; e.append(p); document.body.append(e);"
                    "const a = getComputedStyle(e.firstChild, '::after').animationName; e.remove(); return a") != "none":
    fault("something moves although less motion is wanted")

for entry in d.get_log("browser"):
    if entry["level"] in ("SEVERE", "WARNING") and not ("401" in entry["message"] and os.environ.get("MAS_KEY")):
        fault("the console says: " + entry["message"])
hosts = set()
for entry in d.get_log("performance"):
    m = json.loads(entry["message"])["message"]
    if m["method"] == "Network.requestWillBeSent":
        url = m["params"]["request"]["url"]
        if not url.startswith(("data:", "about:", at)):
            hosts.add(url)
if hosts:
    fault("requests to other places: " + ", ".join(sorted(hosts)))
d.quit()
print("FAILED" if faults else "ok", f"{len(faults)} faults")
sys.exit(1 if faults else 0)
