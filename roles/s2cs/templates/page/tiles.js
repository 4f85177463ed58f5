// Totals of a gateway.
function tiles(data) {
  const { totals, gateway } = data, ports = gateway.ports, limit = gateway.limits.sessions;
  byId("tiles").hidden = Boolean(data.error);
  show(byId("tiles"), ...trafficTiles(data),
    tile("Streams", count(totals.sessions), "", limit ? `${totals.healthy} healthy, ${count(limit)} allowed` : `${totals.healthy} healthy`),
    tile("Free ports", ports.free == null ? "?" : count(ports.free), "", ports.total == null ? "" : `of ${count(ports.total)}`));
}
