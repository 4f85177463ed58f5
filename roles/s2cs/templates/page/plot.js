// Plot of the throughput of the last hour, with gaps for times without samples.
const SPAN = 3600;
function ceiling(value) {
  const bits = Math.max(value * 8, 1000), power = 10 ** Math.floor(Math.log10(bits));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((top) => top >= bits) / 8;
}
function runs(values) {
  const found = [];
  values.forEach((value, index) => {
    if (value == null) return;
    const last = found[found.length - 1];
    if (last && last[last.length - 1][0] === index - 1) last.push([index, value]);
    else found.push([[index, value]]);
  });
  return found;
}
function plot(data) {
  const place = byId("plot"), { start, step } = data.history;
  const series = { consumer: data.history.to_consumer, producer: data.history.to_producer };
  const known = series.consumer.filter((value) => value != null);
  if (!known.length) { show(place, element("p", { class: "empty" }, "Nothing measured yet.")); byId("plot-words").textContent = ""; return; }
  const width = Math.max(300, Math.round(place.clientWidth)), height = width < 620 ? 190 : 230, foot = 22, head = 8, margin = 66;
  const end = Math.max(data.time, start + step), begin = end - SPAN;
  const peak = Math.max(...known), top = ceiling(Math.max(peak, ...series.producer.filter((value) => value != null)));
  const x = (time) => margin + (width - margin) * (time - begin) / SPAN;
  const y = (value) => head + (height - foot - head) * (1 - value / top);
  const at = start + step * series.consumer.indexOf(peak);
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const words = `mean ${rate(mean)}, peak ${rate(peak)} at ${clock(at)}`;
  byId("plot-words").textContent = words;
  const svg = drawing(width, height, "Throughput of the last hour to the consumers", words);
  for (let line = 0; line <= 4; line += 1) {
    const value = top * line / 4;
    svg.append(shape("path", { d: `M${margin} ${y(value)}H${width}`, class: "grid" }),
      shape("text", { x: margin - 8, y: y(value) + 4, class: "head", "text-anchor": "end" }, rate(value)));
  }
  const every = width < 620 ? 1200 : 600;
  for (let time = Math.ceil(begin / every) * every; time <= end; time += every) {
    const near = x(time) > width - 20 ? "end" : x(time) < margin + 20 ? "start" : "middle";
    svg.append(shape("text", { x: x(time), y: height - 5, class: "head", "text-anchor": near }, clock(time)));
  }
  for (const [name, values] of Object.entries(series)) {
    for (const run of runs(values)) {
      const points = run.map(([index, value]) => `${x(Math.min(end, start + (index + 0.5) * step)).toFixed(1)} ${y(value).toFixed(1)}`);
      if (points.length === 1) points.push(points[0].replace(/^[^ ]+/, (from) => String(Number(from) + 1)));
      const ends = [points[0], points[points.length - 1]].map((point) => point.split(" ")[0]);
      svg.append(shape("path", { d: `M${points.join("L")}L${ends[1]} ${y(0)}L${ends[0]} ${y(0)}Z`, class: `area ${name}` }),
        shape("path", { d: `M${points.join("L")}`, class: name }));
    }
  }
  const cursor = shape("path", { class: "cursor", visibility: "hidden" }), tip = element("div", { class: "tip", hidden: true });
  svg.append(cursor);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const index = Math.floor((begin + SPAN * (((event.clientX - box.left) * width / box.width) - margin) / (width - margin) - start) / step);
    if (index < 0 || index >= series.consumer.length) return leave();
    const where = x(Math.min(end, start + (index + 0.5) * step));
    cursor.setAttribute("d", `M${where} ${head}V${height - foot}`);
    cursor.setAttribute("visibility", "visible");
    tip.textContent = `${clock(start + index * step)}\n▸ ${rate(series.consumer[index])}\n◂ ${rate(series.producer[index])}`;
    tip.hidden = false;
    tip.style.left = `${Math.min(where + 10, width - tip.offsetWidth)}px`;
    return undefined;
  });
  svg.addEventListener("pointerleave", leave);
  place.replaceChildren(svg, tip);
  function leave() { cursor.setAttribute("visibility", "hidden"); tip.hidden = true; }
}
