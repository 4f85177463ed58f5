// Drawing of the streams through this gateway, from producers on the left to consumers on the right.
const MOST_ROWS = 12, TOP = 34;
function isDown(session) { return !session.healthy && session.health !== "expired"; }
function picture(data) {
  const place = byId("picture");
  const byRate = (a, b) => (b.rates.to_consumer || 0) - (a.rates.to_consumer || 0);
  // Sorted by rate only if there is no room for all streams, so that streams do not change places.
  const all = [...data.sessions].sort((a, b) => isDown(b) - isDown(a) || (data.sessions.length > MOST_ROWS ? byRate(a, b) : byName(a, b)));
  if (!all.length) { show(place, element("p", { class: "empty" }, data.error ? "Unknown." : "No streams on this gateway.")); return; }
  const fits = all.length <= MOST_ROWS ? all.length : MOST_ROWS - 1;
  const shown = all.slice(0, fits), rest = all.slice(fits);
  const width = Math.max(300, Math.round(place.clientWidth)), narrow = width < 620;
  // On narrow screens, names and rates are above the streams, and the gateway is a narrow bar.
  const ROW = narrow ? 76 : 58, down = narrow ? 8 : -6;
  const side = narrow ? Math.round(width * 0.36) : Math.min(250, Math.round(width * 0.24));
  const middle = narrow ? 26 : Math.min(230, Math.round(width * 0.21));
  const rows = shown.length + (rest.length ? 1 : 0), height = TOP + rows * ROW + 4;
  const left = (width - middle) / 2, most = Math.max(1, ...all.map((one) => one.rates.to_consumer || 0));
  const words = shown.map((one) => `${one.name || one.uid} (${one.role}): ${one.health}, ${rate(one.rates.to_consumer)} to the consumer`);
  const svg = drawing(width, height, "Streams through this gateway", `${words.join("; ")}${rest.length ? `; and ${rest.length} more` : ""}`);
  const text = (x, y, content, cls, anchor = "start", most = null) =>
    shape("text", { x, y, class: cls, "text-anchor": anchor, "data-most": most }, content);
  svg.append(
    text(0, 14, narrow ? "Producers" : "Producer side", "head"), text(width / 2, 14, "This gateway", "head", "middle"),
    text(width, 14, narrow ? "Consumers" : "Consumer side", "head", "end"),
    shape("rect", { x: left, y: TOP - 10, width: middle, height: rows * ROW + 8, rx: 12, class: "box" }));
  shown.forEach((one, index) => svg.append(row(one, TOP + index * ROW + ROW / 2 + down)));
  if (rest.length) {
    const y = TOP + shown.length * ROW + ROW / 2 + down;
    const sum = rest.reduce((total, one) => total + (one.rates.to_consumer || 0), 0);
    svg.append(wire(side + 8, left, y, false), wire(left + middle, width - side - 8, y, false),
      ...labels(y, `${rest.length} more`, rate(sum), "strong", "fore"));
  }
  place.replaceChildren(svg);
  fit(svg);

  function wire(from, to, y, broken) { return shape("path", { d: `M${from} ${y}H${to}`, class: broken ? "wire bad" : "wire" }); }
  function node(x, y, kind, address, anchor) {
    const edge = anchor === "start" ? x : x - side, pad = anchor === "start" ? x + 10 : x - 10;
    return shape("g", {}, shape("title", {}, `${kind}: ${address}`),
      shape("rect", { x: edge, y: y - 21, width: side, height: 42, rx: 9, class: "node" }),
      text(pad, y - 4, address, "", anchor, side - 20), text(pad, y + 12, kind, "head", anchor, side - 20));
  }
  function labels(y, name, more, nameClass, moreClass) {
    return narrow
      ? [text(0, y - 29, name, nameClass, "start", left - 6), text(width, y - 29, more, moreClass, "end", left - 6)]
      : [text(width / 2, y - 3, name, nameClass, "middle", middle - 16), text(width / 2, y + 13, more, moreClass, "middle", middle - 16)];
  }
  function row(one, y) {
    const group = shape("g"), produces = one.role === "producer", broken = isDown(one);
    const clients = one.clients.length ? some(one.clients) : "anyone";
    const from = some(one.targets) || "not known yet", to = clients;
    const ends = [side + 4, left, left + middle, width - side - 4];
    const speed = one.rates.to_consumer || 0, thick = speed ? 3 + 15 * Math.sqrt(speed / most) : 0;
    for (const [begin, end, crosses] of [[ends[0], ends[1], !produces], [ends[2], ends[3], produces]]) {
      group.append(wire(begin, end, y, broken));
      if (speed && !broken) {
        group.append(shape("path", { d: `M${begin} ${y}H${end}`, class: "flow", "stroke-width": thick.toFixed(1) }),
          moving(begin, end - 8, y), shape("path", { d: `M${end - 8} ${y - 6}l8 6l-8 6z`, class: "head-of" }));
      }
      if (broken) group.append(cross((begin + end) / 2, y));
      else if (crosses) group.append(lock((begin + end) / 2, y, one.encryption !== "none"));
      if (!narrow && !broken && speed) group.append(text((begin + end) / 2, y - 14, rate(speed), "fore", "middle"));
      if (!narrow && !broken && one.rates.to_producer >= 1) {
        group.append(text((begin + end) / 2, y + 24, `◂ ${rate(one.rates.to_producer)}`, "back", "middle"));
      }
    }
    group.append(node(0, y, produces ? "application" : "other gateway", from, "start"),
      node(width, y, produces ? "other gateway" : "application", to, "end"));
    const below = broken ? one.health : narrow ? rate(one.rates.to_consumer) : some(one.listeners);
    const [name, more] = labels(y, one.name || one.uid, below, broken ? "strong bad" : "strong", broken ? "bad" : narrow ? "fore" : "head");
    name.append(shape("title", {}, `${one.name || one.uid} (${one.role})`));
    group.append(name, more);
    return group;
  }
  function moving(from, to, y) {
    const path = shape("path", { d: `M${from} ${y}H${to}`, class: "pulse" });
    // The animation continues when the drawing is replaced.
    path.style.animationDelay = `-${performance.now() % 1100}ms`;
    return path;
  }
}
