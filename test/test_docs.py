"""The documentation says what the code does."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_parameters_is_the_declared_one():
    tool = _tool("parameter_table")
    page = tool.PAGE.read_text(encoding="utf-8")
    assert tool.updated(page) == page, "run python tools/parameter_table.py"


def test_links_in_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "models/MODEL_CARD.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


# Of CUDA's, TensorRT's and the system's own texts we write none.
FOREIGN = re.compile(r"^cuda\w+ \(\d+\)$|^NvMap|^No importer|^No space left")


def test_error_texts_that_are_explained_are_those_that_are_given():
    page = (ROOT / "docs/jetson.md").read_text(encoding="utf-8").split("## When something fails")[1]
    quoted = [
        text for cell in re.findall(r"^\| (`.*?) \| ", page, re.MULTILINE) for text in re.findall("`(.+?)`", cell)
    ]
    parts = [part for text in quoted if not FOREIGN.match(text) for part in re.split(r" ?…:? ?", text)]
    ours = [part for part in parts if part and not FOREIGN.match(part)]
    assert len(ours) > 15
    # Texts span lines as neighbouring literals, and have what varies between braces.
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "pose3d_ros").rglob("*.py")))
    code = re.sub(r"\{[^{}]*\}", "", re.sub(r'"\s+f?"', "", code))
    assert not [part for part in ours if part not in code]


def test_the_learning_curve_is_drawn_from_the_table():
    curve = _tool("learning_curve").points((ROOT / "docs/benchmarks.md").read_text(encoding="utf-8"))
    assert curve[0] == (20_000, 128, (13.6, 4.4), False)
    assert curve[5][:2] == (220_000, 192)  # the second part's first row counts from the first one's end
    samples = [point.samples for point in curve]
    assert samples == sorted(samples)
    assert curve[-1].wide
