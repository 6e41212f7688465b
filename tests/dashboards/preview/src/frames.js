// SPDX-License-Identifier: Apache-2.0
// Prometheus's answers as Grafana's data frames.
import { FieldType, getDisplayProcessor } from "@grafana/data";

export function legend(template, labels) {
  if (!template || template === "__auto") {
    return Object.entries(labels)
      .map(([name, value]) => `${name}="${value}"`)
      .join(", ");
  }
  return template.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? "");
}

function finish(frame, panel, theme) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  frame.fields.forEach((field, index) => {
    field.config = { ...structuredClone(defaults), ...field.config };
    for (const override of overrides) {
      const { id: by, options: wanted } = override.matcher;
      if ((by === "byName" && wanted === field.name) || (by === "byType" && wanted === field.type)) {
        for (const { id, value } of override.properties) {
          if (id.startsWith("custom.")) {
            field.config.custom = { ...field.config.custom, [id.slice(7)]: value };
          } else {
            field.config[id] = value;
          }
        }
      }
    }
    delete field.config.links;
    field.config.custom = { ...field.config.custom };
    field.state = { seriesIndex: index - 1 };
    field.display = getDisplayProcessor({ field, theme, timeZone: "utc" });
  });
  return frame;
}

// Grafana's time series panel takes what is no number, 0 / 0, for no value.
function drawable(value) {
  return Number.isFinite(Number(value)) ? Number(value) : null;
}

// One frame a series: what a time series panel takes.
export function series(panel, theme, { start, end, step }) {
  const frames = [];
  for (const target of panel.targets) {
    for (const one of target.result ?? []) {
      // Prometheus rounds times to milliseconds: a point is found by its number, not by its time.
      const points = new Map(
        one.values.map(([time, value]) => [Math.round((time - start) / step), drawable(value)]),
      );
      const times = [];
      const values = [];
      for (let i = 0; start + i * step <= end + step / 2; i++) {
        times.push((start + i * step) * 1000);
        values.push(points.get(i) ?? null);
      }
      const name = legend(target.legendFormat, one.metric);
      frames.push(
        finish(
          {
            name,
            refId: target.refId,
            length: times.length,
            fields: [
              { name: "Time", type: FieldType.time, config: {}, values: times },
              {
                name: "Value",
                type: FieldType.number,
                config: { displayName: name },
                labels: one.metric,
                values,
              },
            ],
          },
          panel,
          theme,
        ),
      );
    }
  }
  return frames.map((frame, index) => {
    frame.fields[1].state = { seriesIndex: index, displayName: frame.name };
    return frame;
  });
}

// All targets merged by their labels: what the transformations of a table make.
export function table(panel, theme) {
  const organize = panel.transformations.find((one) => one.id === "organize").options;
  const rows = new Map();
  const labels = new Set();
  const columns = [];
  panel.targets.forEach((target, index) => {
    const single = panel.targets.length === 1;
    const column = single ? "Value" : `Value #${target.refId}`;
    columns.push(column);
    for (const { metric, value } of target.result ?? []) {
      const { __name__, ...rest } = metric;
      Object.keys(rest).forEach((label) => labels.add(label));
      const shared = { ...rest };
      let key = JSON.stringify(Object.entries(shared).sort());
      const known = [...rows.values()].find((row) =>
        Object.entries(row.labels).every(([name, had]) => !(name in rest) || rest[name] === had),
      );
      if (known && index > 0) {
        Object.assign(known.labels, rest);
        known[column] = Number(value[1]);
      } else {
        rows.set(key, { labels: rest, [column]: Number(value[1]) });
      }
    }
  });
  const hidden = (name) => organize.excludeByName[name];
  const all = [...rows.values()];
  const fields = [
    ...[...labels]
      .filter((name) => !hidden(name))
      .map((name) => ({
        name,
        type: FieldType.string,
        config: {},
        values: all.map((row) => row.labels[name] ?? ""),
      })),
    ...columns
      .filter((name) => !hidden(name))
      .map((name) => ({
        name: organize.renameByName[name] ?? name,
        type: FieldType.number,
        config: {},
        values: all.map((row) => row[name] ?? null),
      })),
  ];
  const place = (field) =>
    organize.indexByName[field.name] ??
    organize.indexByName[columns.find((name) => organize.renameByName[name] === field.name)] ??
    99;
  fields.sort((a, b) => place(a) - place(b));
  const frame = finish({ fields, length: all.length }, panel, theme);
  const sorted = (panel.options?.sortBy ?? []).flatMap(({ displayName, desc }) => {
    const field = frame.fields.find(({ name }) => name === displayName);
    return field ? [[field.values, desc ? -1 : 1]] : [];
  });
  const order = all.map((_, i) => i);
  order.sort((a, b) => {
    for (const [values, sign] of sorted) {
      if (values[a] !== values[b]) {
        return sign * (values[a] - values[b]);
      }
    }
    return a - b;
  });
  frame.fields.forEach((field) => {
    field.values = order.map((i) => field.values[i]);
  });
  return frame;
}

export function stats(panel, theme) {
  return panel.targets.flatMap((target) =>
    (target.result ?? []).map(({ metric, value }) => {
      const field = { name: "Value", type: FieldType.number, config: {}, values: [Number(value[1])] };
      finish({ fields: [field], length: 1 }, panel, theme);
      const shown = field.display(field.values[0]);
      return { ...shown, title: panel.targets.length > 1 ? legend(target.legendFormat, metric) : undefined };
    }),
  );
}
