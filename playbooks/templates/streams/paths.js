// Drawing of the paths of all streams, from the producer applications on the left to the consumer applications on the right.
const MOST_ROWS = 40, HEAD = 34;
const isDown = (one) => !one.healthy && one.health !== "expired";
function picture(data) {
  const place = byId("picture");
  const all = [...data.sessions].filter((one) => Object.keys(one.sides).length).sort((a, b) => isDown(b) - isDown(a) || byName(a, b));
  if (!all.length) { show(place, element("p", { class: "empty" }, "No stream is open.")); return; }
  const shown = all.slice(0, MOST_ROWS), rest = all.length - shown.length;
  const width = Math.max(300, Math.round(place.clientWidth)), narrow = width < 620;
  const row = narrow ? 78 : 62, above = 26;
  const side = narrow ? Math.round(width * 0.24) : Math.min(210, Math.round(width * 0.19));
  const box = narrow ? 24 : Math.min(190, Math.round(width * 0.17));
  const gap = (width - 2 * side - 2 * box) / 3;
  const boxes = { producer: side + gap, consumer: side + 2 * gap + box };
  // Streams between the same gateways are in the same boxes.
  const groups = new Map();
  for (const one of shown) {
    const key = JSON.stringify([one.gateways.producer || "", one.gateways.consumer || ""]);
    groups.set(key, [...(groups.get(key) || []), one]);
  }
  const height = HEAD + [...groups.values()].reduce((sum, group) => sum + above + group.length * row + 10, 0) + (rest ? 24 : 0);
  const words = shown.map((one) => `${one.name}: ${one.health}, ${one.path}, ${rate(one.rates.to_consumer)} to the consumer`);
  const svg = drawing(width, height, "Paths of the streams", `${words.join("; ")}${rest ? `; and ${rest} more` : ""}`);
  const text = (x, y, content, cls, anchor = "start", most = null) =>
    shape("text", { x, y, class: cls, "text-anchor": anchor, "data-most": most }, content);
  svg.append(text(0, 14, narrow ? "Producers" : "Producer side", "head"), text(width, 14, narrow ? "Consumers" : "Consumer side", "head", "end"));
  if (!narrow) svg.append(text(width / 2, 14, "between the gateways", "head", "middle"));
  const fastest = Math.max(1, ...shown.map(busiest));
  let top = HEAD;
  for (const group of groups.values()) {
    const tall = above + group.length * row;
    for (const role of ["producer", "consumer"]) {
      const name = group[0].gateways[role], x = boxes[role];
      if (!name) continue;
      const middle = x + box / 2, room = narrow ? box + gap - 8 : box - 12;
      svg.append(shape("g", {}, shape("title", {}, `gateway ${name} (${role} side)`),
        shape("rect", { x, y: top, width: box, height: tall, rx: 12, class: "box" }),
        text(middle, top + (narrow ? -3 : 17), name, "strong", "middle", room)));
    }
    group.forEach((one, index) => svg.append(path(one, top + above + index * row + row / 2 + (narrow ? 8 : 0))));
    top += tall + 10;
  }
  if (rest) svg.append(text(0, height - 6, `${count(rest)} more are in the table below.`, "soft"));
  place.replaceChildren(svg);
  fit(svg);

  function busiest(one) { return Math.max(one.rates.to_consumer || 0, one.rates.to_producer || 0); }
  function path(one, y) {
    const group = shape("g"), broken = isDown(one), speed = busiest(one);
    const { producer, consumer } = one.sides;
    const thick = speed ? 3 + 15 * Math.sqrt(speed / fastest) : 0;
    const towards = (one.rates.to_consumer || 0) >= (one.rates.to_producer || 0);
    const links = [
      [side + 4, boxes.producer, producer], [boxes.producer + box, boxes.consumer, producer && consumer], [boxes.consumer + box, width - side - 4, consumer],
    ].filter(([, , exists]) => exists);
    for (const [from, to] of links) {
      const crosses = from === boxes.producer + box, middle = (from + to) / 2;
      group.append(shape("path", { d: `M${from} ${y}H${to}`, class: broken ? "wire bad" : "wire" }));
      if (speed && !broken) {
        const [begin, end, tip] = towards ? [from, to - 8, `M${to - 8} ${y - 6}l8 6l-8 6z`] : [to, from + 8, `M${from + 8} ${y - 6}l-8 6l8 6z`];
        group.append(shape("path", { d: `M${from} ${y}H${to}`, class: "flow", "stroke-width": thick.toFixed(1) }),
          shape("path", { d: `M${begin} ${y}H${end}`, class: "pulse" }), shape("path", { d: tip, class: "head-of" }));
        if (!narrow) group.append(text(middle, y - 14, `${towards ? "▸" : "◂"} ${rate(speed)}`, "fore", "middle", to - from));
      }
      if (crosses) group.append(broken ? cross(middle, y) : lock(middle, y, one.encryption !== "none"));
    }
    if (producer) {
      group.append(node(0, y, "application", some(producer.targets) || "not known yet", "start"));
      if (!narrow) group.append(inBox(boxes.producer, y, one, producer));
    }
    if (consumer) {
      group.append(node(width, y, "application", consumer.clients.length ? some(consumer.clients) : "anyone", "end"));
      if (!narrow) group.append(inBox(boxes.consumer, y, one, consumer));
    }
    if (narrow) {
      const middle = text(0, y - 29, one.name, broken ? "strong bad" : "strong", "start", width * 0.6);
      middle.append(shape("title", {}, one.name));
      group.append(middle, text(width, y - 29, broken ? one.health : rate(speed), broken ? "bad" : "fore", "end", width * 0.36));
    }
    return group;
  }
  function inBox(x, y, one, own) {
    const middle = x + box / 2, down = !own.healthy;
    const name = text(middle, y - 3, one.name, down ? "strong bad" : "strong", "middle", box - 14);
    name.append(shape("title", {}, `${one.name}: ${own.health}`));
    return shape("g", {}, name, text(middle, y + 13, down ? own.health : some(own.listeners), down ? "bad" : "head", "middle", box - 14));
  }
  function node(x, y, kind, address, anchor) {
    const edge = anchor === "start" ? x : x - side, pad = anchor === "start" ? x + 10 : x - 10;
    return shape("g", {}, shape("title", {}, `${kind}: ${address}`),
      shape("rect", { x: edge, y: y - 21, width: side, height: 42, rx: 9, class: "node" }),
      text(pad, y - 4, address, "", anchor, side - 20), text(pad, y + 12, kind, "head", anchor, side - 20));
  }
}
