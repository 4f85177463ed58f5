// Fetches the status every two seconds while the page is visible.
const EVERY = 2000, PATIENCE = 8000;
let data = null, came = 0, failed = "", timer = 0;
function verdict() {
  const mark = byId("verdict"), old = came && Date.now() - came > 4 * EVERY;
  let level = "unknown", text = "Loading";
  if (data && data.error) [level, text] = ["problem", "S2CS does not respond"];
  else if (data && data.totals.problems) [level, text] = ["problem", plural(data.totals.problems, "problem")];
  else if (data && data.totals.notices) [level, text] = ["notice", plural(data.totals.notices, "notice")];
  else if (data) [level, text] = ["good", data.totals.sessions ? "All healthy" : "Ready"];
  if (old) [level, text] = ["unknown", failed ? "No contact" : "Not updated"];
  mark.dataset.level = level;
  if (mark.textContent !== text) mark.textContent = text;
  const age = came ? Math.floor((Date.now() - came) / 1000) : 0;
  byId("updated").textContent = !came ? failed || "no data yet" : age < 5 ? "live" : `as of ${duration(age)} ago`;
  byId("pulse").className = failed || (data && data.error) ? "lost" : came ? "live" : "";
  byId("lost").hidden = !failed && !(data && data.error);
  const why = failed ? `The gateway's status cannot be fetched: ${failed}` : data && data.error ? `S2CS does not respond: ${data.error}` : "";
  show(byId("lost"), element("div", { class: "problem", "data-level": "problem" },
    element("p", { class: "what" }, element("span", { class: "level" }, "Problem"), word(why)),
    element("p", { class: "command" }, "Run: ", element("code", {}, failed ? "systemctl status scistream-s2cs-web.service" : "systemctl status scistream-s2cs.service"))));
}
function render() {
  if (data) {
    const name = data.gateway.name || location.hostname;
    byId("name").textContent = name;
    document.title = `${data.totals.problems ? `(${data.totals.problems}) ` : ""}${name} – SciStream gateway`;
    byId("about").textContent = data.gateway.version ? `scistream.gateway ${data.gateway.version}` : "";
    tiles(data);
    problems(data);
    picture(data);
    plot(data);
    list(data);
  }
  verdict();
}
async function update() {
  clearTimeout(timer);
  try {
    const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const found = await answer.json();
    if (found.version !== 1) { location.reload(); return; }
    // While S2CS is slow, the server repeats the previous status.
    if (!data || found.time !== data.time) came = Date.now();
    [data, failed] = [found, ""];
  } catch (error) {
    failed = error.name === "TimeoutError" ? "no answer in time" : error.message;
  }
  render();
  if (!document.hidden) timer = setTimeout(update, failed ? 2 * EVERY : EVERY);
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) update(); });
addEventListener("resize", () => { if (data) { picture(data); plot(data); } });
byId("filter").addEventListener("input", () => { if (data) list(data); });
setInterval(verdict, 1000);
update();
