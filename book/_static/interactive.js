/* Sliders, probes and charts of the pages (lib/figures/interactive.py writes their data). No network,
   no library; without scripts the pictures stand side by side and charts are tables. */
"use strict";

(() => {
  const make = (name, attributes = {}, ...children) => {
    const svg = ["svg", "g", "line", "circle", "text", "title", "rect", "path"].includes(name);
    const element = svg
      ? document.createElementNS("http://www.w3.org/2000/svg", name)
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  const data = (box) => JSON.parse(box.querySelector("script[type='application/json']").textContent);

  /* Two pictures of the same place, one above the other; the slider moves the border. */
  const compare = (box) => {
    const [before, after] = box.querySelectorAll("img");
    const range = make("input", {
      type: "range", min: 0, max: 100, value: 50,
      "aria-label": `border between ${before.alt} and ${after.alt}`,
    });
    const move = () => { after.style.clipPath = `inset(0 0 0 ${range.value}%)`; };
    range.addEventListener("input", move);
    box.append(range);
    box.classList.add("ready");
    move();
  };

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  /* A picture and, for each of its pixels, the worst color and what it does to the classifier. */
  const probe = (box) => {
    const { size, channels, image, worst, color, unit, truth } = data(box);
    const [pixels, shares, colors] = [image, worst, color].map(bytes);
    const still = box.querySelector("img");
    const canvas = make("canvas", {
      width: size, height: size, tabindex: 0, role: "img",
      "aria-label": `${still.alt} Arrow keys move, Enter sets the pixel.`,
    });
    const overlay = make("input", { type: "checkbox", checked: "" });
    const label = make("label", {}, overlay, " orange: where the true class loses most");
    const told = make("output", { "aria-live": "polite" });
    const context = canvas.getContext("2d");
    let [row, col, set] = [size >> 1, size >> 1, null];
    const [least, most] = [Math.min(...shares), Math.max(...shares)];

    const rgb = (values, at) =>
      channels === 3 ? [0, 1, 2].map((c) => values[3 * at + c]) : Array(3).fill(values[at]);

    const draw = () => {
      const picture = context.createImageData(size, size);
      for (let at = 0; at < size * size; at += 1) {
        let value = rgb(pixels, at);
        if (overlay.checked) {
          const harm = (most - shares[at]) / (most - least || 1); // 1: the worst pixel of this image
          value = value.map((v, c) => v * (1 - 0.75 * harm) + [213, 94, 0][c] * 0.75 * harm);
        }
        if (set === at) value = rgb(colors, at);
        picture.data.set([...value, 255], 4 * at);
      }
      context.putImageData(picture, 0, 0);
      const [mark, at] = [rgb(colors, row * size + col), row * size + col];
      if (set !== at) {
        context.fillStyle = `rgb(${mark.join(",")})`;
        context.fillRect(col, row, 1, 1);
      }
      const share = (100 * shares[at] / 255).toFixed(0);
      told.textContent = `row ${row}, column ${col}, color (${mark.slice(0, channels).join(", ")}): `
        + `${unit} of ${truth} ${share} %${set === at ? ", pixel set" : ""}`;
    };

    const at = (event) => {
      const place = canvas.getBoundingClientRect();
      const clamp = (value) => Math.max(0, Math.min(size - 1, Math.floor(value)));
      row = clamp((size * (event.clientY - place.top)) / place.height);
      col = clamp((size * (event.clientX - place.left)) / place.width);
    };
    const toggle = () => {
      set = set === row * size + col ? null : row * size + col;
      draw();
    };
    canvas.addEventListener("pointermove", (event) => { at(event); draw(); });
    canvas.addEventListener("click", (event) => { at(event); toggle(); });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      if (event.key === "Enter" || event.key === " ") toggle();
      else if (step[event.key]) {
        row = (row + step[event.key][0] + size) % size;
        col = (col + step[event.key][1] + size) % size;
        draw();
      } else return;
      event.preventDefault();
    });
    overlay.addEventListener("change", draw);
    still.replaceWith(canvas);
    box.append(label, told);
    box.classList.add("ready");
    draw();
  };

  /* Ours over printed, one mark a value with its interval; the mark under the pointer is told. */
  const chart = (box) => {
    const { points, groups, x, y } = data(box);
    const [width, height, left, bottom] = [640, 420, 60, 48];
    const ends = [0, 100];
    const scale = (value, from, to) => from + ((value - ends[0]) / (ends[1] - ends[0])) * (to - from);
    const [px, py] = [(v) => scale(v, left, width - 12), (v) => scale(v, height - bottom, 12)];
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${y} over ${x}` });
    for (let tick = 0; tick <= 100; tick += 20) {
      svg.append(
        make("line", { x1: px(tick), x2: px(tick), y1: py(0), y2: py(100), class: "grid" }),
        make("line", { x1: px(0), x2: px(100), y1: py(tick), y2: py(tick), class: "grid" }),
        make("text", { x: px(tick), y: height - bottom + 18, "text-anchor": "middle" }, `${tick}`),
        make("text", { x: left - 8, y: py(tick) + 4, "text-anchor": "end" }, `${tick}`),
      );
    }
    svg.append(
      make("line", { x1: px(0), y1: py(0), x2: px(100), y2: py(100), class: "same" }),
      make("text", { x: (left + width) / 2, y: height - 8, "text-anchor": "middle" }, x),
      make("text", { x: 14, y: height / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${height / 2})` }, y),
    );
    const told = make("output", { "aria-live": "polite" }, "Point at a mark, or tab to it.");
    const marks = points.map((point) => {
      const paint = groups.find((group) => group.name === point.group).color;
      const text = `${point.label}: printed ${point.x} %, ours ${point.y} % [${point.low}, ${point.high}], n = ${point.n}`;
      const mark = make(
        "g", { tabindex: 0, role: "img", "aria-label": text, "data-group": point.group, class: "mark" },
        make("line", { x1: px(point.x), x2: px(point.x), y1: py(point.low), y2: py(point.high), stroke: paint, "stroke-width": 2 }),
        make("circle", { cx: px(point.x), cy: py(point.y), r: 5, fill: paint }),
        make("title", {}, text),
      );
      const tell = () => { told.textContent = text; };
      mark.addEventListener("pointerenter", tell);
      mark.addEventListener("focus", tell);
      svg.append(mark);
      return mark;
    });
    const filter = make("select", { "aria-label": "show" }, make("option", { value: "" }, "all"));
    groups.forEach(({ name }) => filter.append(make("option", { value: name }, name)));
    filter.addEventListener("change", () => marks.forEach((mark) => {
      mark.toggleAttribute("hidden", Boolean(filter.value) && mark.dataset.group !== filter.value);
      mark.style.display = mark.hasAttribute("hidden") ? "none" : "";
    }));
    const key = make("span", { class: "key" });
    groups.forEach(({ name, color }) => {
      const dot = make("span", { class: "dot", style: `background:${color}` });
      key.append(make("span", {}, dot, name));
    });
    box.append(make("div", { class: "chart-tools" }, make("label", {}, "show ", filter), key), svg, told);
    box.classList.add("ready");
  };

  const start = () => {
    document.querySelectorAll(".compare").forEach(compare);
    document.querySelectorAll(".probe").forEach(probe);
    document.querySelectorAll(".chart").forEach(chart);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
