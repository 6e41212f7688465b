// SPDX-License-Identifier: Apache-2.0
// State timelines and heatmaps are no part of @grafana/ui: these show the same data more plainly.
import { formattedValueToString } from "@grafana/data";

export function States({ frames, width, height }) {
  const line = Math.min(26, Math.floor(height / Math.max(1, frames.length)));
  return (
    <div style={{ width, height, overflow: "hidden", fontSize: 11 }}>
      {frames.map((frame) => {
        const { values, display } = frame.fields[1];
        return (
          <div key={frame.name} style={{ display: "flex", height: line, alignItems: "center" }}>
            <div style={{ width: 150, whiteSpace: "nowrap", overflow: "hidden" }}>{frame.name}</div>
            <div style={{ display: "flex", flex: 1, height: line - 4 }}>
              {values.map((value, i) => (
                <div
                  key={i}
                  title={value === null ? "" : formattedValueToString(display(value))}
                  style={{ flex: 1, background: value === null ? "none" : display(value).color }}
                />
              ))}
            </div>
          </div>
        );
      })}
    </div>
  );
}

export function Heat({ frames, width, height }) {
  const bound = (frame) => Number(frame.name.replace("+Inf", "Infinity"));
  const rows = [...frames].sort((a, b) => bound(a) - bound(b));
  const counts = rows.map((frame, i) =>
    frame.fields[1].values.map((value, j) =>
      Math.max(0, (value ?? 0) - (i ? (rows[i - 1].fields[1].values[j] ?? 0) : 0)),
    ),
  );
  const most = Math.max(...counts.flat(), 1e-9);
  return (
    <div style={{ width, height, fontSize: 10 }}>
      {rows
        .map((frame, i) => (
          <div key={frame.name} style={{ display: "flex", height: height / rows.length }}>
            <div style={{ width: 60 }}>
              {bound(frame) === Infinity ? "more" : formattedValueToString(frame.fields[1].display(bound(frame)))}
            </div>
            {counts[i].map((count, j) => (
              <div
                key={j}
                style={{ flex: 1, margin: 0.5, background: `rgba(255,120,40,${Math.sqrt(count / most)})` }}
              />
            ))}
          </div>
        ))
        .reverse()}
    </div>
  );
}
