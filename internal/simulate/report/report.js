'use strict';
// Draws the charts of the report. Each has its words beside it and its numbers in a table.
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const clock = s => {
    const two = n => String(n).padStart(2, '0'), h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
    return (h ? h + ':' + two(m) : m) + ':' + two(Math.round(s) % 60);
  };
  const number = n => n.toLocaleString('en', { maximumFractionDigits: 1 });
  let charts = [];

  // width is how wide a chart may be; a page of paper is narrower than most windows.
  const width = box => Math.max(200, Math.min(box.clientWidth, document.documentElement.classList.contains('print') ? 640 : Infinity));

  const draw = () => {
    for (const c of charts) c.destroy();
    const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue('--' + name).trim();
    const axis = { stroke: colour('text'), grid: { stroke: colour('edge'), width: 1 }, ticks: { stroke: colour('edge'), width: 1 }, font: '12px system-ui, sans-serif' };
    const shade = u => { // the spans in which something was wrong
      u.ctx.save();
      u.ctx.fillStyle = colour('fault');
      for (const f of data.faults) {
        const left = u.valToPos(Math.max(f.from, 0), 'x', true), right = u.valToPos(Math.min(f.to, data.end), 'x', true);
        u.ctx.fillRect(left, u.bbox.top, Math.max(right - left, 1), u.bbox.height);
      }
      u.ctx.restore();
    };
    charts = data.plots.map(p => {
      const box = document.getElementById(p.id);
      return new uPlot({
        width: width(box), height: 240,
        cursor: { drag: { x: false, y: false } },
        scales: { x: { time: false, range: [0, data.end] }, y: { range: [0, p.top * 1.05] } },
        axes: [
          { ...axis, incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400], values: (u, at) => at.map(clock), space: 60 },
          { ...axis, values: (u, at) => at.map(number), size: 60 },
        ],
        series: [
          { label: 'at', value: (u, v) => v == null ? '–' : clock(v) },
          ...p.lines.map((l, i) => ({
            label: l.label, value: (u, v) => v == null ? '–' : number(v),
            stroke: colour(['first', 'second', 'third'][i]), width: i ? 1.5 : 2, dash: [undefined, [6, 4], [2, 3]][i], points: { show: false },
          })),
        ],
        hooks: { drawClear: [shade] },
      }, [p.at, ...p.lines.map(l => l.values)], box);
    });
  };
  draw();

  let last = innerWidth;
  addEventListener('resize', () => {
    if (innerWidth === last) return;
    last = innerWidth;
    for (const [i, p] of data.plots.entries()) charts[i].setSize({ width: width(document.getElementById(p.id)), height: 240 });
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);

  // On paper all numbers are open, and the colours are those for white.
  const root = document.documentElement;
  let closed = [];
  addEventListener('beforeprint', () => {
    root.classList.add('print');
    closed = [...document.querySelectorAll('details:not([open])')];
    for (const d of closed) d.open = true;
    draw();
  });
  addEventListener('afterprint', () => {
    root.classList.remove('print');
    for (const d of closed) d.open = false;
    draw();
  });
})();
