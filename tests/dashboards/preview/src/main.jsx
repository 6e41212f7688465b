// SPDX-License-Identifier: Apache-2.0
// One dashboard, drawn by Grafana's own components: ?board=UID, &row=N for a folded row.
import { createTheme, dateTime, ThemeContext } from "@grafana/data";
import { BigValue, GlobalStyles, PanelChrome, Table, TimeSeries } from "@grafana/ui";
import { createRoot } from "react-dom/client";

import { series, stats, table } from "./frames.js";
import { Heat, States } from "./stand-ins.jsx";

const CELL = 38;
const GAP = 8;
const theme = createTheme({ colors: { mode: "dark" } });
const asked = new URLSearchParams(location.search);

function content(panel, answers, width, height) {
  const nothing = (
    <div style={{ height, display: "flex", alignItems: "center", justifyContent: "center", opacity: 0.7 }}>
      {panel.fieldConfig?.defaults?.noValue ?? "No data"}
    </div>
  );
  if (!panel.targets.some((target) => target.result?.length)) {
    return nothing;
  }
  switch (panel.type) {
    case "timeseries": {
      const range = { from: dateTime(answers.start * 1000), to: dateTime(answers.end * 1000) };
      return (
        <TimeSeries
          frames={series(panel, theme, answers)}
          timeRange={{ ...range, raw: range }}
          timeZone="utc"
          width={width}
          height={height}
          legend={{ calcs: [], ...panel.options.legend }}
          options={panel.options}
        />
      );
    }
    case "stat": {
      const values = stats(panel, theme);
      return (
        <div style={{ display: "flex" }}>
          {values.map((value, i) => (
            <BigValue
              key={i}
              value={value}
              theme={theme}
              width={width / values.length}
              height={height}
              colorMode="value"
              graphMode="none"
              justifyMode="auto"
              textMode={values.length > 1 ? "value_and_name" : "value"}
            />
          ))}
        </div>
      );
    }
    case "table":
      return <Table data={table(panel, theme)} width={width} height={height} cellHeight="sm" />;
    case "state-timeline":
      return <States frames={series(panel, theme, answers)} width={width} height={height} />;
    case "heatmap":
      return <Heat frames={series(panel, theme, answers)} width={width} height={height} />;
    default:
      return panel.type;
  }
}

function Board({ answers, board, panels }) {
  const top = Math.min(...panels.map((panel) => panel.gridPos.y));
  const column = (innerWidth - 2 * GAP) / 24;
  return (
    <div style={{ position: "relative", padding: GAP }}>
      <h3 style={{ height: 24, margin: 0 }}>{board.title}</h3>
      {panels.map((panel) => {
        const { x, y, w, h } = panel.gridPos;
        const width = w * column - GAP;
        const height = h * CELL - GAP;
        return (
          <div
            key={panel.id}
            style={{ position: "absolute", left: GAP + x * column, top: 40 + (y - top) * CELL, width, height }}
          >
            <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
              {(innerWidth, innerHeight) => content(panel, answers, innerWidth, innerHeight)}
            </PanelChrome>
          </div>
        );
      })}
    </div>
  );
}

const answers = await (await fetch("answers.json")).json();
const board = answers.boards.find((one) => one.uid === asked.get("board"));
const row = asked.get("row");
const panels =
  row === null
    ? board.panels.filter((panel) => panel.type !== "row")
    : board.panels.filter((panel) => panel.type === "row")[Number(row)].panels;
createRoot(document.getElementById("page")).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <Board answers={answers} board={board} panels={panels} />
  </ThemeContext.Provider>,
);
