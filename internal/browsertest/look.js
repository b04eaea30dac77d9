// What the tests ask of a page, as an object of functions. Each fault is a string.
({
  // name says which element is meant.
  name(e) {
    const label = e.getAttribute('aria-label') || e.textContent || e.value || '';
    return e.tagName.toLowerCase() + (e.id ? '#' + e.id : '') + (typeof e.className === 'string' && e.className ? '.' + e.className.trim().split(/\s+/).join('.') : '') +
      ' "' + label.trim().replace(/\s+/g, ' ').slice(0, 40) + '"';
  },

  // seen says whether a person sees the element.
  seen(e) {
    if (!e.checkVisibility({ opacityProperty: true, visibilityProperty: true, contentVisibilityAuto: true })) return false;
    const box = e.getBoundingClientRect();
    return box.width > 1 && box.height > 1; // what only a screen reader is told has a box of a pixel
  },

  // overflowing: what is not inside the window's width.
  overflowing() {
    const faults = [], root = document.documentElement, width = root.clientWidth;
    if (root.scrollWidth > width) faults.push(`the page scrolls sideways: ${root.scrollWidth} px in ${width}`);
    const kept = e => { // inside something that scrolls or cuts by itself
      for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) {
        if (getComputedStyle(p).overflowX !== 'visible') return true;
      }
      return false;
    };
    for (const e of document.body.querySelectorAll('*')) {
      const box = e.getBoundingClientRect();
      if ((box.right > width + 1 || box.left < -1) && this.seen(e) && !kept(e)) {
        faults.push(`${this.name(e)} reaches from ${Math.round(box.left)} to ${Math.round(box.right)} px in ${width}`);
      }
    }
    return faults;
  },

  // cut: text that something of a fixed size hides a part of, without a way to scroll to it.
  cut() {
    const faults = [];
    for (const e of document.body.querySelectorAll('*')) {
      const style = getComputedStyle(e);
      if (!this.seen(e) || e.tagName === 'CANVAS' || e.closest('svg')) continue;
      const x = ['hidden', 'clip'].includes(style.overflowX) && e.scrollWidth > e.clientWidth + 1 && style.textOverflow !== 'ellipsis';
      const y = ['hidden', 'clip'].includes(style.overflowY) && e.scrollHeight > e.clientHeight + 1;
      if ((x || y) && e.innerText.trim()) faults.push(`${this.name(e)} hides a part of its text`);
    }
    return faults;
  },

  // faint: text whose contrast with what is behind it is less than `least`.
  faint(least) {
    const pixel = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
    const rgba = colour => { // of any notation
      pixel.clearRect(0, 0, 1, 1);
      pixel.fillStyle = colour;
      pixel.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
      return [r, g, b, a / 255];
    };
    const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3])).concat(1);
    const light = colour => {
      const [r, g, b] = colour.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = e => {
      const layers = [];
      for (let p = e; p; p = p.parentElement) layers.push(rgba(getComputedStyle(p).backgroundColor));
      const dark = getComputedStyle(document.documentElement).colorScheme.includes('dark') && matchMedia('(prefers-color-scheme: dark)').matches;
      return layers.reverse().reduce((under, top) => over(top, under), dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
    };
    const faults = new Map();
    const judge = (e, style, what) => {
      let opacity = 1;
      for (let p = e; p; p = p.parentElement) opacity *= getComputedStyle(p).opacity;
      const under = behind(e), top = rgba(style.color);
      top[3] *= opacity;
      const [a, b] = [light(over(top, under)), light(under)].sort((x, y) => y - x);
      const contrast = (a + 0.05) / (b + 0.05);
      if (contrast < least) faults.set(this.name(e) + what, `${this.name(e)}${what} has contrast ${contrast.toFixed(2)}: ${style.color} on rgb(${under.slice(0, 3).map(Math.round)})`);
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let n; n = texts.nextNode();) {
      const e = n.parentElement;
      if (n.data.trim() && this.seen(e) && !e.closest(':disabled, script, style, noscript')) judge(e, getComputedStyle(e), '');
    }
    for (const e of document.querySelectorAll('input, select, textarea')) {
      if (!this.seen(e) || e.disabled) continue;
      judge(e, getComputedStyle(e), ' (value)');
      if (e.placeholder) judge(e, getComputedStyle(e, '::placeholder'), ' (placeholder)');
    }
    return [...faults.values()];
  },

  // blank: canvases with nothing on them.
  blank() {
    const faults = [];
    for (const e of document.querySelectorAll('canvas')) {
      if (!this.seen(e)) continue;
      const copy = new OffscreenCanvas(e.width, e.height).getContext('2d', { willReadFrequently: true });
      copy.drawImage(e, 0, 0);
      const data = new Uint32Array(copy.getImageData(0, 0, e.width, e.height).data.buffer);
      if (new Set(data).size < 3) faults.push(`${this.name(e)} of ${e.width} × ${e.height} px is blank`);
    }
    return faults;
  },

  // controls: what the Tab key has to reach.
  controls() {
    const all = document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]');
    return [...all].filter(e => this.seen(e) && !e.disabled && e.tabIndex >= 0 && !(e.tagName === 'SUMMARY' && e.parentElement.querySelector('summary') !== e)).map(e => this.name(e));
  },

  // focused: the element that has the focus, "" = none, and how the focus shows.
  focused() {
    const e = document.activeElement;
    if (!e || e === document.body || e === document.documentElement) return { name: '', shown: true, inside: true };
    const style = getComputedStyle(e), box = e.getBoundingClientRect();
    return {
      name: this.name(e),
      shown: (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none',
      inside: box.bottom > 0 && box.top < innerHeight,
    };
  },
})
