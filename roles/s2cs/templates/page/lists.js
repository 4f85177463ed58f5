// Tiles, problems and the table of all streams, which is the text equivalent of the drawings.
const tile = (label, value, unit, more, of) => element("div", { class: "tile" }, element("dl", {}, element("dt", {}, label),
  element("dd", {}, element("div", { class: "value", "data-of": of }, value, unit ? element("small", {}, ` ${unit}`) : null),
    element("div", { class: "sub" }, more))));
function trafficTiles(data) {
  const moved = (side) => data.sessions.reduce((sum, one) => sum + (one.transferred[side] || 0), 0);
  const seen = data.sessions.reduce((sum, one) => sum + (one.connections.total || 0), 0);
  return [
    tile("To the consumers", ...rateParts(data.totals.rates.to_consumer), `${size(moved("to_consumer"))} in total`, "consumer"),
    tile("To the producers", ...rateParts(data.totals.rates.to_producer), `${size(moved("to_producer"))} in total`, "producer"),
    tile("Open connections", count(data.totals.open), "", `${plural(seen, "connection")} in total`),
  ];
}
const byName = (a, b) => (a.name || a.uid).localeCompare(b.name || b.uid, "en", { numeric: true }) || a.role.localeCompare(b.role);
const subject = (one, names) => one.subject ? [word(one.subject, { class: "subject" }), ": "]
  : one.uid ? [word(names.get(one.uid + one.role) || one.uid, { class: "subject" }), ` (${one.role}): `] : [];
const LEVELS = { problem: "Problem", notice: "Notice" };
let allProblems = false;
function problems(data) {
  const place = byId("problems"), names = new Map(data.sessions.map((one) => [one.uid + one.role, one.name]));
  const most = 5, shown = allProblems ? data.problems : data.problems.slice(0, most), more = data.problems.length - shown.length;
  place.hidden = !data.problems.length;
  show(place, ...shown.map((one) => element("div", { class: "problem", "data-level": one.level },
    element("p", { class: "what" }, element("span", { class: "level" }, LEVELS[one.level] || one.level),
      ...subject(one, names), word(one.message)),
    one.log && one.log.length ? element("pre", { class: "log", dir: "ltr" }, one.log.join("\n")) : null,
    one.command ? element("p", { class: "command" }, "Run: ", element("code", { dir: "ltr" }, one.command)) : null)),
  more > 0 ? element("button", { class: "more", type: "button" }, `Show ${more} more`) : null);
  const button = place.querySelector("button");
  if (button) button.onclick = () => { allProblems = true; problems(data); };
}
const rowsByKey = new Map(), MOST_LISTED = 50;
let allRows = false;
function list(data) {
  const all = [...data.sessions].sort((a, b) => a.healthy - b.healthy || byName(a, b));
  const wanted = byId("filter").value.trim().toLowerCase();
  const found = all.filter((one) => !wanted || [one.name, one.uid, one.role, one.health, one.state, one.owner, ...one.targets, ...one.listeners, ...Object.values(one.gateways || {})]
    .some((text) => text.toLowerCase().includes(wanted)));
  byId("search").hidden = all.length < 8;
  byId("table").hidden = !found.length;
  byId("none").hidden = Boolean(found.length);
  byId("none").textContent = all.length ? "No stream matches." : data.error ? "Unknown." : "No streams are open. They appear here as soon as one is requested.";
  const listed = allRows || wanted ? found : found.slice(0, MOST_LISTED), button = byId("more");
  button.hidden = listed.length === found.length;
  button.textContent = `Show all ${count(found.length)}`;
  button.onclick = () => { allRows = true; list(data); };
  const rows = listed.map((one) => {
    const key = one.uid + one.role, row = rowsByKey.get(key) || element("tr", {});
    rowsByKey.set(key, row);
    show(row, ...cells(one, data.time));
    return row;
  });
  const body = byId("rows"), now = [...body.children];
  if (rows.length !== now.length || rows.some((row, index) => row !== now[index])) body.replaceChildren(...rows);
  const keys = new Set(data.sessions.map((one) => one.uid + one.role));
  for (const key of rowsByKey.keys()) if (!keys.has(key)) rowsByKey.delete(key);
}
function cells(one, now) {
  const cell = (head, cls, ...parts) => element("td", { "data-head": head, class: cls }, ...parts);
  const line = (text, cls) => text ? element("div", { class: cls }, word(text)) : null;
  const { connections: seen, transferred } = one, known = seen.total != null;
  const level = !one.healthy ? (one.health === "expired" ? "notice" : "problem") : one.health === "ok" ? "good" : "wait";
  const least = one.exact ? "" : "≥ ", lost = [[seen.refused, "refused"], [seen.failed, "failed"]].filter(([number]) => number);
  const silent = one.last_byte == null ? "" : now - one.last_byte < 2 ? "transferring" : `last byte ${duration(now - one.last_byte)} ago`;
  return [
    cell("Stream", null, line(one.name || one.uid, "title"), element("div", {}, one.role ? `${one.role} side, ${one.state}` : one.state), one.name ? line(one.uid, "mono") : null),
    cell("Health", null, element("span", { class: "chip", "data-level": level }, one.health),
      one.encryption === "none" ? element("div", {}, element("span", { class: "chip open" }, "not encrypted")) : null, line(one.healthy ? "" : one.reason)),
    cell("Rate now", "n", line(`▸ ${rate(one.rates.to_consumer)}`, "down"), line(`◂ ${rate(one.rates.to_producer)}`, "up")),
    cell("Transferred", "n", line(known ? `▸ ${least}${size(transferred.to_consumer)}` : "–"), known ? line(`◂ ${least}${size(transferred.to_producer)}`) : null),
    cell("Connections", "n", line(known ? `${count(seen.open)} open` : "–"), known ? line(`${least}${count(seen.total)} in total`) : null,
      lost.length ? line(lost.map(([number, what]) => `${count(number)} ${what}`).join(", ")) : null),
    cell("From and to", null, line(`${some(one.listeners) || "–"}`), line(one.targets.length ? `target ${some(one.targets)}` : ""),
      line(`${one.proxy} in ${one.runtime}, ${one.transport}${one.rate_limit ? `, at most ${rate(one.rate_limit / 8)}` : ""}`)),
    cell("Time", null, line(one.created == null ? "–" : `age ${duration(now - one.created)}`),
      line(one.expires == null ? "no expiry" : one.expires > now ? `expires in ${duration(one.expires - now)}` : "expired"), line(silent),
      one.restarts ? line(plural(one.restarts, "restart")) : null),
  ];
}
