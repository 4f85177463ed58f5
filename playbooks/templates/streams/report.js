// Displays the document that this page contains.
const data = JSON.parse(byId("document").textContent);
data.sessions = data.streams.map((one) => ({ role: "", ...one }));
function tiles() {
  const { totals, gateways } = data, silent = gateways.filter((one) => !one.answered).length;
  show(byId("tiles"), ...trafficTiles(data),
    tile("Streams", count(totals.streams), "", `${totals.healthy} healthy`),
    tile("Gateways", count(gateways.length), "", silent ? `${silent} did not answer` : gateways.length ? "all answered" : ""));
}
function verdict() {
  const mark = byId("verdict"), { totals } = data, silent = data.gateways.some((one) => !one.answered);
  let [level, text] = ["good", totals.streams ? "All healthy" : "No streams"];
  if (totals.notices) [level, text] = ["notice", plural(totals.notices, "notice")];
  if (silent) [level, text] = ["problem", "Gateways do not answer"];
  if (totals.problems) [level, text] = ["problem", plural(totals.problems, "problem")];
  mark.dataset.level = level;
  mark.textContent = text;
}
function render() { picture(data); plot(data); list(data); }
byId("name").textContent = data.heading || data.gateways.map((one) => one.name).join(", ") || "No gateways";
byId("updated").textContent = `as of ${new Date(data.time * 1000).toLocaleString()}`;
byId("about").textContent = `scistream.gateway ${data.version}`;
byId("gateways").textContent = data.gateways.map((one) => one.answered
  ? `${one.name}: ${plural(one.sessions, "session")}${one.ports.total == null ? "" : `, ${one.ports.used} of ${one.ports.total} ports`}` : `${one.name}: no answer`).join("; ");
[byId("key-consumer").textContent, byId("key-producer").textContent] = data.history.names || ["to the consumers", "to the producers"];
tiles();
problems(data);
verdict();
render();
addEventListener("resize", render);
byId("filter").addEventListener("input", () => list(data));
// While the file is being updated, the page follows it.
if (data.refresh) setTimeout(() => location.reload(), data.refresh * 1000);
