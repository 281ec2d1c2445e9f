/* The picture of the explorer: a click or a drag moves the pixel, and so do the arrow keys. */
function render({ model, el }) {
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "image; click, drag or use the arrow keys to move the pixel");
  canvas.style.cssText = "width:320px;height:320px;max-width:100%;image-rendering:pixelated;cursor:crosshair;touch-action:none";
  el.append(canvas);
  const context = canvas.getContext("2d");

  const draw = () => {
    const size = model.get("size");
    const values = model.get("rgb");
    if (!values || values.byteLength !== 3 * size * size) return;
    canvas.width = canvas.height = size;
    const picture = context.createImageData(size, size);
    for (let at = 0; at < size * size; at += 1) {
      for (let c = 0; c < 3; c += 1) picture.data[4 * at + c] = values.getUint8(3 * at + c);
      picture.data[4 * at + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
  };

  const set = (row, col) => {
    const last = model.get("size") - 1;
    model.set("row", Math.max(0, Math.min(last, row)));
    model.set("col", Math.max(0, Math.min(last, col)));
    model.save_changes();
  };
  const at = (event) => {
    const place = canvas.getBoundingClientRect();
    const size = model.get("size");
    set(
      Math.floor((size * (event.clientY - place.top)) / place.height),
      Math.floor((size * (event.clientX - place.left)) / place.width),
    );
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    at(event);
  });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons) at(event); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!step[event.key]) return;
    const [down, right] = step[event.key];
    set(model.get("row") + down, model.get("col") + right);
    event.preventDefault();
    event.stopPropagation();
  });
  model.on("change:rgb", draw);
  draw();
}

export default { render };
