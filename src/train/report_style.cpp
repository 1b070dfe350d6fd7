// The report's style sheet: a few colours by role, in a light and a dark version, and nothing from the network.
#include "train/report_parts.h"

namespace descent::train {

std::string_view report_style() {
  return R"css(
:root { color-scheme: light dark; --page: #f6f6f3; --card: #ffffff; --ink: #16181d; --soft: #5b6068; --faint: #8b9098;
  --line: #e3e3de; --grid: #ececea; --train: #2a6fd6; --valid: #d9622b; --miss: 214, 69, 56; --hit: 42, 111, 214;
  --code: #f1f1ee; }
@media (prefers-color-scheme: dark) { :root { --page: #121316; --card: #1b1d21; --ink: #eceef1; --soft: #a5abb4;
  --faint: #7b818b; --line: #2d3036; --grid: #272a2f; --train: #6aa3f5; --valid: #f08c55; --miss: 240, 104, 88;
  --hit: 106, 163, 245; --code: #131518; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 20px 64px; }
header { display: flex; flex-wrap: wrap; align-items: end; justify-content: space-between; gap: 12px 32px; }
h1 { font-size: 26px; margin: 0; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 2px; }
p.note { margin: 0 0 14px; color: var(--soft); font-size: 14px; }
.sub { color: var(--soft); margin: 2px 0 0; }
.hero { text-align: right; }
.hero b { font-size: 44px; line-height: 1; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; }
.hero span { display: block; color: var(--soft); font-size: 14px; margin-top: 4px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 1px; margin: 24px 0;
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.facts div { box-shadow: 0 0 0 1px var(--line); padding: 12px 16px; }
.facts dt { color: var(--soft); font-size: 13px; }
.facts dd { margin: 2px 0 0; font-size: 18px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 20px; margin: 0 0 20px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 24px; }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; font-family: inherit; font-variant-numeric: tabular-nums; }
svg text.title { fill: var(--ink); font-size: 14px; font-weight: 600; }
svg text.value { fill: var(--ink); }
svg .grid { stroke: var(--grid); stroke-width: 1; }
svg .axis { stroke: var(--faint); stroke-width: 1; }
svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .train { stroke: var(--train); } svg .valid { stroke: var(--valid); } svg .test { stroke: var(--soft); }
svg .dot { fill: var(--card); stroke-width: 2; }
svg .test.curve { stroke-dasharray: 5 4; stroke-width: 1.5; }
.scroll { overflow-x: auto; }
.matrix { border-collapse: separate; border-spacing: 2px; font-size: 13px; width: 100%; max-width: 860px; font-variant-numeric: tabular-nums; }
.matrix th { color: var(--soft); font-weight: 500; padding: 2px 6px; white-space: nowrap; }
.matrix th.row { text-align: right; }
.matrix td { min-width: 38px; height: 34px; text-align: center; border-radius: 4px; padding: 0 4px; }
.matrix td.hit { background: rgba(var(--hit), 0.16); font-weight: 600; }
.matrix td.zero { color: var(--faint); background: var(--grid); }
.matrix td.miss { background: rgba(var(--miss), var(--share)); }
.matrix td.total { color: var(--soft); padding-left: 12px; text-align: right; white-space: nowrap; }
.matrix td.precision { color: var(--soft); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 16px 12px; }
.pictures img { width: 100%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated; background: #000;
  border-radius: 6px; border: 1px solid var(--line); display: block; }
.pictures figcaption { font-size: 13px; margin-top: 6px; line-height: 1.35; overflow-wrap: anywhere; }
.pictures small { color: var(--soft); display: block; font-size: 12px; font-variant-numeric: tabular-nums; }
.filters { display: grid; grid-template-columns: repeat(auto-fill, minmax(56px, 1fr)); gap: 8px; }
.filters img { width: 100%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated; border-radius: 4px;
  display: block; }
.config { border-collapse: collapse; font-size: 14px; width: 100%; }
.config td { border-top: 1px solid var(--line); padding: 5px 12px 5px 0; vertical-align: top; overflow-wrap: anywhere; }
.config tr:first-child td { border-top: 0; }
.config td:first-child { color: var(--soft); white-space: nowrap; width: 1%; padding-right: 28px; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; margin: 0;
  overflow-x: auto; font-size: 13px; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
footer { color: var(--faint); font-size: 13px; text-align: center; margin-top: 28px; }
@media (max-width: 560px) { .hero { text-align: left; } }
@media print { body { background: #fff; } section { break-inside: avoid; } }
)css";
}

}  // namespace descent::train
