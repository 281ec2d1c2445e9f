"""What the explorer shows: widgets around a `Session`.

Searches and maps run in a thread of their own, so that the stop button works meanwhile.
"""

import threading
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path

import anywidget
import ipywidgets as widgets
import numpy as np
import pandas as pd
import traitlets

from lib import params
from lib.attack import rebuild
from lib.attack.vulnerability import Vulnerability
from lib.figures import gallery
from lib.figures.formatting import shown
from lib.figures.interactive import picture
from lib.figures.style import BAD, GOOD, OURS, color
from lib.params import Parameters
from lib.params.device import settled
from lib.params.errors import InputError
from notebooks.explorer.session import Session, finished_runs


class Canvas(anywidget.AnyWidget):
    """A picture in which the mouse or the arrow keys choose a pixel."""

    _esm = Path(__file__).with_name("canvas.js")
    size = traitlets.Int(1).tag(sync=True)
    rgb = traitlets.Bytes(b"").tag(sync=True)  # size * size * 3
    row = traitlets.Int(0).tag(sync=True)
    col = traitlets.Int(0).tag(sync=True)


TILE = "width:128px;height:128px;image-rendering:pixelated"  # of a restored image


class Explorer:
    """All widgets of the notebook; ``box`` is what to display.

    Args:
        p: parameters of the run to begin with; seed, attack_* and the rest hold for other runs
            too that are chosen later.
    """

    def __init__(self, p: Parameters) -> None:
        runs = finished_runs(params.ROOT / p.runs)
        self.run = widgets.Dropdown(options=runs, description="run")
        self.index = widgets.IntSlider(description="image")
        self.canvas = Canvas()
        self.row, self.col = (widgets.IntSlider(description=name) for name in ("row", "column"))
        self.color = widgets.ColorPicker(value="#ffffff", description="color")
        self.gray = widgets.IntSlider(255, 0, 255, description="value")
        self.clean = widgets.Checkbox(False, description="without the pixel")
        self.bars, self.said = widgets.HTML(), widgets.HTML()
        self.pixels = widgets.ToggleButtons(options=[1, 2], description="pixels")
        self.through = widgets.Dropdown(description="through")
        names = "attack", "all attackers", "where is it vulnerable?", "defend", "prove", "stop"
        self.attack, self.worst, self.map, self.defend, self.prove, self.stop = (
            widgets.Button(description=name, layout={"width": "auto"}) for name in names
        )
        self.working = self.attack, self.worst, self.map, self.prove  # one at a time
        self.stop.disabled = True
        self.progress = widgets.FloatProgress(value=0, min=0, max=1, layout={"width": "320px"})
        self.line, self.restored = widgets.HTML(), widgets.HTML()
        self.thread: threading.Thread | None = None
        self.adversarial: np.ndarray | None = None  # of the last successful search
        self.found: Vulnerability | None = None
        # Also without what a machine settles, which another run may have settled otherwise.
        base = settled(params.load(p.protocol, p.dataset, p.classifier)).model_dump()
        named = {"protocol", "dataset", "classifier", "data_size"}  # a run's own
        self.given = {
            name: value for name, value in settled(p).model_dump().items()
            if name not in named and value != base[name]
        }  # fmt: skip
        self.opening = False  # widgets are set to another run: nothing is to be shown in between
        for one, other in ((self.row, "row"), (self.col, "col")):
            widgets.link((one, "value"), (self.canvas, other))
        self.open(p)
        self.run.observe(self._choose, "value")
        self.index.observe(lambda _: self._another(), "value")
        for each in (self.row, self.col, self.color, self.gray, self.clean):
            each.observe(lambda _: self._moved(), "value")
        self.attack.on_click(lambda _: self._start(self._attack))
        self.worst.on_click(lambda _: self._start(self._worst))
        self.map.on_click(lambda _: self._start(self._map))
        self.prove.on_click(lambda _: self._start(self._prove))
        self.defend.on_click(lambda _: self._defend())
        self.stop.on_click(lambda _: self.session.stop.set())
        picture = widgets.VBox([self.canvas, self.row, self.col, self.color, self.gray, self.clean])
        buttons = widgets.HBox([self.attack, self.map, self.defend, self.prove, self.stop])
        many = widgets.HBox([self.worst, self.through])
        found = [self.progress, self.line, self.said]
        right = widgets.VBox([self.bars, self.pixels, buttons, many, *found])
        self.box = widgets.VBox(
            [widgets.HBox([self.run, self.index]), widgets.HBox([picture, right]), self.restored]
        )

    def open(self, p: Parameters) -> None:
        """Show another run.

        Raises:
            InputError: as `Session`.
        """
        self.session = Session(settled(p))
        self.opening = True
        gray = self.session.images.facts.channels == 1
        self.gray.layout.display, self.color.layout.display = ("", "none") if gray else ("none", "")
        name = f"{self.session.run.run_name}/{p.dataset}/{p.classifier}"
        if name not in self.run.options:  # with values of the user's
            self.run.options = (*self.run.options, name)
        self.run.value = name
        self.through.options = [(shown(name), name) for name in self.session.through]
        edge = self.session.images.size - 1
        self.row.max = self.col.max = edge
        self.index.value, self.index.max = 0, len(self.session.positions) - 1
        self.row.value = self.col.value = edge // 2
        self.opening = False
        self._another()

    def _choose(self, change: dict) -> None:
        if self.opening:
            return
        name, dataset, classifier = change["new"].split("/")
        self.session.stop.set()
        try:
            self.open(params.load(name.partition("+")[0], dataset, classifier, **self.given))
        except InputError as error:
            self.opening = True
            self.run.value = change["old"]
            self.opening = False
            self._say(str(error), BAD)

    def _another(self) -> None:
        """Another image: what was found for the last one goes."""
        if self.opening:
            return
        self.session.stop.set()
        self.adversarial = self.found = None
        self.line.value = ""
        self.progress.value = 0
        self._say("")
        self._moved()

    @property
    def value(self) -> list[int]:
        """The pixel's value: three numbers, or one of a gray image."""
        if self.session.images.facts.channels == 1:
            return [self.gray.value]
        return [int(self.color.value[i : i + 2], 16) for i in (1, 3, 5)]

    @property
    def picture(self) -> np.ndarray:
        """The image as it is shown, uint8 (H, W, C): attacked, with the pixel, or clean."""
        if self.adversarial is not None:
            return self.adversarial
        if self.clean.value:
            return self.session.image(self.index.value)
        return self.session.painted(self.index.value, self.row.value, self.col.value, self.value)

    def _moved(self) -> None:
        """The pixel was moved by hand: that is the image now."""
        if self.opening:
            return
        self.adversarial, self.restored.value = None, ""
        self._show()

    def _show(self) -> None:
        picture, clean = self.picture, self.session.image(self.index.value)
        shown_picture = np.repeat(picture, 3, 2) if picture.shape[2] == 1 else picture
        if self.found is not None:  # red where the worst color fools
            tint = np.where(self.found.success[..., None], [213, 94, 0], shown_picture)
            changed = (picture != clean).any(2)[..., None]
            shown_picture = np.where(changed, shown_picture, 0.45 * shown_picture + 0.55 * tint)
        with self.canvas.hold_sync():
            self.canvas.size = len(picture)
            self.canvas.rgb = np.ascontiguousarray(shown_picture.astype(np.uint8)).tobytes()
        before, after = self.session.confidence(np.stack([clean, picture]))
        names = [item.name for item in self.session.images.facts.classes]
        truth = self.session.truth(self.index.value)
        cells = "".join(
            f"<tr><td>{escape(name)}{' <b>(true)</b>' if true else ''}</td>"
            f'<td><div style="width:{160 * old:.0f}px;height:5px;background:#999"></div>'
            f'<div style="width:{160 * new:.0f}px;height:9px;background:{OURS}"></div></td>'
            f"<td>{100 * old:.1f} → <b>{100 * new:.1f} %</b></td></tr>"
            for name, true, old, new in zip(names, truth, before, after, strict=True)
        )
        self.bars.value = f"<table><caption>confidence, clean → now</caption>{cells}</table>"

    def _say(self, text: str, paint: str = "inherit") -> None:
        self.said.value = f'<span style="color:{paint}">{escape(text)}</span>'

    def _start(self, work: Callable[[Session, int], Callable[[], None] | None]) -> None:
        """Run a search or a map in a thread, one at a time, and show what it found.

        ``work`` returns what shows that, or None if it was stopped. What was found for another
        image or run than is shown by now is not shown.
        """
        if self.thread and self.thread.is_alive():
            self._say("An attack or a map is running: stop it first.", BAD)
            return
        session, index = self.session, self.index.value

        def run() -> None:
            self._busy(True)
            try:
                show = work(session, index)
                if show and self.session is session and self.index.value == index:
                    show()
                else:
                    self._say("stopped")
            except InputError as error:
                self._say(str(error), BAD)
            finally:
                self._busy(False)

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def _busy(self, busy: bool) -> None:
        for button in self.working:
            button.disabled = busy
        self.stop.disabled = not busy

    def _attack(self, session: Session, index: int) -> Callable[[], None] | None:
        limit = session.p.attack_generations + 1
        self._say("searching ...")

        def told(best: list[float]) -> None:
            self.progress.value = len(best) / limit
            self.line.value = convergence(best, limit)

        record = session.search(index, self.pixels.value, told)
        return record and partial(self._finished, record)

    def _worst(self, session: Session, index: int) -> Callable[[], None] | None:
        def told(attacker: str) -> None:
            self._say(f"{shown(attacker)}: searching ...")

        record = session.worst(index, self.pixels.value, self.through.value, told)
        if record and not record["success"]:
            return partial(self._say, "no attacker succeeds")
        return record and partial(self._finished, record, f", by {shown(record['attacker'])}")

    def _finished(self, record: dict, by: str = "") -> None:
        """Show what a search found."""
        facts = self.session.images.facts
        tried = f"{record['evaluations']:,} queries"
        if not record["success"]:
            self._say(f"not misclassified after {tried}")
            return
        clean = self.session.image(self.index.value)[None]
        self.adversarial = rebuild(clean, pd.DataFrame([record]))[0]
        self._show()
        now = gallery.change(record["predicted"], record["adversarial"], facts)
        self._say(f"misclassified after {tried}{by}: {now}", GOOD)

    def _prove(self, session: Session, index: int) -> Callable[[], None]:
        self._say("hiding every pair of masks ...")
        if session.proved(index):
            text = "proved: with double masking, no change of one pixel matters"
            return partial(self._say, text, GOOD)
        return partial(self._say, "not proved: under some masks, the classifier is wrong")

    def _map(self, session: Session, index: int) -> Callable[[], None] | None:
        self._say("trying every position ...")

        def told(share: float) -> None:
            self.progress.value = share

        found = session.map(index, told)
        return found and partial(self._mapped, found)

    def _mapped(self, found: Vulnerability) -> None:
        """Show a map."""
        self.found = found
        self._show()
        count, total = int(found.success.sum()), found.success.size
        self._say(f"{count:,} of {total:,} positions vulnerable; {found.colors} colors each")

    def _defend(self) -> None:
        facts, before = self.session.images.facts, self.session.image(self.index.value)
        restored = self.session.defended(self.picture)
        wanted, *classes = self.session.decisions(np.stack([before, *restored.values()]))
        cells = "".join(
            f'<td style="padding:4px;border-bottom:4px solid {color(name)}">'
            f"{picture(after, shown(name), TILE)}<br>{escape(shown(name))}<br>"
            f'<span style="color:{GOOD if now == wanted else BAD}">'
            f"{escape(gallery.decision(now, facts))}</span></td>"
            for (name, after), now in zip(restored.items(), classes, strict=True)
        )
        self.restored.value = f"<table><tr>{cells}</tr></table>"


def convergence(best: list[float], limit: int) -> str:
    """The best objective by generation (SVG); below the dashed line, the prediction can change."""
    width, height = 320, 120
    low, high = min(0.0, *best), max(0.0, *best)
    span = (high - low) or 1.0

    def y(value: float) -> float:
        return 8 + (height - 16) * (high - value) / span

    step = width / max(limit - 1, 1)
    points = " ".join(f"{step * place:.1f},{y(value):.1f}" for place, value in enumerate(best))
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="best objective '
        f'{best[-1]:.2f} after {len(best)} generations"><line x1="0" x2="{width}" y1="{y(0):.1f}" '
        f'y2="{y(0):.1f}" stroke="#888" stroke-dasharray="5 4"/><polyline points="{points}" '
        f'fill="none" stroke="{OURS}" stroke-width="2"/></svg>'
    )
