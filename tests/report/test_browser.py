"""Reports in a real browser: nothing sticks out, nothing is clipped, nothing is loaded, in light and dark, wide and narrow."""

import json
import re
import shutil
import subprocess

import pytest
from breakdown_cases import network, piece, repeating
from report_cases import BLOCKS, EVALUATED, summary

from nascli.report.breakdown_page import render_breakdown, render_comparison_of_two
from nascli.report.comparison_page import ComparedRun, render_comparison
from nascli.report.run_page import render_run
from nascli.report.story import Story, evaluated_story
from nascli.report.table_page import OperatorPoint, render_table
from nascli.search.nse.rounds import EvaluatedPoint, Round, RoundTraining
from nascli.search.nse.story import fronts_chart, round_story, rounds_story, trajectories_chart
from nascli.search.pcnas.search import PartialModel, PoolExtension
from nascli.search.pcnas.story import pools_story
from nascli.search.proxyless.story import probabilities_story
from nascli.spaces import load_space

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")

# Looks at the laid out page, and leaves what it saw in the document.
LOOK = """<script>
addEventListener("error", e => document.body.dataset.error = e.message);
addEventListener("load", () => {
  const clipped = [];
  let tips = 0;
  for (const svg of document.querySelectorAll("svg")) {
    const box = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const at = text.getBoundingClientRect();
      if (getComputedStyle(text).visibility === "hidden") { tips += 1; text.style.visibility = "visible"; }
      if (at.left < box.left - 1 || at.right > box.right + 1 || at.top < box.top - 1 || at.bottom > box.bottom + 1)
        clipped.push(text.textContent);
    }
  }
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify({
    inner: innerWidth, scroll: document.documentElement.scrollWidth, clipped, tips,
    headline: document.querySelector("h1").getBoundingClientRect().top,
    ink: getComputedStyle(document.body).color, back: getComputedStyle(document.body).backgroundColor,
    outside: performance.getEntriesByType("resource").length,
  });
  document.body.appendChild(out);
});
</script>"""


def rounds():
    moments = tuple(((0.1 * t, -0.5 * t, -0.9 * t),) * 7 for t in range(6))
    training = RoundTraining(moments[-1], ((True, True, False),) * 7, moments)
    front = (EvaluatedPoint((1,) * 7, 3e5, 0.8), EvaluatedPoint((1,) * 7, 4e5, 0.9))
    return [Round(((0, 5, 9),) * 7, ((5,),) * 7, training, front, front, ((0,),) * 7)] * 3


def pages():
    space, single = load_space("nse-27-mini:resolution=8"), load_space("pcnas-small-mini:resolution=8")
    stories = [
        rounds_story(space, rounds(), [1] * 7),
        Story("Fronts", "text", fronts_chart(rounds())),
        Story("Indicators", "text", trajectories_chart(rounds(), -2.0)),
        round_story(space, rounds()[0], 1),
        evaluated_story(space, [([1] * 7, 0.5), ([3] * 7, 0.7)], [1] * 7),
        pools_story(
            single,
            [PoolExtension((PartialModel((0,), 0.4), PartialModel((1,), 0.6)), (PartialModel((1,), 0.6),))],
            [1] * len(single.layers),
        ),
        probabilities_story(
            single, [[-0.1] * len(layer.candidates) for layer in single.layers], [0] * len(single.layers)
        ),
    ]
    rows = [
        OperatorPoint(
            f"mbconv kernel=3 expand=6 {c}x14x14>{c}x14x14", 1e-3 + 1e-5 * c, 0.01, 1e6 * c, 3e5 * c, c
        )
        for c in range(4, 60, 3)
    ]
    other = summary(space="a space with a rather long name:resolution=224,width=1.0", retrained_top1=0.91)
    first = summary()
    many = [
        piece(
            i,
            f"a piece with the rather long name {i}",
            1e-4 * (1 + i % 7),
            macs=10.0 ** (4 + i % 4),
            own=1e-4,
        )
        for i in range(70)
    ]
    return {
        "breakdown": render_breakdown(network(many, name="a_network_with_a_long_name_224", outside=1e-4)),
        "breakdown of two": render_comparison_of_two(repeating(), network(many)),
        "report": render_run(first, EVALUATED, BLOCKS, stories),
        "table": render_table("cpu-x, ort-cpu 1.0, fp32, batch 16, 1 thread", "d" * 32, rows),
        "comparison": render_comparison(
            [ComparedRun("first", first, first.latency), ComparedRun("second", other, other.latency)]
        ),
    }


def seen(path, width, *flags):
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},1000", "--virtual-time-budget=3000",
         "--dump-dom", *flags, path.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    match = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)
    assert match is not None, done.stderr[-500:]
    assert "data-error" not in done.stdout
    return json.loads(match[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))


@pytest.mark.parametrize("name", ["report", "table", "comparison", "breakdown", "breakdown of two"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_and_nothing_is_clipped(tmp_path, name, width):
    html = pages()[name]
    path = tmp_path / "page.html"
    # A frame of the wanted width: a window may have a least width of its own.
    path.write_text(html.replace("</body>", LOOK + "</body>"))
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<body style="margin:0"><iframe id="f" src="page.html" style="width:{width}px;height:900px;border:0"></iframe>'
        '<script>addEventListener("load", () => setTimeout(() => { const inside = '
        'document.getElementById("f").contentDocument.getElementById("seen"); document.body.appendChild(inside); }, 200));</script>'
    )
    look = seen(frame, 1400, "--allow-file-access-from-files")
    assert look["inner"] == width and look["scroll"] <= width
    assert look["clipped"] == [] and look["outside"] == 0
    assert name != "report" or look["tips"] >= 8
    assert 0 <= look["headline"] < 200


def test_dark_and_light_differ_and_can_be_read(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(pages()["report"].replace("</body>", LOOK + "</body>"))
    light = seen(path, 1280)
    dark = seen(
        path,
        1280,
        "--force-dark-mode",
        "--enable-features=WebContentsForceDark:none/0",
        "--blink-settings=preferredColorScheme=0",
    )
    for look, bright in ((light, True), (dark, False)):
        ink, back = (sum(map(int, re.findall(r"\d+", look[key])[:3])) / 3 for key in ("ink", "back"))
        assert abs(ink - back) > 120
        assert (back > ink) is bright
