"""The page's style sheet and its script: no fonts, pictures or scripts from elsewhere."""

from .drawing import DAY, NIGHT


def _inks(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


STYLE = (
    f":root{{color-scheme:light dark;{_inks(DAY)}--ground:#f5f7fa;--good:#0f6f50;--bad:#c4254b;--soft:#eef2f7}}"
    f"@media(prefers-color-scheme:dark){{:root{{{_inks(NIGHT)}--ground:#0d1117;--good:#4fd39b;--bad:#ff8fa3;"
    "--soft:#212a35}}"
    + "".join(
        f".f.{name}{{fill:var(--{name})}}.l.{name}{{stroke:var(--{name})}}.c.{name}{{background:var(--{name})}}"
        for name in DAY
    )
    + """
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--text);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1200px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:30px;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:21px;margin:44px 0 4px}
h3{font-size:16px;margin:0 0 2px}
p{margin:6px 0}
a{color:var(--s0)}
.lead{max-width:760px;color:var(--muted);margin-bottom:14px}
.lead b{color:var(--text);font-weight:600}
header .about{color:var(--muted);margin:6px 0 0}
.state{display:inline-block;font-size:14px;font-weight:600;border-radius:99px;padding:2px 12px;margin-left:12px;
vertical-align:5px;background:var(--soft);color:var(--muted)}
.state.good{color:var(--good)}.state.bad{color:var(--bad)}
.answers{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:16px;margin-top:24px}
.card{background:var(--paper);border:1px solid var(--grid);border-radius:14px;padding:18px 20px;min-width:0}
.answers .long{grid-column:1/-1}
.answer .question{color:var(--muted);font-size:14px;margin:0}
.answer .verdict{font-size:22px;font-weight:650;margin:0 0 2px;line-height:1.3}
.answer.good .verdict{color:var(--good)}.answer.bad .verdict{color:var(--bad)}
.answer p:last-child{margin:2px 0 0}
.columns{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:16px;margin-top:14px}
.column{display:grid;gap:16px;align-content:start;min-width:0}
.runname{font-weight:650;margin:0}
figure{margin:0}
figure svg{display:block;width:100%;height:auto;font-family:inherit;touch-action:pan-y}
figure svg.narrow{display:none}
.l{fill:none;stroke-linejoin:round}
svg a{text-decoration:none}
[hidden]{display:none!important}
.caption{color:var(--muted);font-size:14px;margin:2px 0 0}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:14px;margin:6px 0 4px;padding:0;list-style:none;
font-variant-numeric:tabular-nums}
.legend li{display:flex;align-items:center;gap:6px}
.c{display:inline-block;width:12px;height:12px;border-radius:4px;flex:none}
.legend .at{color:var(--muted)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:15px;font-variant-numeric:tabular-nums}
th{text-align:left;color:var(--muted);font-weight:500;font-size:13.5px;vertical-align:bottom}
th,td{padding:7px 14px 7px 0;border-bottom:1px solid var(--grid)}
tr:last-child td{border-bottom:0}
.results th,.results td{white-space:nowrap}
td.n,th.n{text-align:right}td.n{white-space:nowrap}
tr.ours td{font-weight:650}
td.path{overflow-wrap:anywhere;font-family:ui-monospace,Menlo,Consolas,monospace;font-size:13.5px}
.good-text{color:var(--good)}.bad-text{color:var(--bad)}
.strip{display:flex;gap:10px;overflow-x:auto;padding:8px 0 6px;scroll-snap-type:x proximity}
.strip figure{flex:1 0 150px;max-width:256px;scroll-snap-align:start}
.strip img{display:block;width:100%;aspect-ratio:1;image-rendering:pixelated;border-radius:8px;background:var(--soft)}
.strip figcaption{font-size:14px;line-height:1.35;margin-top:5px}
.strip figcaption span{color:var(--muted);display:block;font-variant-numeric:tabular-nums}
.strip .ours img{outline:2px solid var(--s0);outline-offset:-2px}
.wipe{position:relative;width:min(100%,384px);aspect-ratio:1;overflow:hidden;border-radius:10px;--cut:50%}
.wipe img{position:absolute;inset:0;width:100%;height:100%;image-rendering:pixelated}
.wipe img.over{clip-path:inset(0 0 0 var(--cut))}
.pair{display:grid;grid-template-columns:repeat(3,minmax(0,384px));align-items:start;gap:16px;margin-top:10px}
.wipe.still::after{display:none}
.wipe::after{content:"";position:absolute;top:0;bottom:0;left:var(--cut);width:2px;background:#fff;
mix-blend-mode:difference}
.wipe .tag{position:absolute;bottom:8px;background:#000a;color:#fff;font-size:13px;padding:1px 8px;border-radius:99px;
z-index:1;max-width:47%;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.wipe.still .tag{max-width:90%}
.wipe .tag.a{left:8px}.wipe .tag.b{right:8px}
input[type=range]{width:min(100%,384px);margin:8px 0 0;accent-color:var(--s0)}
.choices{display:grid;gap:4px;margin-top:6px;font-size:14px}
.choices label{display:grid;grid-template-columns:44px minmax(0,1fr);align-items:center}
select{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--muted);border-radius:6px;
padding:2px 6px;max-width:340px}
.unlike{margin-top:14px;border-color:var(--s1)}.unlike ul{margin:4px 0 0;padding-left:20px}
:focus-visible{outline:2px solid var(--s0);outline-offset:2px}
.picture{display:grid;grid-template-columns:minmax(0,1fr);gap:8px}
ol.events{list-style:none;margin:0;padding:0}
ol.events>li{display:grid;grid-template-columns:34px minmax(0,1fr);padding:10px 0;border-bottom:1px solid var(--grid);
scroll-margin-top:20px}
ol.events>li:last-child{border-bottom:0}
ol.events>li:target{background:var(--soft);border-radius:8px}
.number{display:inline-block;min-width:22px;height:20px;line-height:20px;border-radius:10px;text-align:center;
font-size:12px;font-weight:650;background:var(--mark);color:var(--paper)}
.serious .number{background:var(--s4)}
.events p{margin:0 0 2px}
.events .when{color:var(--muted);font-size:14px}
.events .plain{color:var(--muted);font-size:14.5px}
details{margin-top:14px}
summary{cursor:pointer;font-weight:600}
footer{color:var(--muted);font-size:14px;margin-top:44px}
@media(max-width:760px){
main{padding:18px 12px 40px}h1{font-size:25px}h2{margin-top:34px}
.answers,.columns{grid-template-columns:minmax(0,1fr);gap:12px}
.card{padding:14px 14px}.state{margin-left:0;vertical-align:0}h1 .state{display:table;margin-top:8px}
figure svg.wide{display:none}figure svg.narrow{display:block}
.strip figure{flex-basis:140px}
.pair{grid-template-columns:minmax(0,1fr)}.pair .still{display:none}th,td{padding-right:9px}}
@media print{body{background:#fff}.card{break-inside:avoid}}
"""
)

SCRIPT = """
"use strict";
for (const figure of document.querySelectorAll("figure[data-chart]")) {
  const chart = JSON.parse(figure.dataset.chart);
  const at = figure.querySelector(".at"), values = figure.querySelectorAll("[data-series]");
  const rest = [at.textContent, ...[...values].map(value => value.textContent)];
  const nearest = (points, iteration) => points.reduce(
    (best, point) => Math.abs(point[0] - iteration) < Math.abs(best[0] - iteration) ? point : best);
  for (const svg of figure.querySelectorAll("svg")) {
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    line.setAttribute("class", "l text"); line.setAttribute("y1", chart.top);
    line.setAttribute("y2", height - chart.bottom); line.setAttribute("visibility", "hidden");
    svg.append(line);
    const first = chart.series.find(points => points.length > 2) || chart.series.find(points => points.length);
    let index = -1;
    const show = iteration => {
      const place = chart.left + iteration / chart.end * (width - chart.left - chart.right);
      line.setAttribute("x1", place); line.setAttribute("x2", place); line.setAttribute("visibility", "visible");
      at.textContent = "iteration " + iteration.toLocaleString("en");
      values.forEach((value, number) => {
        const points = chart.series[number];
        if (points.length) value.textContent = " " + nearest(points, iteration)[1];
      });
    };
    const hide = () => {
      index = -1; line.setAttribute("visibility", "hidden"); at.textContent = rest[0];
      values.forEach((value, number) => { value.textContent = rest[number + 1]; });
    };
    const point = event => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * width;
      const part = (x - chart.left) / (width - chart.left - chart.right);
      if (part < -0.03 || part > 1.03) hide();
      else if (first) show(nearest(first, part * chart.end)[0]);
    };
    const step = event => {
      if (!first || event.target !== svg) return;
      const last = first.length - 1, now = index < 0 ? last + 1 : index;
      const to = {ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last}[event.key];
      if (event.key === "Escape") hide();
      if (to === undefined) return;
      event.preventDefault();
      index = Math.min(Math.max(to, 0), last);
      show(first[index][0]);
    };
    svg.addEventListener("pointermove", point); svg.addEventListener("pointerdown", point);
    svg.addEventListener("pointerleave", hide); svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", step); svg.setAttribute("tabindex", "0");
  }
}
for (const range of document.querySelectorAll("input[data-wipe]")) {
  const pair = range.closest(".pair"), box = range.parentElement.querySelector(".wipe");
  const tiles = range.closest(".picture").querySelectorAll(".strip img");
  const cut = () => box.style.setProperty("--cut", range.value + "%");
  range.addEventListener("input", cut); cut();
  for (const image of pair.querySelectorAll("[data-tile]")) image.src = tiles[image.dataset.tile].src;
  for (const choice of pair.querySelectorAll("select")) choice.addEventListener("change", () => {
    for (const part of pair.querySelectorAll("." + choice.dataset.side)) {
      if (part.tagName === "IMG") part.src = tiles[choice.value].src;
      else part.textContent = choice.selectedOptions[0].textContent;
    }
  });
}
"""
