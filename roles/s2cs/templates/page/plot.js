// Plot of the throughput over time, with gaps for times without samples.
const TICKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 3600];
const SHORTEST = 120;
// Just above a value, and with quarters that have few digits.
function ceiling(value) {
  const bits = Math.max(value * 8, 1000), power = 10 ** Math.floor(Math.log10(bits));
  return [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10].map((step) => step * power).find((top) => top >= bits) / 8;
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
  const title = byId("plot-title").textContent, marks = data.history.names || ["▸", "◂"];
  const series = { consumer: data.history.to_consumer, producer: data.history.to_producer };
  const known = series.consumer.filter((value) => value != null);
  if (!known.length) { show(place, element("p", { class: "empty" }, "Nothing measured yet.")); byId("plot-words").textContent = ""; return; }
  const width = Math.max(300, Math.round(place.clientWidth)), height = width < 620 ? 190 : 230, foot = 22, head = 8, margin = 66;
  const end = data.history.relative ? data.history.span : Math.max(data.time, start + step);
  // A gateway that has just started has its samples in all of the plot.
  const span = data.history.relative ? end : Math.min(data.history.span, Math.max(SHORTEST, end - start)), begin = end - span;
  const peak = Math.max(...known), top = ceiling(Math.max(peak, ...series.producer.filter((value) => value != null)));
  const x = (time) => margin + (width - margin) * (time - begin) / span;
  const y = (value) => head + (height - foot - head) * (1 - value / top);
  const every = TICKS.find((seconds) => span / seconds <= (width < 620 ? 4 : 8)) || 7200;
  const label = (time) => data.history.relative ? `${Number(time.toFixed(1))} s` : clock(time, every < 60);
  const at = start + step * series.consumer.indexOf(peak);
  const average = (values) => values.reduce((sum, value) => sum + (value || 0), 0) / Math.max(1, values.filter((value) => value != null).length);
  const names = data.history.names;
  const words = names ? `mean ${names.map((name, index) => `${name} ${rate(average(Object.values(series)[index]))}`).join(", ")}` : `mean ${rate(average(known))}, peak ${rate(peak)} at ${label(at)}`;
  byId("plot-words").textContent = words;
  const svg = drawing(width, height, title, words);
  for (let line = 0; line <= 4; line += 1) {
    const value = top * line / 4;
    svg.append(shape("path", { d: `M${margin} ${y(value)}H${width}`, class: "grid" }),
      shape("text", { x: margin - 8, y: y(value) + 4, class: "head", "text-anchor": "end" }, rate(value)));
  }
  for (let time = Math.ceil(begin / every) * every; time <= end; time += every) {
    const near = x(time) > width - 20 ? "end" : x(time) < margin + 20 ? "start" : "middle";
    svg.append(shape("text", { x: x(time), y: height - 5, class: "head", "text-anchor": near }, label(time)));
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
    const index = Math.floor((begin + span * (((event.clientX - box.left) * width / box.width) - margin) / (width - margin) - start) / step);
    if (index < 0 || index >= series.consumer.length) return leave();
    const where = x(Math.min(end, start + (index + 0.5) * step));
    cursor.setAttribute("d", `M${where} ${head}V${height - foot}`);
    cursor.setAttribute("visibility", "visible");
    tip.textContent = `${label(start + index * step)}\n${marks[0]} ${rate(series.consumer[index])}\n${marks[1]} ${rate(series.producer[index])}`;
    tip.hidden = false;
    tip.style.left = `${Math.min(where + 10, width - tip.offsetWidth)}px`;
    return undefined;
  });
  svg.addEventListener("pointerleave", leave);
  place.replaceChildren(svg, tip);
  function leave() { cursor.setAttribute("visibility", "hidden"); tip.hidden = true; }
}
