// SPDX-License-Identifier: Apache-2.0
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  define: { "process.env.NODE_ENV": '"production"', "process.env": "{}", global: "globalThis" },
  esbuild: { jsx: "automatic" },
  build: { outDir: "build", chunkSizeWarningLimit: 20000, minify: false },
});
